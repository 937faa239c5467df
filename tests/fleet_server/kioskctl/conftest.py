"""`kioskctl` against a real server on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet_server.staff.permissions import FIRST_ADMIN_ROLES, Role
from kit.clock import ManualClock, SystemClock
from support.shell import Shell
from support.staff_site import StaffSite, staff_site


@pytest.fixture
async def staff(sqlite_fleet_url: str, tmp_path: Path) -> AsyncIterator[StaffSite]:
    """Serve the staff API, with one person who may do everything and one who may look."""
    # `kioskctl` asks for "the last hour" by the real clock.
    async with staff_site(sqlite_fleet_url, ManualClock(SystemClock().utc()), tmp_path) as site:
        await site.adds("chief", *FIRST_ADMIN_ROLES)
        await site.adds("viewer", Role.VIEWER)
        yield site


@pytest.fixture
def shell(staff: StaffSite, tmp_path: Path) -> Shell:
    """Give a terminal where nobody is signed in."""
    return Shell(staff, tmp_path / "config" / "kioskctl.toml")


@pytest.fixture
async def chief(shell: Shell) -> Shell:
    """Give a terminal where the chief is signed in."""
    assert (await shell.signs_in("chief")).exit_code == 0
    return shell
