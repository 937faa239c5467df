"""Tells the HIS what was paid: chooses the HIS's operation by what the order is for, and reads its refusals.

Two things a HIS may do that would post twice or lose a posting: say that it knows nothing while the first call is still
running in it, and refuse a repeated call because of what the first one did.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, assert_never

from kit.clock import Clock
from patient_platform.his.ports import His, HisCode, HisRefused, HisUnreachable, Payment, Posted
from patient_platform.payment.model import Business, Leg, Order, Reason, Refund
from patient_platform.payment.ports import PostAnswer, PostEvidence
from patient_platform.payment.rules import HIS_MEMORY_S

REASONS: Final[Mapping[HisCode, Reason]] = {
    HisCode.SLOT_TAKEN: Reason.SLOT_LOST,
    HisCode.DOCTOR_STOPPED: Reason.DOCTOR_STOPPED,
    HisCode.BILL_VOID: Reason.BILL_VOID,
    HisCode.AMOUNT_DIFFERS: Reason.BILL_CHANGED,
    HisCode.ALREADY_PAID: Reason.BILL_PAID,
    HisCode.NOT_FOUND: Reason.BILL_VOID,
    HisCode.REFUSED: Reason.HIS_REFUSED,
}
_NAMES: Final = {Business.BILL: "bill", Business.REGISTRATION: "register"}


class HisPoster:
    """See `ports.Poster`."""

    def __init__(self, his: His, clock: Clock, *, server_timeout_s: float = HIS_MEMORY_S) -> None:
        """`server_timeout_s` is how long a call that gave no answer may go on inside the HIS."""
        self._his = his
        self._clock = clock
        self._server_timeout = timedelta(seconds=server_timeout_s)

    async def post(self, order: Order, leg: Leg) -> PostEvidence:
        """See the port."""
        payment = Payment(leg.trade_no, leg.amount_fen, leg.channel.value, leg.channel_no or "")
        try:
            return _posted(await self._commit(order, payment))
        except HisRefused as refused:
            return await self._refused(order, leg, REASONS[refused.code])
        except HisUnreachable:
            return PostEvidence(PostAnswer.LOST)

    async def check(self, order: Order, leg: Leg) -> PostEvidence:
        """See the port; "never heard of it" counts only when no call of ours can be running any more."""
        evidence = await self._known(order, leg)
        started = order.posting_started_at
        if evidence.answer is PostAnswer.NOT_FOUND and started is not None:
            is_running = self._clock.utc() - started < self._server_timeout
            return PostEvidence(PostAnswer.LOST) if is_running else evidence
        return evidence

    async def _refused(self, order: Order, leg: Leg, reason: Reason) -> PostEvidence:
        """A HIS that does not know numbers again refuses what it has done itself: a second "no" is looked into."""
        if order.posting_tries > 1:
            evidence = await self._known(order, leg)
            if evidence.answer is not PostAnswer.NOT_FOUND:
                return evidence
        return PostEvidence(PostAnswer.REJECTED, reason=reason)

    async def _known(self, order: Order, leg: Leg) -> PostEvidence:
        try:
            found = await self._his.check_trade(leg.trade_no, _NAMES[order.business])
        except (HisRefused, HisUnreachable):
            return PostEvidence(PostAnswer.LOST)
        return PostEvidence(PostAnswer.NOT_FOUND) if found is None else _posted(found)

    async def unpost(self, order: Order, leg: Leg, refund: Refund) -> PostEvidence:
        """See the port."""
        try:
            number = await self._take_back(order, leg, refund)
        except HisRefused as refused:
            return PostEvidence(PostAnswer.REJECTED, reason=REASONS[refused.code])
        except HisUnreachable:
            return PostEvidence(PostAnswer.LOST)
        return PostEvidence(PostAnswer.POSTED, {"reconciliation_no": number})

    async def release(self, order: Order) -> bool:
        """See the port."""
        try:
            await self._his.unlock_slot(_text(order, "pre_id"))
        except HisUnreachable:
            return False
        return True

    async def _commit(self, order: Order, payment: Payment) -> Posted:
        patient_id = _text(order, "his_patient")
        match order.business:
            case Business.BILL:
                bills = order.subject.get("bills")
                assert isinstance(bills, list)  # noqa: S101 - we wrote it
                return await self._his.commit_bill(patient_id, tuple(str(bill) for bill in bills), payment)
            case Business.REGISTRATION:
                return await self._his.commit_registration(_text(order, "pre_id"), patient_id, payment)
            case _:
                assert_never(order.business)

    async def _take_back(self, order: Order, leg: Leg, refund: Refund) -> str:
        match order.business:
            case Business.BILL:
                return await self._his.refund_bill(leg.trade_no, refund.refund_no, refund.amount_fen)
            case Business.REGISTRATION:
                number = str(order.posted.get("register_no", ""))
                return await self._his.refund_registration(number, leg.trade_no, refund.refund_no, refund.amount_fen)
            case _:
                assert_never(order.business)


def _posted(posted: Posted) -> PostEvidence:
    return PostEvidence(PostAnswer.POSTED, {"reconciliation_no": posted.reconciliation_no, **posted.facts})


def _text(order: Order, name: str) -> str:
    value = order.subject.get(name)
    assert isinstance(value, str)  # noqa: S101 - we wrote it
    return value
