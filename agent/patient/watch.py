"""Watches the orders of this kiosk: keeps what must not be interrupted, resumes after a start, tells pages and fleet.

It learns from what passes the proxy and asks the platform itself only when nobody else does: after a start, and while
the money of an order is under way that no page asks for. A payment is on disk before it is sent. The platform decides
what became of an order; here it only decides whether the kiosk may be interrupted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agent.errors import AgentError
from agent.patient.link import Answer, PlatformLink
from agent.patient.orders import (
    ORDERS_MAX,
    SUBMITTED,
    Kept,
    OrderSeen,
    all_seen_in,
    content_of,
    rows_of,
    seen_in,
    unheard_of,
)
from agent.patient.proxy import PREFIX
from agent.reporter import Reporter
from kit.clock import Clock
from kit.logs import get_logger
from kit.supervise import Backoff
from wire.device_api import OrdersChanged
from wire.functions import KIOSK
from wire.transaction import TRANSACTION_ENDED
from wire.uplink import RecordClass

FILE: Final = "orders.json"
LOOK_S: Final = 5.0
HELD_S: Final = 1_800.0
"""So long an order is believed that the platform has said nothing of."""
_ASK_S: Final = 12.0
_RETRY_BASE_S, _RETRY_CAP_S = 2.0, 30.0
_TELLS_OF_ORDER: Final = frozenset({"make_order", "pay", "cancel", "order", "fulfilment"})
_OK, _GONE = range(200, 300), 404
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the watch needs of the rest of the agent."""

    link: PlatformLink
    file: Path
    write: Callable[[Path, bytes], None]
    reporter: Reporter
    clock: Clock
    told: Callable[[OrdersChanged], None]


@dataclass(frozen=True, slots=True)
class _Known:
    row: Kept
    heard_s: float


class OrderWatch:
    """An `Observer` of the proxy, and a service."""

    def __init__(self, around: Surroundings, *, look_s: float = LOOK_S) -> None:
        """Nothing is known before `load`, which belongs before `run`."""
        self._around = around
        self._look_s = look_s
        self._known: dict[str, _Known] = {}
        self._over: deque[str] = deque(maxlen=ORDERS_MAX)
        self._on_disk = b"[]"
        self._saving = asyncio.Lock()
        self._woken = asyncio.Event()

    @property
    def is_moving(self) -> bool:
        """Whether the money of an order is under way: nothing may interrupt the kiosk."""
        now_s = self._around.clock.monotonic()
        return any(one.row.seen.is_moving and now_s - one.heard_s < HELD_S for one in self._known.values())

    async def asking(self, operation: str, order: str | None) -> None:
        """See `Observer`: a payment is on disk before it is sent."""
        if operation != "pay" or order is None or order in self._over:
            return
        known = self._known.get(order)
        row = unheard_of(order, self._around.clock.utc()) if known is None else known.row
        if not row.seen.is_moving:
            row = row.model_copy(update={"seen": row.seen.model_copy(update={"money": SUBMITTED})})
        self._note(row)
        await self._save()
        self._woken.set()

    async def answered(self, operation: str, order: str | None, answer: Answer) -> None:
        """See `Observer`."""
        if operation == "open_orders" and answer.status in _OK:
            for seen in all_seen_in(answer.body) or []:
                await self._learn(seen)
        elif operation in _TELLS_OF_ORDER:
            seen_now = seen_in(answer.body) if answer.status in _OK else None
            if seen_now is not None:
                await self._learn(seen_now)
            elif order in self._known:
                self._known[order] = replace(self._known[order], heard_s=self._known[order].heard_s - self._look_s)
        self._woken.set()

    async def load(self) -> None:
        """Take up what an earlier run left: its payments are under way until the platform says otherwise."""
        try:
            self._on_disk = await asyncio.to_thread(self._around.file.read_bytes)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("orders.not_read", error=error.strerror)
            return
        for row in rows_of(self._on_disk):
            self._note(row)
            log.info("order.resumed", order=row.seen.order, money=row.seen.money)

    async def run(self) -> None:
        """Ask the platform after a start, and while money is under way, until cancelled."""
        self._tell()
        backoff = Backoff(base_s=_RETRY_BASE_S, cap_s=_RETRY_CAP_S)
        look = self._resumed
        while True:
            self._woken.clear()
            if not await look():
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            look = self._looked_after
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s if self.is_moving else None):
                    await self._woken.wait()

    async def _resumed(self) -> bool:
        """What the platform has open for this kiosk; what it has not is asked for one by one."""
        answer = await self._asked(f"{PREFIX}/open-orders")
        orders = None if answer is None or answer.status not in _OK else all_seen_in(answer.body)
        if orders is None:
            return False
        for seen in orders:
            await self._learn(seen)
        for order in self._known.keys() - {seen.order for seen in orders}:
            await self._look_at(order)
        log.info("orders.resumed", open=len(self._known))
        return True

    async def _looked_after(self) -> bool:
        """Ask for the orders whose money is under way and that nobody else has asked for."""
        late_s = self._around.clock.monotonic() - self._look_s
        is_answered = True
        for order, known in list(self._known.items()):
            if known.row.seen.is_moving and known.heard_s <= late_s:
                is_answered = await self._look_at(order) and is_answered
        return is_answered

    async def _look_at(self, order: str) -> bool:
        answer = await self._asked(f"{PREFIX}/orders/{order}")
        if answer is None:
            return False
        seen = seen_in(answer.body) if answer.status in _OK else None
        if seen is not None:
            await self._learn(seen)
        elif answer.status == _GONE:
            self._known.pop(order, None)
            await self._save()
            self._tell()
        return answer.status in {*_OK, _GONE}

    async def _asked(self, target: str) -> Answer | None:
        try:
            return await self._around.link.ask("GET", target, limit_s=_ASK_S)
        except AgentError:
            return None

    async def _learn(self, seen: OrderSeen) -> None:
        if seen.order in self._over:
            return
        known = self._known.get(seen.order)
        if known is None and seen.is_over:
            return  # it ended before anybody here watched it
        began_at = self._around.clock.utc() if known is None else known.row.began_at
        self._note(Kept(seen=seen, began_at=began_at))
        if seen.is_over:
            self._known.pop(seen.order, None)
            self._over.append(seen.order)
            seconds = (self._around.clock.utc() - began_at).total_seconds()
            fields: Mapping[str, str | float | None] = seen.ended(seconds).fields()
            await self._around.reporter.event(KIOSK, TRANSACTION_ENDED, fields, record_class=RecordClass.P0)
        await self._save()
        self._tell()

    def _note(self, row: Kept) -> None:
        self._known[row.seen.order] = _Known(row, self._around.clock.monotonic())
        if len(self._known) > ORDERS_MAX:
            still = [order for order, known in self._known.items() if not known.row.seen.is_moving]
            del self._known[(still or list(self._known))[0]]

    async def _save(self) -> None:
        """Rewrite the file where it would be another; without it a restart asks the platform all the same."""
        async with self._saving:
            content = content_of([known.row for known in self._known.values() if known.row.seen.is_moving])
            if content == self._on_disk:
                return
            try:
                await asyncio.to_thread(self._around.write, self._around.file, content)
            except OSError as error:
                log.warning("orders.not_saved", error=error.strerror)
            else:
                self._on_disk = content

    def _tell(self) -> None:
        orders = [known.row.seen.status() for known in self._known.values()]
        self._around.told(OrdersChanged(orders=orders))
