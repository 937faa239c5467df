"""The papers of an order of the patient platform: its texts are printed as they come, masked already, Chinese first.

A paid order must come out on paper: what a newer platform says beyond these fields is left out, what it does not say is
not printed, and a bill too long for a receipt is cut with a word about it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.devices.receipt_printer.types import Align
from agent.printing.receipt import AnyPart, ColumnPart, PairPart, Receipt, RulePart, TablePart, TextPart

LINES_SHOWN: Final = 80
_NAME_SHOWN: Final = 36
_COUNT_CELLS, _AMOUNT_CELLS = 6, 10
_Text = Annotated[str, Field(max_length=300)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


class OrderFields(_Part):
    """The texts of `GET …/receipt`; an empty one is not printed."""

    hospital: _Text = ""
    campus: _Text = ""
    patient: _Text = Field(default="", description="the masked name")
    visit_number: _Text = ""
    department: _Text = ""
    doctor: _Text = ""
    time: _Text = ""
    location: _Text = ""
    queue_number: _Text = ""
    window: _Text = ""
    total: _Text = Field(default="", description="in yuan")
    channel: _Text = ""
    trade_no: _Text = ""
    channel_no: _Text = ""
    paid_at: _Text = ""
    case_number: _Text = ""
    reconciliation_no: _Text = ""
    kiosk: _Text = ""
    copy_mark: _Text = Field(default="", alias="copy", description="`补打` on every paper but the first")


class OrderLine(_Part):
    """One item of a bill."""

    name: _Text = ""
    specification: _Text = ""
    quantity: _Text = ""
    amount: _Text = Field(default="", description="in yuan")


_Captions = tuple[tuple[str, str], ...]
_WHO: Final[_Captions] = (
    ("patient", "就诊人 Patient"),
    ("visit_number", "就诊号 Visit no."),
    ("department", "科室 Department"),
    ("doctor", "医生 Doctor"),
)
_PAID: Final[_Captions] = (
    ("channel", "支付方式 Paid by"),
    ("trade_no", "交易号 Trade no."),
    ("channel_no", "支付流水 Channel no."),
    ("paid_at", "支付时间 Paid at"),
    ("reconciliation_no", "对账号 Ledger no."),
    ("case_number", "业务编号 Case no."),
    ("kiosk", "自助机 Kiosk"),
)


class PaymentReceipt(_Part):
    """缴费凭条 of an order."""

    paper: Literal["payment_receipt"] = "payment_receipt"
    fields: OrderFields
    lines: list[OrderLine] = Field(default_factory=list, max_length=1_000)

    def receipt(self) -> Receipt:
        """The paper."""
        fields = self.fields
        where = _pairs(fields, (("window", "请前往 Please go to"), ("location", "地点 Location")))
        middle: list[AnyPart] = [
            *_pairs(fields, _WHO), *_items(self.lines), RulePart(), *_total(fields), *_pairs(fields, _PAID),
            *([RulePart(), *where] if where else []),
        ]  # fmt: skip
        return _whole(fields, ("缴费凭条", "Payment receipt"), middle, ("此凭条不作为报销凭证", "Not an invoice"))


class RegistrationTicket(_Part):
    """挂号凭条 of an order."""

    paper: Literal["registration_ticket"] = "registration_ticket"
    fields: OrderFields
    lines: list[OrderLine] = Field(default_factory=list, max_length=1_000)

    def receipt(self) -> Receipt:
        """The paper."""
        fields = self.fields
        where: _Captions = (("time", "就诊时间 Time"), ("location", "就诊地点 Location"))
        number: list[AnyPart] = [
            TextPart(text=f"序号 {fields.queue_number}", align=Align.CENTER, bold=True, large=True),
            TextPart(text="Queue number", align=Align.CENTER),
            RulePart(),
        ]
        middle: list[AnyPart] = [
            *_pairs(fields, (*_WHO, *where)), RulePart(),
            *(number if fields.queue_number else []), *_total(fields), *_pairs(fields, _PAID),
        ]  # fmt: skip
        return _whole(
            fields, ("挂号凭条", "Registration"), middle, ("凭此就诊, 请妥善保管", "Please keep this for your visit")
        )


def _pairs(fields: OrderFields, captions: _Captions) -> list[AnyPart]:
    values = ((caption, getattr(fields, name)) for name, caption in captions)
    return [PairPart(label=caption, value=value) for caption, value in values if value]


def _total(fields: OrderFields) -> list[AnyPart]:
    return [PairPart(label="合计 Total", value=f"{fields.total} 元", bold=True)] if fields.total else []


def _items(lines: list[OrderLine]) -> list[AnyPart]:
    if not lines:
        return []
    columns = [
        ColumnPart(),
        ColumnPart(cells=_COUNT_CELLS, align=Align.RIGHT),
        ColumnPart(cells=_AMOUNT_CELLS, align=Align.RIGHT),
    ]
    rows = [["项目", "数量", "金额(元)"], ["Item", "Qty", "Yuan"], *(_row(line) for line in lines[:LINES_SHOWN])]
    left = len(lines) - LINES_SHOWN
    more = [TextPart(text=f"另有 {left} 项未列出 · {left} more items")] if left > 0 else []
    return [RulePart(), TablePart(columns=columns, rows=rows), *more]


def _row(line: OrderLine) -> list[str]:
    name = f"{line.name} {line.specification}".strip()
    if len(name) > _NAME_SHOWN:
        name = f"{name[: _NAME_SHOWN - 1]}…"
    return [name, line.quantity, line.amount]


def _whole(fields: OrderFields, title: tuple[str, str], middle: list[AnyPart], last: tuple[str, str]) -> Receipt:
    zh, en = title
    head: list[AnyPart] = [
        TextPart(text=name, align=Align.CENTER, bold=True) for name in (fields.hospital, fields.campus) if name
    ]
    mark: list[AnyPart] = [] if not fields.copy_mark else [
        TextPart(text=f"{fields.copy_mark} Reprint", align=Align.CENTER, bold=True, large=True)
    ]  # fmt: skip
    return Receipt(
        elements=[
            *mark, *head, TextPart(text=zh, align=Align.CENTER, large=True), TextPart(text=en, align=Align.CENTER),
            RulePart(), *middle, RulePart(), *(TextPart(text=text, align=Align.CENTER) for text in last),
        ]
    )  # fmt: skip
