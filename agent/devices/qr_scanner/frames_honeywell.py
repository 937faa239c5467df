"""Honeywell's serial trigger (user guides of Granit and Xenon); codes come as plain lines, commands are not answered.

Never seen on hardware; the menu commands are left alone because their syntax is not verified.
"""

from __future__ import annotations

TRIGGER = b"\x16\x54\x0d"
RELEASE = b"\x16\x55\x0d"
