"""Simulated wallets for the tests of the channels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.clock import ManualClock
from simulators.payments.keys import Keys, prepare
from support.payment_merchant import START
from support.wallets import Wallets, wallets


@pytest.fixture(scope="session")
def wallet_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("wallet-keys"))


@pytest.fixture
def clock() -> ManualClock:
    """Stand still at ten o'clock in China."""
    return ManualClock(START)


@pytest.fixture
async def world(wallet_keys: Keys, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Wallets]:
    """Run both wallets."""
    async with wallets(wallet_keys, clock, tmp_path) as found:
        yield found
