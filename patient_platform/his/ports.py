"""What we ask of a HIS, whichever standard it speaks. Each call either answers, refuses, or raises `Unreachable`.

The operations follow the kiosk interfaces Chinese HIS vendors offer: schedules, slot locks, bills, commits that are
idempotent by our trade number, and the compensation query that tells whether a commit whose answer was lost has
happened. Money is fen, times are aware.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from patient_platform.errors import PlatformError, Unreachable
from patient_platform.money import Fen


class HisCode(StrEnum):
    """Why a HIS refuses, translated from each adapter's own numbers."""

    SLOT_TAKEN = "slot_taken"
    DOCTOR_STOPPED = "doctor_stopped"
    BILL_VOID = "bill_void"
    AMOUNT_DIFFERS = "amount_differs"
    ALREADY_PAID = "already_paid"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    """Any other business refusal."""


class HisRefused(PlatformError):
    """The HIS understood and said no."""

    def __init__(self, code: HisCode) -> None:
        super().__init__(f"the HIS refused: {code.value}")
        self.code = code


class HisUnreachable(Unreachable):
    """The HIS gave no answer that can be used; whether it did its part is not known."""


class HisNotAsked(HisUnreachable):
    """The request certainly never left; nothing happened in the HIS."""


@dataclass(frozen=True, slots=True)
class HisPatient:
    """A person as the HIS knows them."""

    patient_id: str
    visit_number: str
    """门诊号 (mzh); what a visit code carries."""
    name: str = field(repr=False)
    sex: str = ""
    birthday: date | None = None
    id_number: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    card_number: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NewPatient:
    """Who comes for the first time, read from a document."""

    name: str = field(repr=False)
    sex: str
    birthday: date | None
    id_number: str = field(repr=False)
    phone: str = field(default="", repr=False)
    address: str = field(default="", repr=False)


class Medium(StrEnum):
    """By what a patient is looked up."""

    ID_NUMBER = "id_card"
    VISIT_NUMBER = "mzh"
    CARD_NUMBER = "card_no"


@dataclass(frozen=True, slots=True)
class Department:
    """Where one registers."""

    department: str
    name: str
    pinyin: str
    location: str
    floor: str


@dataclass(frozen=True, slots=True)
class Doctor:
    """Who has hours on a day."""

    doctor: str
    name: str
    title: str
    fee_fen: Fen
    left: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in a doctor's hours."""

    schedule: str
    number: int
    date: date
    begin: str
    end: str
    left: int
    fee_fen: Fen


@dataclass(frozen=True, slots=True)
class SlotLock:
    """A slot that is kept for a patient for a while."""

    pre_id: str
    queue_number: str
    fee_fen: Fen
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class BillLine:
    """One thing on a bill."""

    name: str
    specification: str
    quantity: str
    unit: str
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class Bill:
    """An unpaid prescription, examination or treatment."""

    bill: str
    kind: str
    department: str
    doctor: str
    issued_at: datetime
    amount_fen: Fen
    lines: tuple[BillLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Payment:
    """What the HIS is told about money."""

    trade_no: str
    amount_fen: Fen
    channel: str
    channel_no: str


@dataclass(frozen=True, slots=True)
class Posted:
    """What the HIS answers to a commit."""

    reconciliation_no: str
    facts: dict[str, str] = field(default_factory=dict)
    """Queue number, room, pharmacy window: for the receipt."""


@dataclass(frozen=True, slots=True)
class HisTrade:
    """A row of the HIS's list of a day."""

    trade_no: str
    refund_no: str | None
    amount_fen: Fen
    """Negative for a refund."""
    at: datetime
    reconciliation_no: str


class His(Protocol):
    """The port. Every method may raise `HisRefused` and `HisUnreachable`."""

    async def find_patients(self, medium: Medium, value: str) -> list[HisPatient]:
        """Everybody with this number; empty when nobody."""

    async def create_patient(self, person: NewPatient) -> HisPatient:
        """Make a patient; the one who has this id number already, if there is one."""

    async def departments(self) -> list[Department]:
        """Where one can register."""

    async def doctors(self, department: str, day: date) -> list[Doctor]:
        """Who has hours."""

    async def slots(self, department: str, doctor: str, day: date) -> list[Slot]:
        """What is left of a doctor's hours."""

    async def lock_slot(self, schedule: str, number: int, patient_id: str, kiosk: str) -> SlotLock:
        """Keep a slot for a patient."""

    async def unlock_slot(self, pre_id: str) -> None:
        """Give it back; a lock that is gone is no error."""

    async def unpaid_bills(self, patient_id: str) -> list[Bill]:
        """What a patient has to pay, with lines."""

    async def amount_due(self, patient_id: str, bills: tuple[str, ...]) -> Fen:
        """What these bills cost right now."""

    async def commit_bill(self, patient_id: str, bills: tuple[str, ...], payment: Payment) -> Posted:
        """They are paid; the same trade number again gets the same answer."""

    async def commit_registration(self, pre_id: str, patient_id: str, payment: Payment) -> Posted:
        """The locked slot is paid; the same trade number again gets the same answer."""

    async def refund_bill(self, trade_no: str, refund_no: str, amount_fen: Fen) -> str:
        """Take a payment back; the reconciliation number."""

    async def refund_registration(self, register_no: str, trade_no: str, refund_no: str, amount_fen: Fen) -> str:
        """Take a registration back; the reconciliation number."""

    async def check_trade(self, trade_no: str, business: str) -> Posted | None:
        """Whether a commit has happened; None when the HIS does not know the number."""

    async def trades(self, day: date) -> list[HisTrade]:
        """Everything the HIS accounted for on a day."""
