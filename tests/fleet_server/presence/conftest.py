"""A server for the routes of presence."""

from __future__ import annotations

from support.web import serve

__all__ = ["serve"]
