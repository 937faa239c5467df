"""The hospital's papers: what is on them, that amounts add up, and that they can be seen before they are printed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.devices.receipt_printer.layout import TextLine, lay_out
from agent.printing.preview import PreviewFailed, preview
from agent.printing.receipt import ColumnPart, Receipt, TablePart, TextPart
from agent.printing.templates import AnyPaper, Paper

COMMON = {"hospital": "测试市人民医院", "patient": "赵*例", "printed_at": "2026-11-23 10:00"}
PAPERS: dict[str, dict[str, Any]] = {
    "registration": {
        "visit_no": "V1", "department": "内科", "doctor": "钱医生", "place": "3F 12 诊室", "when": "上午 9:30",
        "queue_no": "A018", "fee_fen": 2_550, "paid_by": "微信支付", "order_no": "R20261123001", "code": "V1",
    },
    "payment": {
        "order_no": "P1",
        "items": [{"name": "血常规", "amount_fen": 1_999}, {"name": "胶囊", "count": "2 盒", "amount_fen": 3_001}],
        "insurance_fen": 3_000, "own_fen": 2_000, "paid_by": "支付宝", "window": "1F 药房 3 号窗口",
    },
    "queue_ticket": {"department": "超声科", "place": "4F", "number": "U027", "waiting": 6},
    "report_cover": {"patient_no": "M77", "reports": [{"title": "血常规", "pages": 1}, {"title": "CT", "pages": 3}]},
}  # fmt: skip
ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyPaper)


def made(name: str, **changes: object) -> BaseModel:
    """A paper with its fields."""
    paper: BaseModel = ADAPTER.validate_python({"paper": name, **COMMON, **PAPERS[name], **changes})
    return paper


def words(receipt: Receipt, columns: int = 48) -> str:
    """Everything on it, line by line."""
    lines = lay_out(receipt.job("t", copy_no=0).elements, columns)
    return "\n".join(line.text for line in lines if isinstance(line, TextLine))


def test_every_paper_has_its_example() -> None:
    assert set(PAPERS) == {paper.value for paper in Paper}


@pytest.mark.parametrize("columns", [32, 42, 48])
@pytest.mark.parametrize("name", sorted(PAPERS))
def test_a_paper_fits_every_width_and_names_its_patient(name: str, columns: int) -> None:
    text = words(made(name).receipt(), columns)  # type: ignore[attr-defined]
    assert COMMON["patient"] in text
    assert COMMON["hospital"] in text


def test_amounts_are_shown_to_the_fen() -> None:
    text = words(made("payment").receipt())  # type: ignore[attr-defined]
    assert "19.99" in text
    assert "50.00 元" in text
    assert "20.00 元" in text


@pytest.mark.parametrize("own_fen", [1_999, 2_001, 0])
def test_a_bill_that_does_not_add_up_is_refused(own_fen: int) -> None:
    with pytest.raises(ValidationError, match="items are not what"):
        made("payment", own_fen=own_fen)


def test_a_float_is_no_amount() -> None:
    with pytest.raises(ValidationError):
        made("registration", fee_fen=25.5)


@pytest.mark.parametrize("name", sorted(PAPERS))
async def test_a_paper_can_be_seen(name: str) -> None:
    picture = await preview(made(name).receipt(), columns=48)  # type: ignore[attr-defined]
    assert len(picture) > 3_000


async def test_a_copy_shows_its_mark() -> None:
    receipt = made("queue_ticket").receipt()  # type: ignore[attr-defined]
    first, copy = await preview(receipt, columns=48), await preview(receipt, columns=48, copy_no=1)
    assert int.from_bytes(copy[20:24], "big") > int.from_bytes(first[20:24], "big")


async def test_what_does_not_fit_is_refused() -> None:
    wide = TablePart(columns=[ColumnPart(cells=40), ColumnPart(cells=40)], rows=[["a", "b"]])
    with pytest.raises(PreviewFailed):
        await preview(Receipt(elements=[wide, TextPart(text="x")]), columns=32)
