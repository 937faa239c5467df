"""Channel, HIS, store and chaos as plain objects, for the worlds of `support.payment_world`."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from kit.clock import ManualClock
from patient_platform.money import Fen
from patient_platform.payment import rules
from patient_platform.payment.ledger import Booking
from patient_platform.payment.model import (
    ChannelName,
    Leg,
    Method,
    MoneyEvent,
    Order,
    Posting,
    Reason,
    Refund,
)
from patient_platform.payment.ports import (
    CODE_MEMORY,
    BillRow,
    Change,
    Charge,
    CodeSeen,
    Evidence,
    KeyTaken,
    Lease,
    PostAnswer,
    PostEvidence,
    RefundAnswer,
    Source,
)

T = TypeVar("T")


class Crash(BaseException):
    """The process is gone."""


def run(work: Coroutine[Any, Any, T]) -> T:  # Any: a coroutine's own types
    """Run what never really waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the world has nothing to wait for")


@dataclass(slots=True)
class Chaos:
    """Where faults come from; calm when `rate` is 0."""

    rng: random.Random
    rate: float = 0.15
    crash_rate: float = 0.03

    def hits(self, share: float = 1.0) -> bool:
        """Whether something goes wrong now."""
        return self.rng.random() < self.rate * share

    def may_crash(self) -> None:
        """Perhaps the power goes off here."""
        if self.rng.random() < self.crash_rate:
            raise Crash


@dataclass(slots=True)
class Trade:
    """What the channel knows of one trade number."""

    amount_fen: int
    state: str = "waiting"
    refunds: dict[str, int] = field(default_factory=dict)

    @property
    def kept_fen(self) -> int:
        """What the patient is really charged."""
        return self.amount_fen - sum(self.refunds.values()) if self.state == "paid" else 0


class WorldChannel:
    """A channel that loses requests and answers, and whose patients pay at the worst moment."""

    def __init__(self, name: ChannelName, chaos: Chaos, clock: ManualClock) -> None:
        self.name = name
        self.trades: dict[str, Trade] = {}
        self.on_its_way: list[tuple[datetime, Charge]] = []
        self._chaos = chaos
        self._clock = clock

    async def submit(self, charge: Charge) -> Evidence:
        self._chaos.may_crash()
        if self._chaos.hits():
            if self._chaos.hits(2.0):  # slow, not lost
                late = timedelta(seconds=self._chaos.rng.choice((1, 8, 40)))
                self.on_its_way.append((self._clock.utc() + late, charge))
            return _LOST
        self._commit(charge)
        self._chaos.may_crash()
        if self._chaos.hits():
            return _LOST
        return self._say(charge.trade_no, Source.RESPONSE)

    def _commit(self, charge: Charge) -> None:
        if charge.trade_no in self.trades:
            return
        trade = self.trades[charge.trade_no] = Trade(charge.amount_fen)
        if charge.method is Method.PAYMENT_CODE:
            trade.state = self._chaos.rng.choices(("paid", "waiting", "failed"), (6, 3, 1))[0]

    def pass_time(self) -> None:
        """What was on its way arrives; people type their passwords."""
        arrived = [item for item in self.on_its_way if item[0] <= self._clock.utc()]
        self.on_its_way = [item for item in self.on_its_way if item not in arrived]
        for _, charge in arrived:
            self._commit(charge)
        for trade in self.trades.values():
            if trade.state == "waiting" and self._chaos.rng.random() < 0.15:
                trade.state = "paid"

    def _say(self, trade_no: str, source: Source) -> Evidence:
        trade = self.trades.get(trade_no)
        if trade is None:
            return Evidence(MoneyEvent.NOT_FOUND, source)
        event = {
            "paid": MoneyEvent.PAID,
            "waiting": MoneyEvent.WAITING,
            "failed": MoneyEvent.REFUSED,
            "closed": MoneyEvent.REFUSED,
            "revoked": MoneyEvent.REFUSED,
        }[trade.state]
        told_at = self._clock.utc() if trade.state == "revoked" and self.name is ChannelName.WECHAT else None
        return Evidence(event, source, channel_no=f"C{trade_no}", amount_fen=Fen(trade.amount_fen), paid_at=told_at)

    async def query(self, leg: Leg) -> Evidence:
        self._chaos.may_crash()
        if self._chaos.hits():
            return replace(_LOST, source=Source.QUERY)
        return self._say(leg.trade_no, Source.QUERY)

    async def reverse(self, leg: Leg) -> Evidence:
        self._chaos.may_crash()
        if self._chaos.hits(0.5):
            return _LOST
        trade = self.trades.get(leg.trade_no)
        event = MoneyEvent.CLOSED
        if trade is None:
            if not self._chaos.hits(0.5):  # some channels remember the number, some forget it
                self.trades[leg.trade_no] = Trade(leg.amount_fen, "closed")
        elif trade.state in {"waiting", "failed"}:
            trade.state = "closed"
        elif trade.state == "paid":
            if leg.method is Method.QR_CODE:
                event = MoneyEvent.NOT_REVERSIBLE
            else:
                trade.state = "revoked"
        if trade is not None and trade.state == "revoked":
            event = MoneyEvent.REFUNDED
        self._chaos.may_crash()
        return _LOST if self._chaos.hits() else Evidence(event, Source.RESPONSE)

    async def refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        self._chaos.may_crash()
        if self._chaos.hits(0.5):
            return RefundAnswer.LOST
        trade = self.trades[leg.trade_no]
        if trade.state != "paid" or (refund.refund_no not in trade.refunds and trade.kept_fen < refund.amount_fen):
            return RefundAnswer.ABNORMAL
        if self._chaos.hits(0.3):
            return RefundAnswer.NO_FUNDS
        trade.refunds[refund.refund_no] = refund.amount_fen
        self._chaos.may_crash()
        if self._chaos.hits():
            return RefundAnswer.LOST
        return RefundAnswer.PROCESSING if self._chaos.hits() else RefundAnswer.SUCCESS

    async def query_refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        if self._chaos.hits():
            return RefundAnswer.LOST
        known = refund.refund_no in self.trades[leg.trade_no].refunds
        return RefundAnswer.SUCCESS if known else RefundAnswer.NOT_FOUND

    async def bill(self, day: date) -> Sequence[BillRow]:
        raise NotImplementedError


class WorldHis:
    """A HIS that loses answers, is slow, and changes its mind about bills."""

    def __init__(self, chaos: Chaos, clock: ManualClock) -> None:
        self.posted: dict[str, int] = {}
        self.taken_back: set[str] = set()
        self.void: set[str] = set()
        self.bills: dict[str, str] = {}
        """Which trade has paid a bill."""
        self.on_its_way: list[tuple[datetime, str, str, int]] = []
        self._chaos = chaos
        self._clock = clock

    async def post(self, order: Order, leg: Leg) -> PostEvidence:
        self._chaos.may_crash()
        if self._chaos.hits():
            if self._chaos.hits(2.0):
                late = timedelta(seconds=self._chaos.rng.choice((2, 20)))
                self.on_its_way.append((self._clock.utc() + late, order.keys[0], leg.trade_no, leg.amount_fen))
            return PostEvidence(PostAnswer.LOST)
        if self._chaos.hits(0.3):
            self.void.add(order.keys[0])  # for good: the doctor has withdrawn it
        if not self._commit(order.keys[0], leg.trade_no, leg.amount_fen):
            return PostEvidence(PostAnswer.REJECTED, reason=Reason.BILL_PAID)
        self._chaos.may_crash()
        return PostEvidence(PostAnswer.LOST) if self._chaos.hits() else self._found(leg.trade_no)

    def _commit(self, key: str, trade_no: str, amount_fen: int) -> bool:
        if trade_no in self.posted:
            return True
        if key in self.void or key in self.bills:
            return False
        self.posted[trade_no] = amount_fen
        self.bills[key] = trade_no
        return True

    def pass_time(self) -> None:
        """Slow calls land."""
        arrived = [item for item in self.on_its_way if item[0] <= self._clock.utc()]
        self.on_its_way = [item for item in self.on_its_way if item not in arrived]
        for _, key, trade_no, amount_fen in arrived:
            self._commit(key, trade_no, amount_fen)

    def _found(self, trade_no: str) -> PostEvidence:
        return PostEvidence(PostAnswer.POSTED, {"reconciliation_no": f"H{trade_no}"})

    async def check(self, order: Order, leg: Leg) -> PostEvidence:
        self._chaos.may_crash()
        if self._chaos.hits():
            return PostEvidence(PostAnswer.LOST)
        return self._found(leg.trade_no) if leg.trade_no in self.posted else PostEvidence(PostAnswer.NOT_FOUND)

    async def unpost(self, order: Order, leg: Leg, refund: Refund) -> PostEvidence:
        if self._chaos.hits():
            return PostEvidence(PostAnswer.LOST)
        self.taken_back.add(leg.trade_no)
        if self.bills.get(order.keys[0]) == leg.trade_no:
            del self.bills[order.keys[0]]
        return PostEvidence(PostAnswer.LOST) if self._chaos.hits() else self._found(leg.trade_no)

    async def release(self, order: Order) -> bool:
        return not self._chaos.hits()


class MemoryStore:
    """Orders in memory with the promises of the database: compare-and-set, unique keys, unique bookings."""

    def __init__(self, chaos: Chaos) -> None:
        self.orders: dict[str, Order] = {}
        self.claims: dict[str, str] = {}
        self.bookings: dict[str, Booking] = {}
        self.leases: dict[str, tuple[str, datetime]] = {}
        self.codes: dict[str, datetime] = {}
        self.notes: list[tuple[str, str]] = []
        self._chaos = chaos

    async def create(self, order: Order) -> None:
        self._chaos.may_crash()
        for key in order.keys:
            if key in self.claims:
                raise KeyTaken(self.claims[key])
        self.orders[order.order] = order
        self.claims |= dict.fromkeys(order.keys, order.order)

    async def get(self, order: str) -> Order | None:
        return self.orders.get(order)

    async def by_trade(self, trade_no: str) -> Order | None:
        return next((order for order in self.orders.values() if order.find(trade_no)), None)

    async def save(self, change: Change, owner: str) -> bool:
        self._chaos.may_crash()
        before, after = change.before, change.after
        if self.orders[before.order].version != before.version:
            return False
        if change.code_digest is not None and change.at is not None:
            if self.codes.get(change.code_digest, change.at - CODE_MEMORY) > change.at - CODE_MEMORY:
                raise CodeSeen
            self.codes[change.code_digest] = change.at
        for booking in change.bookings:
            assert booking.event not in self.bookings, f"{booking.event} is booked twice"
            self.bookings[booking.event] = booking
        self.orders[after.order] = after
        self.notes.append((after.order, change.note))
        if change.lease is Lease.TAKE and change.lease_until is not None:
            self.leases[after.order] = (owner, change.lease_until)
        if change.lease is Lease.FREE:
            self.leases.pop(after.order, None)
        if rules.is_over(after):
            self.claims = {key: order for key, order in self.claims.items() if order != after.order}
        self._chaos.may_crash()
        return True

    async def claim(self, owner: str, now: datetime, until: datetime, limit: int) -> list[Order]:
        taken = []
        for number, order in self.orders.items():
            lease = self.leases.get(number)
            if order.due_at is None or order.due_at > now or (lease is not None and lease[1] >= now):
                continue
            self.leases[number] = (owner, until)
            self.orders[number] = replace(order, version=order.version + 1)
            taken.append(self.orders[number])
        return taken[:limit]

    async def open_of(self, kiosk: str) -> list[Order]:
        return [order for order in self.orders.values() if order.kiosk == kiosk and not rules.is_over(order)]

    async def posted_of(self, patient: str, since: datetime) -> list[Order]:
        return [
            order
            for order in self.orders.values()
            if order.patient == patient and order.posting is Posting.POSTED and order.created_at >= since
        ]


_LOST = Evidence(MoneyEvent.LOST, Source.RESPONSE)
