"""Does what is due for one order, one duty after another, until nothing is due.

Every call to the outside is written down first: the intermediate state is saved, then the call is made, then its
evidence is saved. A process that dies in between leaves the intermediate state behind, and whoever takes the order
next goes on from "not known". A save that fails because the order was changed meanwhile (a cancellation, a
notification) applies the same evidence to the newer order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Protocol

from kit.clock import Clock
from kit.logs import get_logger
from patient_platform.payment import rules, transitions
from patient_platform.payment.ledger import Booking
from patient_platform.payment.model import (
    ChannelName,
    Leg,
    Method,
    Money,
    MoneyEvent,
    Order,
    Posting,
    Reason,
    Refund,
    RefundEvent,
)
from patient_platform.payment.ports import (
    Change,
    Channel,
    Charge,
    Evidence,
    Lease,
    OrderStore,
    Poster,
    PostEvidence,
    Source,
)
from patient_platform.payment.rules import Duty, Item

log = get_logger(__name__)

LEASE_S: Final = 90.0
"""Longer than any call; a process that is paused for longer than this has lost the order."""
SEND_WITHIN_S: Final = 10.0
"""A submission that could not be sent so soon after it was written down is not sent at all."""
STEPS_MAX: Final = 200
SAVES_MAX: Final = 20
_POSTING_AGE: Final = rules.POST_GIVE_UP


class Observer(Protocol):
    """Told of every change, after it is saved."""

    def changed(self, before: Order, after: Order) -> None:
        """An order was saved."""


class Lost(Exception):
    """Another process has the order now; nothing of the last step was saved."""


@dataclass
class Driver:
    """Knows the outside and the store."""

    store: OrderStore
    channels: Mapping[ChannelName, Channel]
    poster: Poster
    clock: Clock
    owner: str
    observer: Observer
    codes: dict[str, str] = field(default_factory=dict)
    """Payment codes by trade number: in memory only, and only until they are sent."""

    def __post_init__(self) -> None:
        self._leg_duties = {
            Duty.SUBMIT: self._submit,
            Duty.QUERY: self._query,
            Duty.REVERSE: self._reverse,
            Duty.SURRENDER: self._surrender,
        }
        self._refund_duties = {
            Duty.UNPOST: self._unpost,
            Duty.REFUND: self._refund,
            Duty.QUERY_REFUND: self._query_refund,
        }
        self._order_duties = {
            Duty.POST: self._post,
            Duty.CHECK: self._check,
            Duty.EXPIRE: self._expire,
            Duty.RELEASE: self._release,
        }

    async def drive(self, order: Order) -> Order:
        """Do everything that is due now; the order as it was left.

        Raises:
            Lost: somebody else has it.
        """
        for _ in range(STEPS_MAX):
            items = rules.agenda(order)
            if not items or items[0].at > self.clock.utc():
                return await self._let_go(order)
            order = await self._do(order, items[0])
        log.error("order.busy", order=order.order, duty=items[0].duty.value)
        return await self._let_go(order)

    async def _do(self, order: Order, item: Item) -> Order:
        if order.find(item.number) is not None and item.duty in self._leg_duties:
            return await self._leg_duties[item.duty](order, _leg(order, item))
        if item.duty in self._refund_duties:
            return await self._refund_duties[item.duty](order, _refund(order, item))
        if item.duty is Duty.RECOVER:
            return await self._recover(order, item)
        return await self._order_duties[item.duty](order)

    async def _surrender(self, order: Order, leg: Leg) -> Order:
        after = order.with_leg(transitions.move(leg, MoneyEvent.EXHAUSTED))
        return await self._save(order, after, note="reverse given up")

    async def _expire(self, order: Order) -> Order:
        ended = replace(order, ended_at=self.clock.utc(), reason=Reason.TIMED_OUT)
        return await self._save(order, ended, note="expired")

    # --- money ---------------------------------------------------------------------------------------------

    async def _submit(self, order: Order, leg: Leg) -> Order:
        code = self.codes.pop(leg.trade_no, None)
        now = self.clock.utc()
        if (leg.method is Method.PAYMENT_CODE and code is None) or order.ended_at is not None:
            dropped = replace(transitions.move(leg, MoneyEvent.DROPPED), reason=Reason.NOT_SENT, touched_at=now)
            return await self._save(order, order.with_leg(dropped), note="never sent")
        life = timedelta(seconds=rules.life_s(leg.channel, leg.method))
        sending = replace(
            transitions.move(leg, MoneyEvent.SUBMIT), submitted_at=now, touched_at=now, deadline_at=now + life
        )
        started_s = self.clock.monotonic()
        order = await self._save(order, order.with_leg(sending), note=f"{leg.channel} submit")
        if self.clock.monotonic() - started_s > SEND_WITHIN_S:
            return await self._heard(order, leg.trade_no, _LOST, "not sent in time")
        charge = Charge(
            leg.trade_no, leg.amount_fen, description(order), leg.method, order.kiosk, now + life, code=code
        )
        evidence = await self.channels[leg.channel].submit(charge)
        return await self._heard(order, leg.trade_no, evidence, f"{leg.channel} submit")

    async def _query(self, order: Order, leg: Leg) -> Order:
        evidence = await self.channels[leg.channel].query(leg)
        return await self._heard(order, leg.trade_no, evidence, f"{leg.channel} query")

    async def _reverse(self, order: Order, leg: Leg) -> Order:
        event = MoneyEvent.RETRY if leg.state is Money.REVERSE_UNKNOWN else MoneyEvent.GIVE_UP
        reason = leg.reason or (Reason.CANCELLED if order.reason is Reason.CANCELLED else Reason.TIMED_OUT)
        going = replace(
            transitions.move(leg, event), reversals=leg.reversals + 1, touched_at=self.clock.utc(), reason=reason
        )
        order = await self._save(order, order.with_leg(going), note=f"{leg.channel} reverse")
        evidence = await self.channels[leg.channel].reverse(going)
        if evidence.event is MoneyEvent.NOT_REVERSIBLE:
            evidence = _as_kept(await self.channels[leg.channel].query(going), leg)
        if evidence.event is MoneyEvent.CLOSED:
            evidence = _as_closed(await self.channels[leg.channel].query(going), evidence)
        return await self._heard(order, leg.trade_no, evidence, f"{leg.channel} reverse")

    async def _heard(self, order: Order, trade_no: str, evidence: Evidence, note: str) -> Order:
        now = self.clock.utc()
        return await self._settle(
            order,
            lambda latest: transitions.apply(latest, trade_no, evidence, now),
            note=f"{note} {evidence.event.value}",
        )

    async def _recover(self, order: Order, item: Item) -> Order:
        now = self.clock.utc()
        leg = order.find(item.number)
        if leg is not None:
            return await self._save(order, order.with_leg(transitions.lose(leg, now)), note="call lost")
        if item.number:
            refund = _refund(order, item)
            return await self._save(order, order.with_refund(transitions.lose_refund(refund, now)), note="call lost")
        return await self._save(order, transitions.lose_posting(order, now), note="posting lost")

    # --- the HIS -------------------------------------------------------------------------------------------

    async def _post(self, order: Order) -> Order:
        leg = order.paid_leg
        assert leg is not None  # noqa: S101 - a posting becomes ready by a payment only
        order = await self._save(order, transitions.begin_posting(order, self.clock.utc()), note="his post")
        return await self._posted(order, await self.poster.post(order, leg), "his post")

    async def _check(self, order: Order) -> Order:
        leg = order.paid_leg
        assert leg is not None  # noqa: S101 - see above
        evidence = await self.poster.check(order, leg)
        order = await self._posted(order, evidence, "his check")
        started = order.posting_started_at
        now = self.clock.utc()
        if order.posting is Posting.POST_UNKNOWN and started is not None and now - started > _POSTING_AGE:
            return await self._save(order, transitions.give_up_posting(order, now), note="his check given up")
        return order

    async def _posted(self, order: Order, evidence: PostEvidence, note: str) -> Order:
        now = self.clock.utc()
        return await self._settle(
            order,
            lambda latest: transitions.apply_posting(latest, evidence, now),
            note=f"{note} {evidence.answer.value}",
        )

    async def _release(self, order: Order) -> Order:
        is_released = await self.poster.release(order)
        now = self.clock.utc()
        return await self._settle(
            order,
            lambda latest: (replace(latest, is_released=is_released, posting_touched_at=now), ()),
            note="his release",
        )

    # --- money on its way back -----------------------------------------------------------------------------

    async def _unpost(self, order: Order, refund: Refund) -> Order:
        leg = order.find(refund.trade_no)
        assert leg is not None  # noqa: S101 - a refund is always of a leg
        going = transitions.begin_refund(refund, RefundEvent.UNPOST, self.clock.utc())
        order = await self._save(order, order.with_refund(going), note="his refund")
        evidence = await self.poster.unpost(order, leg, going)
        now = self.clock.utc()
        return await self._settle(
            order,
            lambda latest: transitions.apply_unposting(latest, refund.refund_no, evidence, now),
            note=f"his refund {evidence.answer.value}",
        )

    async def _refund(self, order: Order, refund: Refund) -> Order:
        leg = order.find(refund.trade_no)
        assert leg is not None  # noqa: S101 - a refund is always of a leg
        going = transitions.begin_refund(refund, RefundEvent.SUBMIT, self.clock.utc())
        order = await self._save(order, order.with_refund(going), note=f"{leg.channel} refund")
        answer = await self.channels[leg.channel].refund(leg, going)
        now = self.clock.utc()
        return await self._settle(
            order,
            lambda latest: transitions.apply_refund(latest, refund.refund_no, answer, now),
            note=f"{leg.channel} refund {answer.value}",
        )

    async def _query_refund(self, order: Order, refund: Refund) -> Order:
        leg = order.find(refund.trade_no)
        assert leg is not None  # noqa: S101 - a refund is always of a leg
        answer = await self.channels[leg.channel].query_refund(leg, refund)
        now = self.clock.utc()

        def heard(latest: Order) -> transitions.Outcome:
            touched = next(item for item in latest.refunds if item.refund_no == refund.refund_no)
            after, bookings = transitions.apply_refund(latest, refund.refund_no, answer, now)
            if after is latest:
                return latest.with_refund(replace(touched, touched_at=now)), ()
            return after, bookings

        return await self._settle(order, heard, note=f"{leg.channel} refund query {answer.value}")

    # --- saving --------------------------------------------------------------------------------------------

    async def _save(self, before: Order, after: Order, *, note: str) -> Order:
        """Save a step that must not happen twice: when somebody was faster, stop here."""
        saved = await self._try(before, after, (), note)
        if saved is None:
            raise Lost
        return saved

    async def _settle(self, order: Order, work: Callable[[Order], transitions.Outcome], *, note: str) -> Order:
        """Save what was learnt, on top of whatever the order is by now."""
        for _ in range(SAVES_MAX):
            after, bookings = work(order)
            saved = await self._try(order, after, bookings, note)
            if saved is not None:
                return saved
            latest = await self.store.get(order.order)
            if latest is None:
                raise Lost
            order = latest
        raise Lost

    async def _try(self, before: Order, after: Order, bookings: tuple[Booking, ...], note: str) -> Order | None:
        now = self.clock.utc()
        due = rules.due_at(after)
        after = replace(after, version=before.version + 1, due_at=due)
        change = Change(before, after, bookings, note, Lease.TAKE, now + timedelta(seconds=LEASE_S), now)
        if not await self.store.save(change, self.owner):
            return None
        self.observer.changed(before, after)
        return after

    async def _let_go(self, order: Order) -> Order:
        """Give the lease back; when it is gone already, that is fine too."""
        after = replace(order, version=order.version + 1, due_at=rules.due_at(order))
        if await self.store.save(Change(order, after, lease=Lease.FREE), self.owner):
            return after
        latest = await self.store.get(order.order)
        return latest or order


_LOST: Final = Evidence(MoneyEvent.LOST, Source.RESPONSE)


def _as_kept(queried: Evidence, leg: Leg) -> Evidence:
    """A channel that will not reverse a payment has to show it: only then the money is ours to keep."""
    if queried.event is not MoneyEvent.PAID:
        return _LOST
    if queried.amount_fen != leg.amount_fen:
        return queried
    return replace(queried, event=MoneyEvent.NOT_REVERSIBLE)


def _as_closed(queried: Evidence, closed: Evidence) -> Evidence:
    """The patient may have paid just before: then money went back, and the page has to say so."""
    if queried.event is MoneyEvent.PAID:
        return _LOST  # closed and paid are not both true: reverse it once more
    if queried.event is MoneyEvent.REFUSED and queried.paid_at is not None:
        return replace(queried, event=MoneyEvent.REFUNDED)
    return closed


def description(order: Order) -> str:
    """What the patient reads on the phone; no diagnosis, no identity."""
    text = order.subject.get("title")
    return text if isinstance(text, str) else order.business.value


def _leg(order: Order, item: Item) -> Leg:
    leg = order.find(item.number)
    assert leg is not None  # noqa: S101 - the agenda is made from the order
    return leg


def _refund(order: Order, item: Item) -> Refund:
    return next(refund for refund in order.refunds if refund.refund_no == item.number)
