"""What a patient can do at a kiosk, and what of it works now: shown by pages and by the fleet server.

An event record carries all functions at once, one field each (`encode_fields`), so that a reader needs only the last.
A function or a reason that a reader does not know is kept as a word; states are a closed list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pydantic import Field

from wire.envelope import Code, ComponentName, Moment, Scalar, WireModel

FUNCTIONS_CHANGED: Final = "functions.changed"
"""Name of the event record; its component is `KIOSK`."""
KIOSK: Final = "kiosk"
NOT_SEEN: Final = "not_seen"
"""A reason that is no fault: nothing was heard of the component yet."""
REASONS_MAX: Final = 8


class PatientFunction(StrEnum):
    """What patients come for."""

    IDENTIFY = "identify"
    QUERY = "query"
    BOOK = "book"
    REGISTER = "register"
    CHECK_IN = "check_in"
    PAY = "pay"
    """By code: WeChat, Alipay, the insurance's electronic credential."""
    PAY_BY_CARD = "pay_by_card"
    PAY_BY_FACE = "pay_by_face"
    INPATIENT_DEPOSIT = "inpatient_deposit"
    DISCHARGE_SETTLEMENT = "discharge_settlement"
    PRINT_RECEIPT = "print_receipt"
    PRINT_TICKET = "print_ticket"
    PRINT_REPORT = "print_report"
    PRINT_INVOICE = "print_invoice"


class FunctionState(StrEnum):
    """Whether a function is there, best first."""

    AVAILABLE = "available"
    DEGRADED = "degraded"
    """It works without something; `lacks` says what."""
    UNKNOWN = "unknown"
    LOST = "lost"


class Lack(StrEnum):
    """What a patient goes without while a function is degraded."""

    RECEIPT = "receipt"
    TICKET = "ticket"
    CHOICE = "choice"
    """One of several ways of doing it."""


class FunctionReason(WireModel):
    """Why a function is not whole: a fault that is up at a component, or `not_seen`."""

    component: ComponentName
    code: Code


class FunctionStatus(WireModel):
    """How one function stands."""

    function: Code
    state: FunctionState
    lacks: Code | None = None
    because: list[FunctionReason] = Field(default_factory=list, max_length=REASONS_MAX)
    since: Moment | None = None


_TEXT = re.compile(r"(?P<state>[a-z]+)(?: -(?P<lacks>[a-z][a-z0-9_]{1,63}))?(?P<because>(?: [a-z0-9_.-]+:[a-z0-9_]+)*)")


def encode_fields(functions: Sequence[FunctionStatus]) -> dict[str, Scalar]:
    """All functions as the fields of the event record: `degraded -receipt receipt_printer:paper_out`."""
    return {status.function: _text(status) for status in functions}


def _text(status: FunctionStatus) -> str:
    words = [status.state.value, *([f"-{status.lacks}"] if status.lacks else [])]
    return " ".join([*words, *(f"{reason.component}:{reason.code}" for reason in status.because)])


def decode_fields(fields: Mapping[str, Scalar]) -> list[FunctionStatus]:
    """The functions of an event record; what is not understood is left out."""
    found = []
    for function, text in fields.items():
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if match is None or match["state"] not in _STATES:
            continue
        pairs = [word.rsplit(":", 1) for word in match["because"].split()]
        document = {
            "function": function,
            "state": match["state"],
            "lacks": match["lacks"],
            "because": [{"component": component, "code": code} for component, code in pairs[:REASONS_MAX]],
        }
        try:
            found.append(FunctionStatus.model_validate(document))
        except ValueError:
            continue
    return found


_STATES: Final = frozenset(state.value for state in FunctionState)


@dataclass(frozen=True, slots=True)
class Title:
    """What people call it."""

    zh: str
    en: str


# fmt: off
FUNCTION_TITLES: Mapping[PatientFunction, Title] = MappingProxyType({
    PatientFunction.IDENTIFY:             Title("身份识别", "Identify"),
    PatientFunction.QUERY:                Title("查询", "Query"),
    PatientFunction.BOOK:                 Title("预约", "Book"),
    PatientFunction.REGISTER:             Title("挂号", "Register"),
    PatientFunction.CHECK_IN:             Title("报到", "Check in"),
    PatientFunction.PAY:                  Title("扫码缴费", "Pay by code"),
    PatientFunction.PAY_BY_CARD:          Title("银行卡缴费", "Pay by card"),
    PatientFunction.PAY_BY_FACE:          Title("刷脸医保", "Pay by face"),
    PatientFunction.INPATIENT_DEPOSIT:    Title("住院预交", "Inpatient deposit"),
    PatientFunction.DISCHARGE_SETTLEMENT: Title("出院结算", "Discharge settlement"),
    PatientFunction.PRINT_RECEIPT:        Title("打印凭条", "Print receipts"),
    PatientFunction.PRINT_TICKET:         Title("打印号条", "Print tickets"),
    PatientFunction.PRINT_REPORT:         Title("打印报告", "Print reports"),
    PatientFunction.PRINT_INVOICE:        Title("打印发票", "Print invoices"),
})
LACK_TITLES: Mapping[Lack, Title] = MappingProxyType({
    Lack.RECEIPT: Title("不出凭条", "no receipt"),
    Lack.TICKET:  Title("不出号条", "no ticket"),
    Lack.CHOICE:  Title("方式减少", "fewer ways"),
})
# fmt: on
