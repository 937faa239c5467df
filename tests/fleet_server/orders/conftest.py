"""Fixtures of the tests of work orders."""

from __future__ import annotations

import pytest

from kit.store import Database
from support.order_desk import Desk, desk_on


@pytest.fixture
def desk(fleet_db: Database) -> Desk:
    """A duty on each store."""
    return desk_on(fleet_db)
