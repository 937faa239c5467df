"""What the invented hospital consists of, and why it refuses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta, timezone
from enum import IntEnum
from typing import Any, Final

ZONE: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
CAMPUS: Final = "蓉江院区"


class Code(IntEnum):
    """Numbers of refusals."""

    PARAMETER = 400
    TOKEN = 401
    SLOT_TAKEN = 501
    DOCTOR_STOPPED = 502
    BILL_VOID = 503
    AMOUNT_DIFFERS = 504
    ALREADY_PAID = 505
    NOT_FOUND = 506
    CONFLICT = 507
    SLOT_PAST = 508


class Refused(Exception):
    """The hospital says no."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(slots=True)
class Patient:
    """A patient of the hospital."""

    patient_id: str
    mzh: str
    name: str
    sex: str
    birthday: str
    id_card: str
    phone: str
    card_no: str
    address: str = ""

    def row(self) -> dict[str, str]:
        """As the interfaces say it."""
        found = asdict(self)
        found.pop("address")
        return found


@dataclass(frozen=True, slots=True)
class Department:
    """Where one registers."""

    dept_id: str
    dept_name: str
    pinyin: str
    location: str
    floor: str


@dataclass(slots=True)
class Doctor:
    """Who sees patients, and for how much."""

    doctor_id: str
    dept_id: str
    doctor_name: str
    title: str
    reg_level_id: str
    reg_fee: int
    is_stopped: bool = False


@dataclass(slots=True)
class Lock:
    """A slot that is kept for somebody."""

    pre_id: str
    schedule_id: str
    no: int
    patient_id: str
    see_no: str
    expires_at: float


@dataclass(slots=True)
class Item:
    """A line of a bill."""

    name: str
    spec: str
    quantity: str
    unit: str
    price: int
    amount: int


@dataclass(slots=True)
class Bill:
    """A prescription or an examination to pay."""

    recipe_id: str
    patient_id: str
    kind: str
    dept_name: str
    doctor_name: str
    issued_at: str
    items: list[Item] = field(default_factory=list)
    state: str = "unpaid"
    trade_no: str = ""

    @property
    def should_money(self) -> int:
        """What it costs, in fen."""
        return sum(item.amount for item in self.items)


@dataclass(slots=True)
class Trade:
    """Something the hospital accounted for."""

    trade_no: str
    business: str
    amount: int
    pay_channel: str
    trade_channel_payid: str
    time_trade: str
    reconciliation_no: str
    refund_no: str = ""
    answer: dict[str, Any] = field(default_factory=dict)
    """What the first call was told; a second one is told the same."""


@dataclass(slots=True)
class Late:
    """A call that was never answered and is done later all the same."""

    operation: str
    parameters: dict[str, Any]  # Any: a JSON document
    due_at: float


@dataclass(slots=True)
class Books:
    """Everything that changes; kept on disk, so that a killed simulator forgets nothing it has promised."""

    patients: dict[str, Patient] = field(default_factory=dict)
    bills: dict[str, Bill] = field(default_factory=dict)
    trades: dict[str, Trade] = field(default_factory=dict)
    refunds: dict[str, Trade] = field(default_factory=dict)
    locks: dict[str, Lock] = field(default_factory=dict)
    booked: dict[str, str] = field(default_factory=dict)
    """`schedule/no` -> trade number."""
    stopped: list[str] = field(default_factory=list)
    late: dict[str, Late] = field(default_factory=dict)
    counter: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def books_of(document: dict[str, Any]) -> Books:
    """The books of a document made by `Books.document`."""
    bills = {}
    for number, found in document["bills"].items():
        items = [Item(**item) for item in found.pop("items")]
        bills[number] = Bill(**found, items=items)
    return Books(
        patients={number: Patient(**found) for number, found in document["patients"].items()},
        bills=bills,
        trades={number: Trade(**found) for number, found in document["trades"].items()},
        refunds={number: Trade(**found) for number, found in document["refunds"].items()},
        locks={number: Lock(**found) for number, found in document["locks"].items()},
        booked=document["booked"],
        stopped=document["stopped"],
        late={number: Late(**found) for number, found in document.get("late", {}).items()},
        counter=document["counter"],
    )
