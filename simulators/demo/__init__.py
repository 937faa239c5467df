"""`make demo`: the whole product on one machine, from nothing, in one command."""
