"""Field names of the kiosk interfaces, shared by the adapters: what differs between them is how a call travels.

Everything that comes in is checked here; an answer that does not have what it must have counts as no answer.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from patient_platform.his.ports import (
    Bill,
    BillLine,
    Department,
    Doctor,
    HisPatient,
    HisTrade,
    HisUnreachable,
    Posted,
    Slot,
    SlotLock,
)
from patient_platform.money import AMOUNT_MAX, Fen

M = TypeVar("M", bound=BaseModel)

HOSPITAL_TIME: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China has had no daylight saving time since 1991."""


def moment(text: object) -> object:
    """`2026-11-23 08:00:00` of the hospital's wall as an aware moment."""
    if not isinstance(text, str):
        return text
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=HOSPITAL_TIME).astimezone(UTC)


def optional_date(text: object) -> object:
    """A date, None for an empty text."""
    return None if text == "" else text


Moment = Annotated[datetime, BeforeValidator(moment)]
Text = Annotated[str, Field(max_length=200)]
Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
Signed = Annotated[int, Field(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class PatientItem(_Item):
    """A row of `patient/find`."""

    patient_id: Text
    mzh: Text
    name: Text = ""
    sex: Text = ""
    birthday: Annotated[date | None, BeforeValidator(optional_date)] = None
    id_card: Text = ""
    phone: Text = ""
    card_no: Text = ""

    def out(self) -> HisPatient:
        """As the port has it."""
        return HisPatient(
            self.patient_id, self.mzh, self.name, self.sex, self.birthday, self.id_card, self.phone, self.card_no
        )


class Patients(_Item):
    """The answer to `patient/find`."""

    patients: list[PatientItem] = Field(max_length=50)


class DepartmentItem(_Item):
    """A row of `department_list`."""

    dept_id: Text
    dept_name: Text
    pinyin: Text = ""
    location: Text = ""
    floor: Text = ""

    def out(self) -> Department:
        """As the port has it."""
        return Department(self.dept_id, self.dept_name, self.pinyin, self.location, self.floor)


class Departments(_Item):
    """The answer to `department_list`."""

    departments: list[DepartmentItem] = Field(max_length=500)


class DoctorItem(_Item):
    """A row of `schedule_group`."""

    doctor_id: Text
    doctor_name: Text
    title: Text = ""
    reg_fee: Amount
    reg_count: int

    def out(self) -> Doctor:
        """As the port has it."""
        return Doctor(self.doctor_id, self.doctor_name, self.title, Fen(self.reg_fee), self.reg_count)


class Doctors(_Item):
    """The answer to `schedule_group`."""

    doctors: list[DoctorItem] = Field(max_length=500)


class ZoneItem(_Item):
    """One slot of a schedule."""

    no: int
    begin: Text
    end: Text
    left: int


class ScheduleItem(_Item):
    """A row of `schedule_details`."""

    schedule_id: Text
    schedule_date: date
    time_zones: list[ZoneItem] = Field(max_length=500)
    reg_fee: Amount

    def out(self) -> list[Slot]:
        """As the port has it."""
        return [
            Slot(self.schedule_id, zone.no, self.schedule_date, zone.begin, zone.end, zone.left, Fen(self.reg_fee))
            for zone in self.time_zones
        ]


class Schedules(_Item):
    """The answer to `schedule_details`."""

    schedules: list[ScheduleItem] = Field(max_length=200)


class LockItem(_Item):
    """The answer to `schedule_lock`."""

    pre_id: Text
    see_no: Text
    reg_fee: Amount
    expires_at: Moment

    def out(self) -> SlotLock:
        """As the port has it."""
        return SlotLock(self.pre_id, self.see_no, Fen(self.reg_fee), self.expires_at)


class BillItem(_Item):
    """A row of `unpaidfees`."""

    recipe_id: Text
    kind: Text = ""
    dept_name: Text = ""
    doctor_name: Text = ""
    issued_at: Moment
    should_money: Amount


class Bills(_Item):
    """The answer to `unpaidfees`."""

    bills: list[BillItem] = Field(max_length=200)


class LineItem(_Item):
    """A row of `unpaidfees_details`."""

    recipe_id: Text
    name: Text
    spec: Text = ""
    quantity: Text = ""
    unit: Text = ""
    amount: Amount

    def out(self) -> BillLine:
        """As the port has it."""
        return BillLine(self.name, self.spec, self.quantity, self.unit, Fen(self.amount))


class Lines(_Item):
    """The answer to `unpaidfees_details`."""

    items: list[LineItem] = Field(max_length=2_000)


class Due(_Item):
    """The answer to `settlement_pre`."""

    total: Amount


class Commit(_Item):
    """The answer to a commit, a refund or a check."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    reconciliation_no: Text

    def out(self) -> Posted:
        """As the port has it."""
        extra = self.model_extra or {}
        facts = {name: str(value) for name, value in extra.items() if name in _FACTS and value not in {None, ""}}
        return Posted(self.reconciliation_no, facts)


class Check(_Item):
    """The answer to `trade_check`."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    state: Text
    reconciliation_no: Text = ""


class TradeItem(_Item):
    """A row of `trade_list`."""

    trade_no: Text
    refund_no: Text | None = None
    amount: Signed
    time_trade: Moment
    reconciliation_no: Text = ""

    def out(self) -> HisTrade:
        """As the port has it."""
        return HisTrade(
            self.trade_no, self.refund_no or None, Fen(self.amount), self.time_trade, self.reconciliation_no
        )


class Trades(_Item):
    """The answer to `trade_list`."""

    total: int
    rows: list[TradeItem] = Field(max_length=5_000)


_FACTS: Final = frozenset({"register_no", "see_no", "location", "window"})


def read(model: type[M], data: Any) -> M:  # noqa: ANN401 - whatever came in
    """Check an answer.

    Raises:
        HisUnreachable: it is not what was agreed; what the HIS did is not known.
    """
    try:
        return model.model_validate(data)
    except (ValidationError, ValueError) as error:
        raise HisUnreachable(f"an answer of the HIS does not fit {model.__name__}") from error


def with_lines(bills: list[BillItem], lines: list[LineItem]) -> list[Bill]:
    """Bills with their lines, as the port has them."""
    by_bill: dict[str, list[BillLine]] = {}
    for line in lines:
        by_bill.setdefault(line.recipe_id, []).append(line.out())
    return [
        Bill(
            bill.recipe_id,
            bill.kind,
            bill.dept_name,
            bill.doctor_name,
            bill.issued_at,
            Fen(bill.should_money),
            tuple(by_bill.get(bill.recipe_id, ())),
        )
        for bill in bills
    ]
