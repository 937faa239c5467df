"""A server for the live channel."""

from __future__ import annotations

from support.web import serve

__all__ = ["serve"]
