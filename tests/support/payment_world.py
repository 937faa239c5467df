"""A world for payments that can be replayed: channel, HIS, store and clock are plain objects, faults come from a seed.

Nothing here waits for anything, so a whole life of an order is a few hundred function calls. The channel and the HIS
know the truth; what the platform believes is compared with it when all faults are over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from kit.clock import ManualClock
from patient_platform.errors import Refusal
from patient_platform.money import Fen
from patient_platform.payment import rules
from patient_platform.payment.driver import Driver, Lost
from patient_platform.payment.ledger import balance
from patient_platform.payment.model import (
    Business,
    ChannelName,
    Method,
    Money,
    MoneyEvent,
    Order,
    Posting,
    RefundState,
)
from patient_platform.payment.ports import (
    Evidence,
    Source,
)
from patient_platform.payment.service import NewOrder, Payments, PayRequest
from support.payment_fakes import Chaos, Crash, MemoryStore, WorldChannel, WorldHis, run

T = TypeVar("T")


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
