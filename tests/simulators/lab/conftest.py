"""A tester at a lab."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.clock import SystemClock
from simulators.lab.lab import Lab, one_kiosk
from support.lab_bench import QUICK, Engineer, running


@pytest.fixture
async def tester(tmp_path: Path) -> AsyncIterator[Engineer]:
    """Give a tester at a kiosk without a smart card reader."""
    clock = SystemClock()
    kiosk = await asyncio.to_thread(one_kiosk, "kiosk-1", "demo_full", QUICK, tmp_path / "kiosk-1", clock, 1)
    async with running(Lab([kiosk], clock), tmp_path) as found:
        yield found
