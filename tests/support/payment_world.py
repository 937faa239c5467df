"""A world for payments that can be replayed: channel, HIS, store and clock are plain objects, faults come from a seed.

Nothing here waits for anything, so a whole life of an order is a few hundred function calls. The channel and the HIS
know the truth; what the platform believes is compared with it when all faults are over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from kit.clock import ManualClock
from patient_platform.errors import Refusal
from patient_platform.money import Fen
from patient_platform.payment import rules
from patient_platform.payment.driver import Driver, Lost
from patient_platform.payment.ledger import Booking, balance
from patient_platform.payment.model import (
    Business,
    ChannelName,
    Leg,
    Method,
    Money,
    MoneyEvent,
    Order,
    Posting,
    Reason,
    Refund,
    RefundState,
)
from patient_platform.payment.ports import (
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
from patient_platform.payment.service import NewOrder, Payments, PayRequest

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
        return Evidence(event, source, channel_no=f"C{trade_no}", amount_fen=Fen(trade.amount_fen))

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

    async def note_code(self, digest: str, now: datetime, forget_before: datetime) -> None:
        if self.codes.get(digest, forget_before) > forget_before:
            raise CodeSeen
        self.codes[digest] = now

    async def open_of(self, kiosk: str) -> list[Order]:
        return [order for order in self.orders.values() if order.kiosk == kiosk and not rules.is_over(order)]


class World:
    """One seed: two kiosks, two bills, patients who press everything, and a platform that is killed now and then."""

    def __init__(self, seed: int, payments: type[Payments] = Payments) -> None:
        self.seed = seed
        self.chaos = Chaos(random.Random(seed))
        self.clock = ManualClock()
        self.channels = {name: WorldChannel(name, self.chaos, self.clock) for name in ChannelName}
        self.his = WorldHis(self.chaos, self.clock)
        self.store = MemoryStore(self.chaos)
        self._kind = payments
        self._process = 0
        self._codes = 0
        self.start()

    def start(self) -> None:
        """A new process: nothing is left of the old one but the store."""
        self._process += 1
        owner = f"process-{self._process}"
        self.driver = Driver(self.store, self.channels, self.his, self.clock, owner, _Nobody())
        self.payments = self._kind(self.store, self.driver, self.clock)

    def step(self) -> None:
        """Something happens."""
        rng = self.chaos.rng
        self.clock.advance(rng.choice((0.1, 1.0, 3.0, 7.0, 30.0)))
        self._pass_time()
        acts: list[Callable[[], None]] = [
            self._order,
            self._pay,
            self._pay,
            self._cancel,
            self._notify,
            self._give_back,
        ]
        try:
            rng.choice(acts)()
            self.drive()
        except Crash:
            self.start()

    def settle(self) -> None:
        """No more faults and nobody presses anything: let everything come to an end."""
        self.chaos.rate = self.chaos.crash_rate = 0.0
        self.start()
        for _ in range(400):
            self.drive()
            due = [order.due_at for order in self.store.orders.values() if order.due_at is not None]
            leases = [until for _, until in self.store.leases.values()]
            ahead = [at for at in (*due, *leases) if at > self.clock.utc()]
            if not due and not ahead:
                return
            gap = min(ahead) - self.clock.utc() if ahead else timedelta(seconds=1)
            self.clock.advance(gap.total_seconds() + 0.001)
            self._pass_time()

    def drive(self) -> None:
        """What a process's loop does."""
        now = self.clock.utc()
        for order in run(self.store.claim(self.driver.owner, now, now + timedelta(seconds=90), 50)):
            self._drive(order)

    def _drive(self, order: Order) -> None:
        try:
            run(self.driver.drive(order))
        except Lost:
            return

    def _pass_time(self) -> None:
        for channel in self.channels.values():
            channel.pass_time()
        self.his.pass_time()

    # --- what people press ---------------------------------------------------------------------------------

    def _order(self) -> None:
        rng = self.chaos.rng
        bill = rng.choice(("bill:R1", "bill:R2"))
        new = NewOrder(f"kiosk-{rng.choice('12')}", "s", "p", Business.BILL, (bill,), {}, Fen(1234), 300.0)
        self._press(self.payments.create(new))

    def _pay(self) -> None:
        order = self._some_order()
        if order is None:
            return
        self._codes += 1
        method = self.chaos.rng.choice(tuple(Method))
        channel = self.chaos.rng.choice(tuple(ChannelName))
        code = f"{'10' if channel is ChannelName.WECHAT else '28'}{self._codes:016d}"
        request = PayRequest(channel, method, f"k{self._codes}", code if method is Method.PAYMENT_CODE else None)
        paying = self._press(self.payments.pay(order.order, order.kiosk, request))
        if paying is not None:
            self._drive(paying)

    def _cancel(self) -> None:
        order = self._some_order()
        if order is not None and self.chaos.rng.random() < 0.3:
            self._press(self.payments.cancel(order.order, order.kiosk))

    def _give_back(self) -> None:
        order = self._some_order()
        if order is not None and self.chaos.rng.random() < 0.1:
            self._press(self.payments.give_back(order.order, order.kiosk))

    def _notify(self) -> None:
        order = self._some_order()
        if order is None or order.leg is None:
            return
        leg = self.chaos.rng.choice(order.legs)
        trade = self.channels[leg.channel].trades.get(leg.trade_no)
        if trade is not None and trade.state in {"paid", "revoked"}:  # a revoked one's message was only slow
            evidence = Evidence(MoneyEvent.PAID, Source.NOTIFICATION, channel_no="C", amount_fen=Fen(trade.amount_fen))
            self._press(self.payments.notified(leg.trade_no, evidence))

    def _press(self, work: Coroutine[Any, Any, T]) -> T | None:  # Any: a coroutine's own types
        try:
            return run(work)
        except Refusal:
            return None

    def _some_order(self) -> Order | None:
        orders = list(self.store.orders.values())
        return self.chaos.rng.choice(orders) if orders else None

    # --- what must hold ------------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Everything that is not as it must be, once the world has settled; empty when all is well."""
        found: list[str] = []
        for key in ("bill:R1", "bill:R2"):
            found += self._faults_of(key)
        sums = balance(self.store.bookings.values())
        if sum(sums.values()) != 0:
            found.append(f"the ledger does not sum to zero: {sums}")
        if not self._needs_person():
            kept = sum(trade.kept_fen for channel in self.channels.values() for trade in channel.trades.values())
            owed = sum(amount for account, amount in sums.items() if account.startswith("1001"))
            if kept != owed:
                found.append(f"channels hold {kept}, the ledger says {owed}")
            open_accounts = {name: amount for name, amount in sums.items() if name[:4] in {"2002", "2003"} and amount}
            if open_accounts:
                found.append(f"money without a home: {open_accounts}")
        found += [f"{order.order} is not over: {_shape(order)}" for order in self._stuck()]
        return found

    def _faults_of(self, key: str) -> list[str]:
        orders = [order for order in self.store.orders.values() if key in order.keys]
        found: list[str] = []
        charged = [order for order in orders if self._kept(order) > 0 and not _with_person(order)]
        if len(charged) > 1:
            found.append(f"{key}: charged {len(charged)} times: {[_shape(order) for order in charged]}")
        for order in charged:
            kept = self._kept(order)
            if kept != order.amount_fen:
                found.append(f"{key}: charged {kept} for {order.amount_fen}: {_shape(order)}")
            leg = order.paid_leg
            if leg is None or leg.trade_no not in self.his.posted:
                found.append(f"{key}: charged and not posted: {_shape(order)}")
        posted = [order for order in orders if order.posting is Posting.POSTED and self._kept(order) == 0]
        for order in posted:
            leg = order.paid_leg
            if leg is None or leg.trade_no not in self.his.taken_back:
                found.append(f"{key}: posted without money: {_shape(order)}")
        return found

    def _kept(self, order: Order) -> int:
        return sum(
            trade.kept_fen
            for channel in self.channels.values()
            for number, trade in channel.trades.items()
            if order.find(number) or number.startswith(order.order)
        )

    def _stuck(self) -> list[Order]:
        return [order for order in self.store.orders.values() if not rules.is_over(order) and not _with_person(order)]

    def _needs_person(self) -> bool:
        return any(_with_person(order) for order in self.store.orders.values())


def _with_person(order: Order) -> bool:
    return (
        order.posting is Posting.MANUAL
        or any(leg.state is Money.MANUAL for leg in order.legs)
        or any(refund.state is RefundState.MANUAL for refund in order.refunds)
    )


def _shape(order: Order) -> str:
    legs = [f"{leg.state.value}/{leg.method.value}/{leg.trade_no[-2:]}" for leg in order.legs]
    refunds = [f"{refund.state.value}/{refund.reason.value}" for refund in order.refunds]
    return f"legs {legs} posting {order.posting.value} refunds {refunds} ended {order.ended_at is not None}"


class _Nobody:
    def changed(self, before: Order, after: Order) -> None:
        """Nobody watches."""


_LOST = Evidence(MoneyEvent.LOST, Source.RESPONSE)
