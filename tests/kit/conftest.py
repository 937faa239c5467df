"""Fixtures of the kit's tests."""

from __future__ import annotations

from support.stores import database_url, postgres_server, stores
from support.web import serve

__all__ = ["database_url", "postgres_server", "serve", "stores"]
