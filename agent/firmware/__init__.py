"""Gives devices other firmware: checked first, written down before the first byte, proven by what the device says."""
