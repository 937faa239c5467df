"""Who asked for what, hash-chained: no names, no numbers, no payment codes."""
