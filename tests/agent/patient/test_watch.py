"""Orders whose money is under way: kept over a restart, asked for when nobody asks, counted when they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.patient.link import Answer, PlatformLink
from agent.patient.orders import MOVING, OrderSeen
from agent.patient.watch import FILE, HELD_S, OrderWatch, Surroundings
from agent.uplink.files import write_whole
from kit.clock import ManualClock
from kit.supervise import spawn
from kit.web import GuardSettings
from support.reporter import SilentReporter
from support.waiting import wait_for
from support.web import LOCAL, Serve, serve
from wire.device_api import OrdersChanged
from wire.envelope import Scalar
from wire.transaction import Outcome, TransactionEnded
from wire.uplink import RecordClass

__all__ = ["serve"]


def order(name: str = "o1", **changes: object) -> dict[str, Any]:
    """As the platform says it."""
    return {
        "order": name, "version": 3, "case_number": "A7K42", "business": "bill", "session": "s1", "amount_fen": 5_000,
        "channel": "wechat", "method": "payment_code", "money": "pending", "posting": "not_ready",
        "fulfilment": "none", "qr_text": None, "advice": "wait", "refunded_fen": 0, "is_settled": False, **changes,
    }  # fmt: skip


PAID = order(money="paid", posting="posted", advice="print", is_settled=True)


class Events(SilentReporter):
    """Keeps what the fleet hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, Scalar], RecordClass]] = []

    async def event(
        self,
        component: str,
        name: str,
        fields: Mapping[str, Scalar] | None = None,
        *,
        record_class: RecordClass = RecordClass.P1,
    ) -> None:
        """See `Reporter`."""
        self.heard.append((component, name, dict(fields or {}), record_class))


@dataclass
class Rig:
    """A watch, the platform behind it, and what it told."""

    folder: Path
    clock: ManualClock
    link: PlatformLink = field(init=False)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    is_down: bool = False
    told: list[OrdersChanged] = field(default_factory=list)
    reporter: Events = field(default_factory=Events)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[OrderWatch]:
        """One run of the agent."""
        around = Surroundings(self.link, self.folder / FILE, write_whole, self.reporter, self.clock, self.told.append)
        watch = OrderWatch(around, look_s=0.02)
        await watch.load()
        async with asyncio.TaskGroup() as group:
            task = spawn(group, watch.run(), "watch")
            try:
                yield watch
            finally:
                task.cancel()

    async def kept(self) -> list[str]:
        """The orders on disk."""
        content = await asyncio.to_thread((self.folder / FILE).read_text)
        return [row["seen"]["order"] for row in json.loads(content)]

    async def handle(self, request: web.Request) -> web.Response:
        """The platform."""
        self.asked.append(request.path)
        if self.is_down:
            return web.Response(status=502)
        if request.path.endswith("/open-orders"):
            return web.json_response({"orders": [one for one in self.orders.values() if not one["is_settled"]]})
        found = self.orders.get(request.path.rpartition("/")[2])
        return web.json_response(found or {"code": "unknown"}, status=200 if found else 404)


@pytest.fixture
async def rig(serve: Serve, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Rig]:
    app = web.Application()
    made = Rig(tmp_path, clock)
    app.router.add_route("*", "/{rest:.*}", made.handle)
    server = await serve(app, GuardSettings(hosts=LOCAL, origin_required=False))
    made.link = PlatformLink(server.url, lambda: None)
    yield made
    await made.link.close()


def answer(document: object, status: int = 200) -> Answer:
    return Answer(status, "application/json", json.dumps(document).encode())


async def test_a_payment_is_on_disk_before_it_is_sent(rig: Rig) -> None:
    rig.orders["o1"] = order(money="created")
    async with rig.watching() as watch:
        await wait_for(lambda: bool(rig.asked))
        assert not watch.is_moving
        await watch.asking("pay", "o1")
        assert watch.is_moving
        assert await rig.kept() == ["o1"]
        await watch.answered("order", "o1", answer(PAID))
        assert not watch.is_moving
        assert await rig.kept() == []


async def test_it_is_told_once_how_an_order_ended_and_nothing_of_whom(rig: Rig) -> None:
    rig.orders["o1"] = order()
    async with rig.watching() as watch:
        await wait_for(lambda: watch.is_moving)
        rig.clock.advance(12.5)
        rig.orders["o1"] = PAID
        for _ in range(3):
            await watch.answered("order", "o1", answer(PAID))
        await watch.answered("open_orders", None, answer({"orders": [PAID]}))
    expected = {"business": "bill", "channel": "wechat", "outcome": "paid", "seconds": 12.5}
    assert rig.reporter.heard == [("kiosk", "transaction.ended", expected, RecordClass.P0)]
    assert TransactionEnded.model_validate(expected).fields() == expected


async def test_after_a_power_cut_it_goes_on_where_it_was(rig: Rig) -> None:
    rig.orders["o1"] = order(money="unknown")
    async with rig.watching() as watch:
        await watch.asking("pay", "o1")
    rig.is_down = True
    async with rig.watching() as watch:
        assert watch.is_moving
        assert [one.order for one in rig.told[-1].orders] == ["o1"]
        rig.is_down, rig.orders["o1"] = False, PAID
        await wait_for(lambda: not watch.is_moving, timeout_s=8.0)
        assert [fields["outcome"] for _, _, fields, _ in rig.reporter.heard] == ["paid"]
        assert await rig.kept() == []
        await wait_for(lambda: rig.told[-1].orders == [])


async def test_what_the_platform_still_has_open_is_shown_after_a_start(rig: Rig) -> None:
    rig.orders["o1"] = order(money="paid", posting="posting", advice="wait")
    rig.orders["o2"] = order("o2", money="pending")
    async with rig.watching() as watch:
        await wait_for(lambda: len(rig.told) > 0 and len(rig.told[-1].orders) == 2)
        assert watch.is_moving
        shown = {one.order: one.model_dump() for one in rig.told[-1].orders}
        assert shown["o1"]["posting"] == "posting"
        assert "session" not in shown["o1"]
        assert "amount_fen" not in shown["o1"]


async def test_an_order_nobody_asks_for_is_looked_after(rig: Rig) -> None:
    rig.orders["o1"] = order()
    async with rig.watching() as watch:
        await wait_for(lambda: watch.is_moving)
        rig.clock.advance(10.0)
        rig.orders["o1"] = order(money="closed", advice="failed", is_settled=True)
        await wait_for(lambda: not watch.is_moving)
    assert [fields["outcome"] for _, _, fields, _ in rig.reporter.heard] == ["cancelled"]


async def test_a_payment_that_was_refused_is_asked_about_at_once(rig: Rig) -> None:
    rig.orders["o1"] = order(money="created", advice="pay")
    async with rig.watching() as watch:
        await wait_for(lambda: bool(rig.asked))
        await watch.asking("pay", "o1")
        await watch.answered("pay", "o1", answer({"code": "channel_down"}, 503))
        await wait_for(lambda: not watch.is_moving)
    assert rig.reporter.heard == []


async def test_an_order_the_platform_does_not_know_holds_nothing(rig: Rig) -> None:
    async with rig.watching() as watch:
        await wait_for(lambda: bool(rig.asked))
        await watch.asking("pay", "never-made")
        rig.clock.advance(10.0)
        await wait_for(lambda: not watch.is_moving)

        async def is_forgotten() -> bool:
            return await rig.kept() == []

        await wait_for(is_forgotten, what="the file is empty")


async def test_a_platform_that_says_nothing_does_not_hold_a_kiosk_for_ever(rig: Rig) -> None:
    async with rig.watching() as watch:
        await wait_for(lambda: bool(rig.asked))
        rig.is_down = True
        await watch.asking("pay", "o1")
        rig.clock.advance(HELD_S - 1)
        assert watch.is_moving
        rig.clock.advance(1)
        assert not watch.is_moving


@pytest.mark.parametrize("content", [b"", b"{", b'[{"seen": 1}]', b"\xff"])
async def test_a_file_that_makes_no_sense_counts_for_nothing(rig: Rig, content: bytes) -> None:
    await asyncio.to_thread((rig.folder / FILE).write_bytes, content)
    async with rig.watching() as watch:
        assert not watch.is_moving
        await watch.asking("pay", "o1")
        assert await rig.kept() == ["o1"]


async def test_a_disk_that_takes_nothing_stops_no_payment(rig: Rig) -> None:
    await asyncio.to_thread((rig.folder / f"{FILE}.new").mkdir)
    rig.orders["o1"] = order()
    async with rig.watching() as watch:
        await watch.asking("pay", "o1")
        assert watch.is_moving


async def test_answers_that_are_no_orders_change_nothing(rig: Rig) -> None:
    async with rig.watching() as watch:
        await wait_for(lambda: bool(rig.asked))
        documents: list[object] = [[], {}, {"order": "x" * 65, "business": "bill", "money": "pending"}, {"order": 1}]
        for document in documents:
            await watch.answered("order", "o1", answer(document))
            await watch.answered("open_orders", None, answer(document))
        await watch.answered("receipt", "o1", answer(order()))
        assert not watch.is_moving


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"money": "paid", "posting": "posted"}, Outcome.PAID),
        ({"money": "paid", "posting": "posted", "refunded_fen": 5_000}, Outcome.REFUNDED),
        ({"money": "paid", "posting": "rejected"}, Outcome.MANUAL),
        ({"money": "reversed"}, Outcome.REVERSED),
        ({"money": "failed"}, Outcome.FAILED),
        ({"money": "closed"}, Outcome.CANCELLED),
        ({"money": "created"}, Outcome.CANCELLED),
        ({"money": "manual", "is_settled": False, "advice": "ask_staff"}, Outcome.MANUAL),
    ],
)
def test_how_an_order_ended(changes: dict[str, object], outcome: Outcome) -> None:
    seen = OrderSeen.model_validate({**order(is_settled=True), **changes})
    assert seen.is_over
    assert seen.outcome() is outcome


@pytest.mark.parametrize("money", sorted(MOVING))
def test_money_under_way_is_not_over(money: str) -> None:
    seen = OrderSeen.model_validate(order(money=money, advice="ask_staff"))
    assert seen.is_moving
    assert not seen.is_over
