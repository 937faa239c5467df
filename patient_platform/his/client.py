"""The port on top of "send one operation, get its data": the part that REST and SOAP have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, Protocol

from patient_platform.his.ports import (
    Bill,
    Department,
    Doctor,
    HisCode,
    HisPatient,
    HisRefused,
    HisTrade,
    HisUnreachable,
    Medium,
    NewPatient,
    Payment,
    Posted,
    Slot,
    SlotLock,
)
from patient_platform.his.reading import (
    Bills,
    Check,
    Commit,
    Departments,
    Doctors,
    Due,
    Lines,
    LockItem,
    PatientItem,
    Patients,
    Schedules,
    Trades,
    read,
    with_lines,
)
from patient_platform.money import Fen

PAGE: Final = 1_000
OPERATOR: Final = "自助机"
CODES: Final[Mapping[int, HisCode]] = {
    501: HisCode.SLOT_TAKEN,
    502: HisCode.DOCTOR_STOPPED,
    503: HisCode.BILL_VOID,
    504: HisCode.AMOUNT_DIFFERS,
    505: HisCode.ALREADY_PAID,
    404: HisCode.NOT_FOUND,
    506: HisCode.NOT_FOUND,
    508: HisCode.SLOT_TAKEN,
}


class Wire(Protocol):
    """How an operation travels."""

    async def call(self, operation: str, parameters: Mapping[str, Any], *, ok: int = 1) -> Any:  # noqa: ANN401 - JSON
        """Send an operation; its data, money in fen.

        Raises:
            HisRefused, HisUnreachable: see `ports`.
        """


class HisClient:
    """See `ports.His`."""

    def __init__(self, wire: Wire, campus: str) -> None:
        self._wire = wire
        self._campus = campus

    async def find_patients(self, medium: Medium, value: str) -> list[HisPatient]:
        """See the port."""
        try:
            data = await self._wire.call("patient/find", {medium.value: value})
        except HisRefused as refused:
            if refused.code is HisCode.NOT_FOUND:
                return []
            raise
        return [item.out() for item in read(Patients, data).patients]

    async def create_patient(self, person: NewPatient) -> HisPatient:
        """See the port."""
        parameters = {
            "name": person.name,
            "sex": person.sex,
            "birthday": "" if person.birthday is None else person.birthday.isoformat(),
            "id_card": person.id_number,
            "phone": person.phone,
            "address": person.address,
        }
        made = read(PatientItem, await self._wire.call("patient/create", parameters))
        return HisPatient(
            made.patient_id, made.mzh, person.name, person.sex, person.birthday, person.id_number, person.phone
        )

    async def departments(self) -> list[Department]:
        """See the port."""
        data = await self._wire.call("register/department_list", {"campus": self._campus})
        return [item.out() for item in read(Departments, data).departments]

    async def doctors(self, department: str, day: date) -> list[Doctor]:
        """See the port."""
        data = await self._wire.call("register/schedule_group", {"dept_id": department, "date": day.isoformat()})
        return [item.out() for item in read(Doctors, data).doctors]

    async def slots(self, department: str, doctor: str, day: date) -> list[Slot]:
        """See the port."""
        data = await self._wire.call(
            "register/schedule_details", {"dept_id": department, "doctor_id": doctor, "date": day.isoformat()}
        )
        return [slot for item in read(Schedules, data).schedules for slot in item.out()]

    async def lock_slot(self, schedule: str, number: int, patient_id: str, kiosk: str) -> SlotLock:
        """See the port."""
        parameters = {
            "schedule_id": schedule,
            "no": number,
            "client_id": kiosk,
            "patient_id": patient_id,
            "channel": "kiosk",
            "operator": OPERATOR,
        }
        return read(LockItem, await self._wire.call("register/schedule_lock", parameters, ok=0)).out()

    async def unlock_slot(self, pre_id: str) -> None:
        """See the port."""
        try:
            await self._wire.call("register/schedule_unlock", {"pre_id": pre_id}, ok=0)
        except HisRefused:
            return

    async def unpaid_bills(self, patient_id: str) -> list[Bill]:
        """See the port."""
        bills = read(Bills, await self._wire.call("bill/unpaidfees", {"patient_id": patient_id})).bills
        if not bills:
            return []
        numbers = [bill.recipe_id for bill in bills]
        lines = await self._wire.call("bill/unpaidfees_details", {"patient_id": patient_id, "recipe_ids": numbers})
        return with_lines(bills, read(Lines, lines).items)

    async def amount_due(self, patient_id: str, bills: tuple[str, ...]) -> Fen:
        """See the port."""
        data = await self._wire.call("bill/settlement_pre", {"patient_id": patient_id, "recipe_ids": list(bills)})
        return Fen(read(Due, data).total)

    async def commit_bill(self, patient_id: str, bills: tuple[str, ...], payment: Payment) -> Posted:
        """See the port."""
        parameters = {"patient_id": patient_id, "recipe_ids": list(bills), **_payment(payment)}
        return read(Commit, await self._wire.call("bill/charge_commit", parameters)).out()

    async def commit_registration(self, pre_id: str, patient_id: str, payment: Payment) -> Posted:
        """See the port."""
        parameters = {"pre_id": pre_id, "patient_id": patient_id, **_payment(payment)}
        return read(Commit, await self._wire.call("register/register_commit", parameters)).out()

    async def refund_bill(self, trade_no: str, refund_no: str, amount_fen: Fen) -> str:
        """See the port."""
        parameters = {"trade_no": trade_no, "refund_no": refund_no, "amount": amount_fen}
        return read(Commit, await self._wire.call("bill/charge_refund", parameters)).reconciliation_no

    async def refund_registration(self, register_no: str, trade_no: str, refund_no: str, amount_fen: Fen) -> str:
        """See the port."""
        parameters = {
            "register_no": register_no,
            "trade_no": trade_no,
            "refund_no": refund_no,
            "amount": amount_fen,
        }
        return read(Commit, await self._wire.call("register/register_refund", parameters)).reconciliation_no

    async def check_trade(self, trade_no: str, business: str) -> Posted | None:
        """See the port."""
        data = await self._wire.call("other/trade_check", {"trade_no": trade_no, "business": business})
        match read(Check, data).state:
            case "found":
                return read(Commit, data).out()
            case "notfound":
                return None
            case _:
                raise HisUnreachable("the HIS says neither found nor notfound")

    async def trades(self, day: date) -> list[HisTrade]:
        """See the port."""
        rows: list[HisTrade] = []
        while True:
            parameters = {"day": day.isoformat(), "offset": len(rows), "length": PAGE}
            page = read(Trades, await self._wire.call("other/trade_list", parameters))
            rows += [item.out() for item in page.rows]
            if len(rows) >= page.total:
                return rows
            if not page.rows:
                raise HisUnreachable("the HIS lists fewer trades than it counts")


def _payment(payment: Payment) -> dict[str, Any]:
    return {
        "trade_no": payment.trade_no,
        "amount": payment.amount_fen,
        "pay_channel": payment.channel,
        "trade_channel_payid": payment.channel_no,
    }
