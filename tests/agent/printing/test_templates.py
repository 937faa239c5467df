"""The hospital's papers: what is on them, that amounts add up, and that they can be seen before they are printed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.devices.receipt_printer.glyphs import Glyphs
from agent.devices.receipt_printer.layout import PageFormat, Printout, TextLine, compose, lay_out
from agent.printing.order_papers import LINES_SHOWN
from agent.printing.preview import PreviewFailed, preview
from agent.printing.receipt import ColumnPart, Receipt, TablePart, TextPart
from agent.printing.templates import AnyPaper, Paper
from support.receipt_golden import rows

ORDER = {
    "hospital": "测试市人民医院", "campus": "蓉江院区", "patient": "赵*例", "visit_number": "M0001234",
    "department": "心血管内科门诊", "doctor": "钱医生", "total": "50.00", "channel": "微信支付",
    "trade_no": "K20261123093000000042ABCD01", "channel_no": "4200001234202611230123456789",
    "paid_at": "2026-11-23 10:00:00", "case_number": "A7K42", "kiosk": "zzj-021", "window": "",
    "copy": "", "unheard_of": "x",
}  # fmt: skip
LINES = [
    {"name": "注射用头孢哌酮钠舒巴坦钠", "specification": "1.5g*10支/盒", "quantity": "2盒", "amount": "30.01"},
    {"name": "血常规", "specification": "", "quantity": "1", "amount": "19.99", "unheard_of": "x"},
]
VISIT = {"queue_number": "18", "location": "门诊三楼 B 区 12 诊室", "time": "09:30 - 10:00"}
ORDERS: dict[str, dict[str, Any]] = {
    "payment_receipt": {"fields": {**ORDER, "window": "1F 药房 3 号窗口"}, "lines": LINES},
    "registration_ticket": {"fields": {**ORDER, **VISIT}, "lines": []},
}
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
    fields = ORDERS[name] if name in ORDERS else {**COMMON, **PAPERS[name]}
    paper: BaseModel = ADAPTER.validate_python({"paper": name, **fields, **changes})
    return paper


def words(receipt: Receipt, columns: int = 48) -> str:
    """Everything on it, line by line."""
    lines = lay_out(receipt.job("t", copy_no=0).elements, columns)
    return "\n".join(line.text for line in lines if isinstance(line, TextLine))


def test_every_paper_has_its_example() -> None:
    assert {*PAPERS, *ORDERS} == {paper.value for paper in Paper}


@pytest.mark.parametrize("columns", [32, 42, 48])
@pytest.mark.parametrize("name", sorted({**PAPERS, **ORDERS}))
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


@pytest.mark.parametrize("name", sorted({**PAPERS, **ORDERS}))
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


# --- the papers of an order ------------------------------------------------------------------------------------


def printout(name: str, columns: int, **changes: str) -> Printout:
    """The bytes of an order's paper."""
    paper = made(name, fields={**ORDERS[name]["fields"], **changes})
    lines = lay_out(paper.receipt().job("t", copy_no=0).elements, columns)  # type: ignore[attr-defined]
    return compose(lines, PageFormat(columns=columns), Glyphs())


def test_golden_papers() -> None:
    ours = {f"{name}_{columns}": printout(name, columns).data for name in ORDERS for columns in (32, 48)}
    assert ours == {name: data for name, data, _ in rows("papers")}


def test_every_text_of_an_order_is_on_its_paper() -> None:
    for name, paper in ORDERS.items():
        text = words(made(name).receipt())  # type: ignore[attr-defined]
        for field, value in paper["fields"].items():
            assert (value in text) is (field != "unheard_of") or value == "", field
    assert "蓉江院区" in words(made("payment_receipt").receipt())  # type: ignore[attr-defined]


def test_a_reprint_says_so_first() -> None:
    paper = made("registration_ticket", fields={**ORDER, **VISIT, "copy": "补打"})
    first = words(paper.receipt()).splitlines()[0]  # type: ignore[attr-defined]
    assert first.strip() == "补打 Reprint"


def test_a_platform_that_says_nothing_gets_its_paper_all_the_same() -> None:
    assert "缴费凭条" in words(made("payment_receipt", fields={}, lines=[{}]).receipt())  # type: ignore[attr-defined]


def test_a_long_name_goes_on_in_its_column() -> None:
    lines = words(made("payment_receipt").receipt(), 32).splitlines()  # type: ignore[attr-defined]
    at = next(index for index, line in enumerate(lines) if line.startswith("注射用头孢哌酮"))
    assert lines[at].endswith("30.01")
    assert [line.strip() for line in lines[at + 1 : at + 3]] == ["钠舒巴坦钠", "1.5g*10支/盒"]


@pytest.mark.parametrize("columns", [32, 48])
def test_a_bill_that_is_too_long_is_printed_and_says_that_it_is_cut(columns: int) -> None:
    lines = [{"name": "医" * 300, "specification": "格" * 300, "quantity": "99999", "amount": "1000000.00"}] * 1_000
    text = words(made("payment_receipt", lines=lines).receipt(), columns)  # type: ignore[attr-defined]
    assert f"另有 {1_000 - LINES_SHOWN} 项未列出" in text


def test_a_rare_name_is_drawn() -> None:
    assert printout("payment_receipt", 48).pictures == 0
    assert printout("payment_receipt", 48, patient="赵*𬭎", doctor="钱医生").pictures == 1
