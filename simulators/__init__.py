"""The other side of every device and outside system, for testers: never imports what it exercises."""
