"""A receipt as a page sends it and as the journal keeps it: JSON, checked before it is taken."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.devices.receipt_printer.types import (
    Align,
    Barcode,
    Column,
    Element,
    Pair,
    QrCode,
    ReceiptJob,
    Rule,
    Space,
    Table,
    Text,
)

ELEMENTS_LIMIT: Final = 400
_ROWS_LIMIT: Final = 400
_Words = Annotated[str, Field(max_length=2_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, hide_input_in_errors=True)


class TextPart(_Part):
    """A paragraph; broken into lines where it does not fit."""

    type: Literal["text"] = "text"
    text: _Words
    align: Align = Align.LEFT
    bold: bool = False
    large: bool = False

    def element(self) -> Element:
        """What the printer takes."""
        return Text(self.text, self.align, self.bold, self.large)


class PairPart(_Part):
    """A label on the left, a value on the right."""

    type: Literal["pair"] = "pair"
    label: _Words
    value: _Words
    bold: bool = False

    def element(self) -> Element:
        """What the printer takes."""
        return Pair(self.label, self.value, self.bold)


class ColumnPart(_Part):
    """One column of a table; `cells` is its width in half-width characters, 0 takes what the others leave."""

    cells: int = Field(default=0, ge=0, le=80)
    align: Align = Align.LEFT


class TablePart(_Part):
    """Rows below each other."""

    type: Literal["table"] = "table"
    columns: list[ColumnPart] = Field(min_length=1, max_length=8)
    rows: list[list[_Words]] = Field(max_length=_ROWS_LIMIT)

    def element(self) -> Element:
        """What the printer takes."""
        columns = tuple(Column(column.cells, column.align) for column in self.columns)
        return Table(columns, tuple(tuple(row) for row in self.rows))


class RulePart(_Part):
    """A line across the paper."""

    type: Literal["rule"] = "rule"

    def element(self) -> Element:
        """What the printer takes."""
        return Rule()


class SpacePart(_Part):
    """Empty lines."""

    type: Literal["space"] = "space"
    lines: int = Field(default=1, ge=1, le=20)

    def element(self) -> Element:
        """What the printer takes."""
        return Space(self.lines)


class QrCodePart(_Part):
    """A QR code in the middle."""

    type: Literal["qr_code"] = "qr_code"
    content: Annotated[str, Field(min_length=1, max_length=1_000)]
    module_dots: int = Field(default=6, ge=2, le=16)

    def element(self) -> Element:
        """What the printer takes."""
        return QrCode(self.content, self.module_dots)


class BarcodePart(_Part):
    """A Code 128 barcode in the middle, ASCII only."""

    type: Literal["barcode"] = "barcode"
    content: Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,48}$")]
    height_dots: int = Field(default=80, ge=24, le=255)

    def element(self) -> Element:
        """What the printer takes."""
        return Barcode(self.content, self.height_dots)


AnyPart = Annotated[
    TextPart | PairPart | TablePart | RulePart | SpacePart | QrCodePart | BarcodePart, Field(discriminator="type")
]


class Receipt(_Part):
    """What is on a receipt, from top to bottom."""

    elements: list[AnyPart] = Field(min_length=1, max_length=ELEMENTS_LIMIT)

    def content(self) -> bytes:
        """The bytes that the journal keeps; the same receipt gives the same bytes."""
        return self.model_dump_json(exclude_defaults=False).encode()

    @classmethod
    def of(cls, content: bytes) -> Receipt | None:
        """A receipt from the journal; None when the bytes are none, as an older version may have written them."""
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            return None

    def job(self, job_id: str, *, copy_no: int) -> ReceiptJob:
        """What the printer takes; a copy says so at its top, where nobody cuts it off."""
        elements = tuple(part.element() for part in self.elements)
        return ReceiptJob(job_id, (*copy_mark(copy_no), *elements))


def copy_mark(copy_no: int) -> tuple[Element, ...]:
    """The mark of a copy: none on the first print."""
    if copy_no == 0:
        return ()
    return (Text(f"补打 第{copy_no}次", Align.CENTER, bold=True, large=True), Rule())
