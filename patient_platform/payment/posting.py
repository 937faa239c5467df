"""Tells the HIS what was paid: chooses the HIS's operation by what the order is for, and reads its refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from patient_platform.his.ports import His, HisCode, HisRefused, HisUnreachable, Payment, Posted
from patient_platform.payment.model import Business, Leg, Order, Reason, Refund
from patient_platform.payment.ports import PostAnswer, PostEvidence

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

    def __init__(self, his: His) -> None:
        self._his = his

    async def post(self, order: Order, leg: Leg) -> PostEvidence:
        """See the port."""
        payment = Payment(leg.trade_no, leg.amount_fen, leg.channel.value, leg.channel_no or "")
        try:
            return _posted(await self._commit(order, payment))
        except HisRefused as refused:
            return PostEvidence(PostAnswer.REJECTED, reason=REASONS[refused.code])
        except HisUnreachable:
            return PostEvidence(PostAnswer.LOST)

    async def check(self, order: Order, leg: Leg) -> PostEvidence:
        """See the port."""
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
