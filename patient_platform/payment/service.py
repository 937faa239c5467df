"""Orders as the kiosk's routes see them: make one, pay it, cancel it, watch it, say what became of its paper.

The kiosk never decides about money. It names an order and a channel; whether something was paid, posted or returned
is decided here, from evidence, whether or not the kiosk is still there.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.machine import can_step
from kit.supervise import TaskGroup, spawn
from patient_platform.errors import Refusal
from patient_platform.money import AMOUNT_MAX, Fen
from patient_platform.payment import rules, transitions
from patient_platform.payment.driver import LEASE_S, Driver, Lost
from patient_platform.payment.machine import FULFILMENT
from patient_platform.payment.model import (
    Business,
    ChannelName,
    Fulfilment,
    FulfilmentEvent,
    Leg,
    LegKind,
    Method,
    Order,
    Posting,
    Reason,
)
from patient_platform.payment.ports import Change, CodeSeen, Evidence, KeyTaken, Lease, OrderStore

log = get_logger(__name__)

POLL_S: Final = 0.5
"""How often orders that are due are looked for; those of this process need no looking for."""
CLAIM_MAX: Final = 50
_CODES: Final = {
    ChannelName.WECHAT: re.compile("1[0-5][0-9]{16}"),
    ChannelName.ALIPAY: re.compile("(?:2[5-9]|30)[0-9]{14,22}"),
}
"""18 digits from 10 to 15; 16 to 24 digits from 25 to 30."""
LEGS_MAX: Final = 20
"""Tries to pay one order; more is no patient."""
SAVES_MAX: Final = 10
PAPERS_AGE: Final = timedelta(days=3)
"""How long a patient can have a paper printed again at a kiosk."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What is to be paid, as the feature that knows it says."""

    kiosk: str
    session: str
    patient: str
    business: Business
    keys: tuple[str, ...]
    subject: dict[str, object]
    amount_fen: Fen
    life_s: float
    reserves: bool = False
    """Something is held in the HIS that has to be given back when nobody pays."""


@dataclass(frozen=True, slots=True)
class PayRequest:
    """How a patient wants to pay."""

    channel: ChannelName
    method: Method
    request_key: str
    code: str | None = None


class Payments:
    """The one door to orders in this process; also drives those that are due."""

    name = "payments"

    def __init__(self, store: OrderStore, driver: Driver, clock: Clock, *, at_once: int = 64) -> None:
        self.store = store
        self._driver = driver
        self._clock = clock
        self._at_once = asyncio.Semaphore(at_once)
        self._driving: set[str] = set()
        self._again: set[str] = set()
        self._start: Callable[[Order], None] | None = None
        self._watch = Watch()
        self._due = asyncio.Event()

    # --- what kiosks ask for -------------------------------------------------------------------------------

    async def create(self, new: NewOrder) -> Order:
        """An order for this; the one this session has already for the same thing.

        Raises:
            Refusal: `amount_refused`; `order_active`: somebody else is paying it.
        """
        if not 0 < new.amount_fen <= AMOUNT_MAX:
            raise Refusal("amount_refused", "this amount cannot be paid here", status=422)
        now = self._clock.utc()
        order = Order(
            order=ulid(self._clock),
            version=1,
            kiosk=new.kiosk,
            session=new.session,
            patient=new.patient,
            business=new.business,
            keys=new.keys,
            subject=new.subject,
            amount_fen=new.amount_fen,
            created_at=now,
            expires_at=now + timedelta(seconds=new.life_s),
            due_at=None,
            is_released=not new.reserves,
        )
        order = replace(order, due_at=rules.due_at(order))
        try:
            await self.store.create(order)
        except KeyTaken as taken:
            known = await self.store.get(taken.order)
            if known is not None and self._is_same(known, new):
                return known
            raise Refusal("order_active", "somebody is paying this already") from None
        return order

    async def get(self, number: str, kiosk: str) -> Order:
        """An order of this kiosk.

        Raises:
            Refusal: `order_unknown`.
        """
        order = await self.store.get(number)
        if order is None or order.kiosk != kiosk:
            raise Refusal("order_unknown", "there is no such order", status=404)
        return order

    async def _shown(self, number: str, kiosk: str) -> Order:
        """An order this kiosk may show: its own, or one whose paper it has taken over."""
        order = await self.store.get(number)
        if order is None or kiosk not in {order.kiosk, order.paper_kiosk}:
            raise Refusal("order_unknown", "there is no such order", status=404)
        return order

    async def pay(self, number: str, kiosk: str, request: PayRequest) -> Order:
        """Begin to collect the money.

        Raises:
            Refusal: `order_unknown`, `channel_closed`, `order_ended`, `payment_running`, `code_used`,
                `code_wrong`.
        """
        if request.channel not in self._driver.channels:
            raise Refusal("channel_closed", "this way to pay is not offered")
        for _ in range(SAVES_MAX):
            order = await self.get(number, kiosk)
            if any(leg.request_key == request.request_key for leg in order.legs):
                return order
            self._may_pay(order)
            leg, digest = self._new_leg(order, request)
            after = replace(order.with_leg(leg), reason=None)
            note = f"pay {request.channel} {request.method}"
            try:
                saved = await self._save(Change(order, after, note=note, lease=Lease.TAKE, code_digest=digest))
            except CodeSeen:
                raise Refusal("code_used", "this payment code was used already") from None
            if saved is not None:
                if request.code is not None:
                    self._driver.codes[leg.trade_no] = request.code
                self._take(saved)
                return saved
        raise Refusal("order_busy", "the order is changing, try again", status=503)

    async def cancel(self, number: str, kiosk: str) -> Order:
        """Stop waiting for the patient: what is unpaid is closed, what was paid meanwhile goes back."""
        for _ in range(SAVES_MAX):
            order = await self.get(number, kiosk)
            if order.ended_at is not None or order.paid_leg is not None:
                return order
            now = self._clock.utc()
            after = replace(order, ended_at=now, reason=Reason.CANCELLED)
            leg = order.leg
            if leg is not None and leg.is_open:
                after = after.with_leg(replace(leg, deadline_at=now, reason=Reason.CANCELLED))
            saved = await self._save(Change(order, after, note="cancelled"))
            if saved is not None:
                self._nudge(saved)
                return saved
        raise Refusal("order_busy", "the order is changing, try again", status=503)

    async def printable(self, number: str, kiosk: str) -> Order:
        """An order whose paper this kiosk may print.

        Raises:
            Refusal: `order_unknown`; `nothing_to_print`: the HIS has not accounted for it; `printing_elsewhere`.
        """
        order = await self._shown(number, kiosk)
        if order.posting is not Posting.POSTED:
            raise Refusal("nothing_to_print", "this order has no paper yet")
        if rules.prints_elsewhere(order, kiosk, self._clock.utc()):
            raise Refusal("printing_elsewhere", "another kiosk is printing this")
        return order

    async def papers_of(self, patient: str) -> list[Order]:
        """What a patient can have printed at any kiosk: what was paid lately and did not go back."""
        posted = await self.store.posted_of(patient, self._clock.utc() - PAPERS_AGE)
        return [order for order in posted if not order.refunds]

    async def take_paper(self, number: str, kiosk: str, patient: str) -> Order:
        """Print a patient's paper at the kiosk they are at now, wherever they paid; only one kiosk prints at a time.

        Raises:
            Refusal: `order_unknown`: it is not this patient's; `nothing_to_print`, `printing_elsewhere`.
        """
        for _ in range(SAVES_MAX):
            order = await self.store.get(number)
            if order is None or order.patient != patient:
                raise Refusal("order_unknown", "there is no such order", status=404)
            now = self._clock.utc()
            if order.posting is not Posting.POSTED or order.refunds:
                raise Refusal("nothing_to_print", "this order has no paper")
            if rules.prints_elsewhere(order, kiosk, now):
                raise Refusal("printing_elsewhere", "another kiosk is printing this")
            after = transitions.fulfil(order, FulfilmentEvent.PRINT, kiosk, now)
            saved = await self._save(Change(order, after, note=f"paper print at {kiosk}"))
            if saved is not None:
                return saved
        raise Refusal("order_busy", "the order is changing, try again", status=503)

    async def fulfil(self, number: str, kiosk: str, event: FulfilmentEvent) -> Order:
        """What became of the paper; said twice it changes nothing.

        Raises:
            Refusal: `nothing_to_print`; `printing_elsewhere`: it is another kiosk's to print and to tell of.
        """
        for _ in range(SAVES_MAX):
            order = await self._shown(number, kiosk)
            now = self._clock.utc()
            is_mine = order.paper_kiosk in {None, kiosk}
            if rules.prints_elsewhere(order, kiosk, now) or not (is_mine or event is FulfilmentEvent.PRINT):
                raise Refusal("printing_elsewhere", "another kiosk is printing this")
            if not can_step(FULFILMENT, order.fulfilment, event):
                if order.fulfilment.value == event.value:
                    return order
                raise Refusal("nothing_to_print", "this order has no paper to print now")
            saved = await self._save(
                Change(order, transitions.fulfil(order, event, kiosk, now), note=f"paper {event.value}")
            )
            if saved is not None:
                return saved
        raise Refusal("order_busy", "the order is changing, try again", status=503)

    async def release_paper(self, number: str, staff: str) -> Order:
        """Let another kiosk print it now: somebody has seen that the one which holds it will not.

        Raises:
            Refusal: `order_unknown`, `not_printing`.
        """
        for _ in range(SAVES_MAX):
            order = await self.store.get(number)
            if order is None:
                raise Refusal("order_unknown", "there is no such order", status=404)
            if order.fulfilment is not Fulfilment.PRINTING or order.paper_kiosk is None:
                raise Refusal("not_printing", "no kiosk is printing this")
            after = transitions.fulfil(order, FulfilmentEvent.UNCERTAIN, order.paper_kiosk, self._clock.utc())
            saved = await self._save(Change(order, after, note="paper released", staff=staff))
            if saved is not None:
                return saved
        raise Refusal("order_busy", "the order is changing, try again", status=503)

    async def give_back(self, number: str, kiosk: str) -> Order:
        """Return what was paid and posted: first the HIS takes its posting back, then the money goes.

        Raises:
            Refusal: `not_refundable`.
        """
        for _ in range(SAVES_MAX):
            order = await self.get(number, kiosk)
            leg = order.paid_leg
            if leg is None or order.posting is not Posting.POSTED:
                raise Refusal("not_refundable", "nothing was paid and posted that could go back")
            if order.refund_of(leg.trade_no) is not None:
                return order
            after, bookings = transitions.refund(order, leg, Reason.PATIENT_ASKED, self._clock.utc(), needs_his=True)
            saved = await self._save(Change(order, after, bookings, "refund asked for"))
            if saved is not None:
                self._nudge(saved)
                return saved
        raise Refusal("order_busy", "the order is changing, try again", status=503)

    async def wait(self, number: str, kiosk: str, after: int, wait_s: float) -> Order:
        """The order as soon as it is newer than version `after`, or after `wait_s`."""
        deadline_s = self._clock.monotonic() + wait_s
        while True:
            waiter = self._watch.waiter(number)
            order = await self._shown(number, kiosk)
            left_s = deadline_s - self._clock.monotonic()
            if order.version > after or left_s <= 0:
                return order
            try:
                async with asyncio.timeout(min(left_s, 1.0)):  # another process may change it too
                    await waiter.wait()
            except TimeoutError:
                continue

    async def open_of(self, kiosk: str) -> list[Order]:
        """What a kiosk has to show again after a restart."""
        return await self.store.open_of(kiosk)

    async def notified(self, trade_no: str, evidence: Evidence) -> bool:
        """A verified message of a channel; False when there is no such payment."""
        for _ in range(SAVES_MAX):
            order = await self.store.by_trade(trade_no)
            if order is None:
                return False
            after, bookings = transitions.apply(order, trade_no, evidence, self._clock.utc())
            if after == order:
                return True
            saved = await self._save(Change(order, after, bookings, f"notified {evidence.event.value}"))
            if saved is not None:
                self._nudge(saved)
                return True
        return False

    # --- what goes on by itself ----------------------------------------------------------------------------

    def changed(self, before: Order, after: Order) -> None:
        """See `driver.Observer`."""
        if before.posting is not after.posting and after.posting in {Posting.REJECTED, Posting.MANUAL}:
            log.warning("posting.refused", order=after.order, posting=after.posting.value, reason=after.posting_reason)
        self._watch.tell(after.order)

    async def run(self) -> None:
        """Drive what is due until cancelled."""
        async with TaskGroup() as group:

            def start(order: Order) -> None:
                _ = spawn(group, self._drive(order), f"order-{order.order}")

            self._start = start
            try:
                while True:
                    await self._claim()
                    try:
                        async with asyncio.timeout(POLL_S):
                            await self._due.wait()
                    except TimeoutError:
                        continue
                    self._due.clear()
            finally:
                self._start = None

    async def _claim(self) -> None:
        now = self._clock.utc()
        until = now + timedelta(seconds=LEASE_S)
        for order in await self.store.claim(self._driver.owner, now, until, CLAIM_MAX):
            self._take(order)

    def _nudge(self, order: Order) -> None:
        """It may be due now; whoever has it, or the next one who looks, shall see to it."""
        if order.order in self._driving:
            self._again.add(order.order)
        self._due.set()

    def _take(self, order: Order) -> None:
        """Drive an order whose lease this process has; when it is being driven here, once more after that."""
        if order.order in self._driving:
            self._again.add(order.order)
        elif self._start is not None:
            self._driving.add(order.order)
            self._start(order)

    async def _drive(self, order: Order) -> None:
        number = order.order
        try:
            async with self._at_once:
                while True:
                    self._again.discard(number)
                    try:
                        await self._driver.drive(order)
                    except Lost:
                        self._due.set()
                    if number not in self._again:
                        return
                    latest = await self.store.get(number)
                    if latest is None:
                        return
                    order = latest
        finally:
            self._driving.discard(number)

    # --- parts ---------------------------------------------------------------------------------------------

    def _is_same(self, known: Order, new: NewOrder) -> bool:
        return (
            known.session == new.session
            and known.kiosk == new.kiosk
            and known.keys == new.keys
            and known.amount_fen == new.amount_fen
            and known.ended_at is None
        )

    def _may_pay(self, order: Order) -> None:
        now = self._clock.utc()
        leg = order.leg
        if leg is not None and leg.is_open:
            raise Refusal("payment_running", "a payment of this order is under way")
        if order.ended_at is not None or order.posting is not Posting.NOT_READY or now >= order.expires_at:
            raise Refusal("order_ended", "this order takes no payment any more")
        if len(order.legs) >= LEGS_MAX or any(leg.state.value == "manual" for leg in order.legs):
            raise Refusal("order_ended", "this order takes no payment any more")

    def _new_leg(self, order: Order, request: PayRequest) -> tuple[Leg, str | None]:
        digest = None
        if request.method is Method.PAYMENT_CODE:
            code = request.code or ""
            if not is_code_of(request.channel, code):
                raise Refusal("code_wrong", "this is no payment code of this channel", status=422)
            digest = hashlib.sha256(f"{request.channel}:{code}".encode()).hexdigest()
        number = f"{order.order}{len(order.legs) + 1:02d}"
        leg = Leg(
            number,
            LegKind.CASH,
            request.channel,
            request.method,
            order.amount_fen,
            created_at=self._clock.utc(),
            request_key=request.request_key,
        )
        return leg, digest

    async def _save(self, change: Change) -> Order | None:
        """Save it with the next version and when it is due; None when somebody else was faster."""
        before, now = change.before, self._clock.utc()
        after = replace(change.after, version=before.version + 1, due_at=rules.due_at(change.after))
        until = now + timedelta(seconds=LEASE_S) if change.lease is Lease.TAKE else None
        if not await self.store.save(replace(change, after=after, lease_until=until, at=now), self._driver.owner):
            return None
        self.changed(before, after)
        return after


class Watch:
    """Wakes those who wait for a change of an order in this process."""

    def __init__(self) -> None:
        self._waiters: dict[str, asyncio.Event] = {}

    def waiter(self, order: str) -> asyncio.Event:
        """An event that is set at the next change."""
        return self._waiters.setdefault(order, asyncio.Event())

    def tell(self, order: str) -> None:
        """Wake everybody who waits for this order."""
        waiting = self._waiters.pop(order, None)
        if waiting is not None:
            waiting.set()


def is_code_of(channel: ChannelName, code: str) -> bool:
    """Whether a text can be a payment code of a channel."""
    return _CODES[channel].fullmatch(code) is not None


def channel_of(code: str) -> ChannelName | None:
    """Whose payment code a scanned text is."""
    return next((channel for channel in ChannelName if is_code_of(channel, code)), None)


def open_until(order: Order) -> datetime | None:
    """Until when the patient can pay or has to wait."""
    leg = order.leg
    if leg is not None and leg.is_open:
        return leg.deadline_at
    return order.expires_at if order.ended_at is None else None
