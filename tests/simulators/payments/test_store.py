"""What was answered survives the simulator's death."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from kit.clock import ManualClock, SystemClock
from kit.supervise import TaskGroup, spawn
from simulators.payments.keys import prepare
from simulators.payments.ledger import Ledger
from simulators.payments.model import Order, Wallet
from simulators.payments.store import JOURNAL, Store, load
from support.payment_merchant import START, DistantMerchant
from support.processes import Child

PAYING = 4
ENOUGH = 40


def order(number: str) -> Order:
    return Order(wallet=Wallet.WECHAT, out_trade_no=number, amount_fen=100, subject="缴费")


async def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    path, ledger = tmp_path / JOURNAL, Ledger(ManualClock(START))
    store = Store(ledger, path)
    for number in ("ORDER0001", "ORDER0002"):
        ledger.code_pay(order(number), ledger.new_code(Wallet.WECHAT, 100, asks_password=False).code)
        await store.save()
    path.write_bytes(path.read_bytes() + b'{"table": "trades", "key"')
    book = await asyncio.to_thread(load, path)
    assert book == ledger.book
    assert await asyncio.to_thread(load, path) == book


@asynccontextmanager
async def running(child: Child, folder: Path) -> AsyncIterator[DistantMerchant]:
    """A merchant at wallets of another process."""
    facts = folder / "payments.json"
    await asyncio.to_thread(facts.unlink, missing_ok=True)
    child.start()
    await child.ready(facts.exists)
    base_url = json.loads(facts.read_bytes())["wechat"]["base_url"]
    keys = await asyncio.to_thread(prepare, folder)
    async with aiohttp.ClientSession() as http:
        yield DistantMerchant(base_url, SystemClock().utc, http, keys)


async def test_a_killed_simulator_keeps_every_answered_trade(tmp_path: Path) -> None:
    folder = tmp_path / "payments"
    args = ("payments", "run", "--dir", str(folder), "--port", "0")
    child = Child.of_module("simulators", *args, log_dir=tmp_path, name="payments")
    paid: list[str] = []

    async def pay(merchant: DistantMerchant, payer: int) -> None:
        for count in range(10_000):
            number = f"ORDER{payer}-{count:04d}"
            try:
                said = await merchant.code_pay(number, await merchant.code())
            except aiohttp.ClientError:
                return
            assert said.status == 200
            paid.append(number)
            if len(paid) == ENOUGH:
                child.kill9()

    try:
        async with running(child, folder) as merchant, TaskGroup() as group:
            tasks = [spawn(group, pay(merchant, payer), f"payer-{payer}") for payer in range(PAYING)]
        assert all(task.done() for task in tasks)
        assert len(paid) >= ENOUGH
        async with running(child, folder) as merchant:
            found = [(await merchant.query(number)).json["trade_state"] for number in paid]
            assert found == ["SUCCESS"] * len(paid)
        assert child.terminate() == 0
        assert not (folder / "payments.json").exists()
    finally:
        child.close()


def test_keys_and_book_are_nobody_elses(tmp_path: Path) -> None:
    prepare(tmp_path)
    load(tmp_path / JOURNAL)
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}
