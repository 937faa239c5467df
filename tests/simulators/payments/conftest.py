"""A merchant at the simulated wallets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from kit.clock import ManualClock
from kit.supervise import TaskGroup, spawn
from simulators.payments.keys import Keys, prepare
from simulators.payments.server import PaymentServer, Place
from support.payment_merchant import START, Merchant


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("payment-keys"))


@pytest.fixture
def clock() -> ManualClock:
    """Stand still at ten o'clock in China."""
    return ManualClock(START)


@pytest.fixture
async def merchant(keys: Keys, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Merchant]:
    """Give a merchant at running wallets."""
    server = PaymentServer(keys, clock, Place(tmp_path))
    async with TaskGroup() as group:
        tasks = [spawn(group, one.run(), one.name) for one in server.services]
        await server.started()
        async with aiohttp.ClientSession() as http:
            yield Merchant(server.http.url, server.clock.utc, http, keys, server, clock)
        for task in tasks:
            task.cancel()
