"""What the hospital's papers look like: typed fields in, a receipt out. Amounts are fen and have to add up."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.devices.receipt_printer.layout import yuan
from agent.devices.receipt_printer.types import Align
from agent.printing.order_papers import PaymentReceipt, RegistrationTicket
from agent.printing.receipt import AnyPart, ColumnPart, PairPart, QrCodePart, Receipt, RulePart, TablePart, TextPart

_Name = Annotated[str, Field(min_length=1, max_length=60)]
_Fen = Annotated[int, Field(ge=0, le=100_000_000_00, description="in fen")]
_AMOUNT_CELLS: Final = 12
_COUNT_CELLS: Final = 6


class Paper(StrEnum):
    """The papers there are."""

    REGISTRATION = "registration"
    PAYMENT = "payment"
    QUEUE_TICKET = "queue_ticket"
    REPORT_COVER = "report_cover"
    PAYMENT_RECEIPT = "payment_receipt"
    REGISTRATION_TICKET = "registration_ticket"


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    hospital: _Name
    patient: _Name
    printed_at: _Name
    """As it is to be shown; the page knows the server's time."""


class Registration(_Fields):
    """挂号凭条."""

    paper: Literal[Paper.REGISTRATION] = Paper.REGISTRATION
    visit_no: _Name
    department: _Name
    doctor: _Name | None = None
    place: _Name
    when: _Name
    queue_no: _Name
    fee_fen: _Fen
    paid_by: _Name
    order_no: _Name
    code: str | None = Field(default=None, min_length=1, max_length=200, description="for the check-in scanner")

    def receipt(self) -> Receipt:
        """The paper."""
        middle: list[AnyPart] = [
            _pair("就诊人", self.patient), _pair("就诊号", self.visit_no), _pair("科室", self.department),
            *([] if self.doctor is None else [_pair("医生", self.doctor)]),
            _pair("就诊地点", self.place), _pair("就诊时间", self.when), RulePart(),
            TextPart(text=f"序号 {self.queue_no}", align=Align.CENTER, bold=True, large=True), RulePart(),
            _pair("挂号费", f"{yuan(self.fee_fen)} 元"), _pair("支付方式", self.paid_by),
            _pair("订单号", self.order_no),
        ]  # fmt: skip
        return _whole(self, "挂号凭条", [*middle, *_code(self.code)], "请妥善保管, 凭此就诊")


class Item(BaseModel):
    """One line of a bill."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    name: _Name
    count: _Name = "1"
    amount_fen: _Fen


class Payment(_Fields):
    """缴费凭条."""

    paper: Literal[Paper.PAYMENT] = Paper.PAYMENT
    order_no: _Name
    items: list[Item] = Field(min_length=1, max_length=100)
    insurance_fen: _Fen = 0
    own_fen: _Fen
    paid_by: _Name
    window: str | None = Field(default=None, max_length=60, description="where to go next")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if sum(item.amount_fen for item in self.items) != self.insurance_fen + self.own_fen:
            raise ValueError("the items are not what insurance and patient pay together")
        return self

    def receipt(self) -> Receipt:
        """The paper."""
        columns = [ColumnPart(), ColumnPart(cells=_COUNT_CELLS, align=Align.RIGHT)]
        table = TablePart(
            columns=[*columns, ColumnPart(cells=_AMOUNT_CELLS, align=Align.RIGHT)],
            rows=[["项目", "数量", "金额"], *([item.name, item.count, yuan(item.amount_fen)] for item in self.items)],
        )
        middle: list[AnyPart] = [
            _pair("就诊人", self.patient), _pair("订单号", self.order_no), RulePart(), table, RulePart(),
            _pair("合计", f"{yuan(self.insurance_fen + self.own_fen)} 元"),
            _pair("医保支付", f"{yuan(self.insurance_fen)} 元"),
            PairPart(label="个人支付", value=f"{yuan(self.own_fen)} 元", bold=True), _pair("支付方式", self.paid_by),
            *([] if not self.window else [_pair("请前往", self.window)]),
        ]  # fmt: skip
        return _whole(self, "缴费凭条", middle, "此凭条不作为报销凭证")


class QueueTicket(_Fields):
    """排队小票."""

    paper: Literal[Paper.QUEUE_TICKET] = Paper.QUEUE_TICKET
    department: _Name
    place: _Name
    number: _Name
    waiting: int = Field(ge=0, le=9_999)

    def receipt(self) -> Receipt:
        """The paper."""
        middle: list[AnyPart] = [
            TextPart(text=self.number, align=Align.CENTER, bold=True, large=True),
            _pair("就诊人", self.patient), _pair("科室", self.department), _pair("地点", self.place),
            _pair("前面等候", f"{self.waiting} 人"),
        ]  # fmt: skip
        return _whole(self, "排队小票", middle, "过号请到分诊台")


class PrintedReport(BaseModel):
    """One report behind the cover."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    title: _Name
    pages: int = Field(ge=1, le=500)


class ReportCover(_Fields):
    """报告封面."""

    paper: Literal[Paper.REPORT_COVER] = Paper.REPORT_COVER
    patient_no: _Name
    reports: list[PrintedReport] = Field(min_length=1, max_length=50)

    def receipt(self) -> Receipt:
        """The paper."""
        pages = sum(report.pages for report in self.reports)
        table = TablePart(
            columns=[ColumnPart(), ColumnPart(cells=_COUNT_CELLS, align=Align.RIGHT)],
            rows=[["报告", "页数"], *([report.title, str(report.pages)] for report in self.reports)],
        )
        middle: list[AnyPart] = [
            _pair("姓名", self.patient), _pair("病历号", self.patient_no), RulePart(), table, RulePart(),
            PairPart(label="共", value=f"{len(self.reports)} 份 {pages} 页", bold=True),
        ]  # fmt: skip
        return _whole(self, "检验检查报告", middle, "请核对份数与页数")


AnyPaper = Annotated[
    Registration | Payment | QueueTicket | ReportCover | PaymentReceipt | RegistrationTicket,
    Field(discriminator="paper"),
]


def _whole(fields: _Fields, title: str, middle: list[AnyPart], last: str) -> Receipt:
    head: list[AnyPart] = [
        TextPart(text=fields.hospital, align=Align.CENTER, bold=True),
        TextPart(text=title, align=Align.CENTER, large=True),
        RulePart(),
    ]
    foot: list[AnyPart] = [
        RulePart(),
        _pair("打印时间", fields.printed_at),
        TextPart(text=last, align=Align.CENTER),
    ]
    return Receipt(elements=[*head, *middle, *foot])


def _pair(label: str, value: str) -> PairPart:
    return PairPart(label=label, value=value)


def _code(content: str | None) -> list[AnyPart]:
    return [] if content is None else [QrCodePart(content=content)]
