"""Shows unpaid bills and makes orders of them; what is paid is what was shown, or nothing.

The hash covers every bill and amount on the screen. When the patient says yes, the bills are asked for again: another
hash means that something was changed, withdrawn or paid elsewhere meanwhile, and nothing is charged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from patient_platform.bills.model import BillLineView, BillsView, BillView
from patient_platform.errors import Refusal
from patient_platform.his.ports import Bill, His, HisCode, HisRefused, HisUnreachable
from patient_platform.identity.model import Patient, Session
from patient_platform.identity.service import Identity
from patient_platform.identity.vault import Vault
from patient_platform.money import Fen
from patient_platform.payment.model import Business, Order
from patient_platform.payment.service import NewOrder, Payments

RECEIPT_FIELD = "receipt"


class Bills:
    """The one door to bills."""

    def __init__(self, his: His, identity: Identity, payments: Payments, vault: Vault, *, order_life_s: float) -> None:
        self._his = his
        self._identity = identity
        self._payments = payments
        self._vault = vault
        self._order_life_s = order_life_s

    async def unpaid(self, session: Session) -> BillsView:
        """What this patient has to pay.

        Raises:
            Refusal: `his_down`.
        """
        patient = await self._identity.patient(session.patient)
        found = await self._ask(patient)
        return BillsView(
            bills=[_view(bill) for bill in found],
            bill_hash=bill_hash(found),
            total_fen=sum(bill.amount_fen for bill in found),
        )

    async def order(self, session: Session, chosen: Sequence[str], shown_hash: str) -> Order:
        """An order for bills as they were shown.

        Raises:
            Refusal: `bill_changed`, `bill_paid`, `order_active`, `his_down`.
        """
        patient = await self._identity.patient(session.patient)
        found = await self._ask(patient)
        known = {bill.bill: bill for bill in found}
        wanted = list(dict.fromkeys(chosen))
        if any(number not in known for number in wanted):
            raise Refusal("bill_paid", "a bill is not unpaid any more")
        if not wanted or bill_hash(found) != shown_hash:
            raise Refusal("bill_changed", "the bills are not what was shown")
        bills = [known[number] for number in wanted]
        total = Fen(sum(bill.amount_fen for bill in bills))
        await self._insist(patient, tuple(wanted), total)
        return await self._payments.create(
            NewOrder(
                kiosk=session.kiosk,
                session=session.session,
                patient=session.patient,
                business=Business.BILL,
                keys=tuple(f"bill:{number}" for number in wanted),
                subject={
                    "title": "门诊缴费",
                    "his_patient": patient.his_patient,
                    "bills": wanted,
                    "sealed": self._vault.seal(_receipt(bills), RECEIPT_FIELD),
                },
                amount_fen=total,
                life_s=self._order_life_s,
            )
        )

    async def _ask(self, patient: Patient) -> list[Bill]:
        try:
            return await self._his.unpaid_bills(patient.his_patient)
        except HisUnreachable:
            raise Refusal("his_down", "the HIS does not answer", status=503) from None
        except HisRefused:
            raise Refusal("his_refused", "the HIS does not show the bills") from None

    async def _insist(self, patient: Patient, bills: tuple[str, ...], total: Fen) -> None:
        """The HIS must ask for exactly this now."""
        try:
            due = await self._his.amount_due(patient.his_patient, bills)
        except HisUnreachable:
            raise Refusal("his_down", "the HIS does not answer", status=503) from None
        except HisRefused as refused:
            is_paid = refused.code is HisCode.ALREADY_PAID
            raise Refusal("bill_paid" if is_paid else "bill_changed", "the HIS refuses these bills") from None
        if due != total:
            raise Refusal("bill_changed", "the HIS asks for another amount")


def bill_hash(bills: Sequence[Bill]) -> str:
    """A name for exactly these bills with exactly these lines and amounts."""
    facts = [
        [bill.bill, bill.amount_fen, [[line.name, line.quantity, line.amount_fen] for line in bill.lines]]
        for bill in sorted(bills, key=lambda bill: bill.bill)
    ]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()


def _receipt(bills: Sequence[Bill]) -> str:
    """What the receipt will say; sealed, because medicine says what somebody suffers from."""
    return json.dumps(
        {
            "department": bills[0].department,
            "doctor": bills[0].doctor,
            "lines": [
                {
                    "name": line.name,
                    "specification": line.specification,
                    "quantity": f"{line.quantity}{line.unit}",
                    "amount_fen": line.amount_fen,
                }
                for bill in bills
                for line in bill.lines
            ],
        },
        ensure_ascii=False,
    )


def _view(bill: Bill) -> BillView:
    lines = [
        BillLineView(
            name=line.name,
            specification=line.specification,
            quantity=line.quantity,
            unit=line.unit,
            amount_fen=line.amount_fen,
        )
        for line in bill.lines
    ]
    return BillView(
        bill=bill.bill,
        kind=bill.kind,
        department=bill.department,
        doctor=bill.doctor,
        issued_at=bill.issued_at,
        amount_fen=bill.amount_fen,
        lines=lines,
    )
