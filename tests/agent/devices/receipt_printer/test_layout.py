"""From data to lines and bytes: widths, amounts, rare characters, and text that would command a printer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devices.receipt_printer.chinese import Charset, cells, clean, encode
from agent.devices.receipt_printer.glyphs import FontFile, Glyphs
from agent.devices.receipt_printer.layout import (
    LayoutError,
    PageFormat,
    TextLine,
    compose,
    lay_out,
    needs_picture,
    wrap,
    yuan,
)
from agent.devices.receipt_printer.types import Align, Barcode, Column, Element, Pair, QrCode, Space, Table, Text
from agent.errors import DeviceFault
from simulators.devices.receipt_page import PrintedBarcode, PrintedLine, PrintedPicture
from simulators.devices.receipt_printer import Model, ReceiptPrinterCore

GLYPHS = Glyphs()


def printed(*elements: Element, form: PageFormat | None = None) -> ReceiptPrinterCore:
    core = ReceiptPrinterCore(Model(dots_per_s=1e9))
    form = form or PageFormat()
    core.receive(compose(lay_out(elements, form.columns), form, GLYPHS).data, 0.0)
    for second in range(1, 200):
        core.tick(float(second))
    assert core.buffered == 0
    return core


def lines_of(*elements: Element, columns: int = 48) -> list[str]:
    return [line.text for line in lay_out(elements, columns) if isinstance(line, TextLine)]


@pytest.mark.parametrize(("fen", "shown"), [(0, "0.00"), (5, "0.05"), (123_456, "1234.56"), (-990, "-9.90")])
def test_amounts(fen: int, shown: str) -> None:
    assert yuan(fen) == shown


def test_chinese_takes_two_columns() -> None:
    (line,) = lines_of(Pair("姓名", "张三"), columns=16)
    assert line == "姓名        张三"
    assert cells(line) == 16


def test_a_long_label_makes_room_for_the_amount() -> None:
    lines = lines_of(Pair("医事服务费及其他检查化验材料费", "1260.16"), columns=24)
    assert lines == ["医事服务费及其他检查化验", "材料费           1260.16"]


def test_an_amount_that_is_wider_than_the_paper_keeps_every_digit() -> None:
    assert "".join(line.strip() for line in lines_of(Pair("合计", "1" * 40), columns=32)) == "合计" + "1" * 40


def test_columns_stand_below_each_other() -> None:
    table = Table(
        (Column(), Column(4, Align.RIGHT), Column(8, Align.RIGHT)),
        (("阿莫西林胶囊0.25g", "2", "25.60"), ("A", "10", "1.00")),
    )
    lines = lines_of(table, columns=28)
    assert [line[-5:] for line in lines if line[-1] == "0"] == ["25.60", " 1.00"]
    assert {cells(line) for line in lines if line[-1] == "0"} == {28}


@pytest.mark.parametrize("columns", [(), (Column(40), Column(20)), (Column(47), Column(), Column())])
def test_a_table_that_does_not_fit_is_refused(columns: tuple[Column, ...]) -> None:
    with pytest.raises(LayoutError):
        lay_out((Table(columns, (("甲",) * len(columns),)),), 48)


def test_a_row_with_another_number_of_cells_is_refused() -> None:
    with pytest.raises(LayoutError):
        lay_out((Table((Column(),), (("甲", "乙"),)),), 48)


def test_words_are_not_torn_where_there_is_a_space() -> None:
    assert wrap("Take two tablets twice daily", 12) == ["Take two", "tablets", "twice daily"]
    assert wrap("", 10) == [""]


def test_text_from_outside_commands_nothing() -> None:
    evil = "甲\x1bp\x00\x19\xfa乙\x1dV\x00丙\x10\x14\x01\x00\x01丁\x1b@\x00\u202e戊"
    core = printed(Text(evil), Pair(evil, evil), Table((Column(),), ((evil,),)), QrCode(evil), Barcode("A\x1dV\x00B"))
    assert core.drawer_kicks == 0
    assert len(core.receipts) == 1
    assert core.page == []
    assert core.paper.unknown == []
    assert PrintedBarcode("AVB", 80) in core.receipts[0]


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_leaves_one_receipt_and_no_stray_command(text: str, value: str) -> None:
    elements = (Text(text), Pair(text, value), Table((Column(), Column(10)), ((text, value),)))
    form = PageFormat()
    lines = lay_out(elements, form.columns)
    assert all(cells(line.text) <= form.columns for line in lines if isinstance(line, TextLine))
    if needs_picture(lines, form.charset):
        lines = [line for line in lines if isinstance(line, TextLine) and encode(line.text, form.charset) is not None]
    core = ReceiptPrinterCore(Model(dots_per_s=1e9))
    core.receive(compose(lines, form, GLYPHS).data, 0.0)
    for second in range(1, 40):
        core.tick(float(second))
    assert len(core.receipts) + core.slips == 1
    assert (core.drawer_kicks, core.paper.unknown, core.paper.wrapped) == (0, [], 0)
    shown = [item.text for receipt in core.receipts for item in receipt if isinstance(item, PrintedLine)]
    assert shown == [line.text for line in lines if isinstance(line, TextLine) and line.text]


@pytest.mark.parametrize(
    ("character", "charset", "is_printable"),
    [
        ("张", Charset.GB2312, True),
        ("镕", Charset.GB2312, False),
        ("镕", Charset.GBK, True),
        ("䶮", Charset.GBK, False),
        ("䶮", Charset.GB18030, False),
        ("𠮷", Charset.GB18030, False),
        ("①", Charset.GB2312, True),
        ("·", Charset.GBK, True),
        ("A", Charset.NONE, True),
        ("张", Charset.NONE, False),
        ("\ue863", Charset.GB18030, False),
        ("\ud842", Charset.GB18030, False),
    ],
)
def test_what_a_font_holds(character: str, charset: Charset, is_printable: bool) -> None:
    assert (encode(character, charset) is not None) is is_printable


def test_a_line_with_a_rare_character_becomes_a_picture_on_the_same_grid() -> None:
    core = printed(Pair("姓名", "𠮷䶮"), Pair("姓名", "张三"))
    picture, line = core.receipts[0][:2]
    assert isinstance(picture, PrintedPicture)
    assert isinstance(line, PrintedLine)
    assert (picture.width_bytes, picture.height_dots) == (72, 30)
    middle = b"".join(picture.rows[row * 72 + 9 : row * 72 + 60] for row in range(30))
    assert not any(middle)
    right = b"".join(picture.rows[row * 72 + 66 : row * 72 + 72] for row in range(30))
    assert sum(byte.bit_count() for byte in right) > 100


def test_a_large_rare_line_is_twice_as_high() -> None:
    core = printed(Text("𠮷", large=True), form=PageFormat(columns=42))
    picture = core.receipts[0][0]
    assert isinstance(picture, PrintedPicture)
    assert (picture.width_bytes, picture.height_dots) == (63, 60)


def test_without_a_font_there_is_a_fault_and_no_question_mark() -> None:
    lines = lay_out((Text("𠮷"),), 48)
    with pytest.raises(DeviceFault, match="install fonts-absent") as failed:
        compose(lines, PageFormat(), Glyphs((FontFile(Path("/nowhere/font.ttf"), "fonts-absent"),)))
    assert "𠮷" not in str(failed.value)


@pytest.mark.parametrize("character", ["\ue863", "\U0003fffd", "\ud842"])
def test_a_character_no_font_has_is_a_fault(character: str) -> None:
    with pytest.raises(DeviceFault, match="no installed font"):
        compose(lay_out((Text(character),), 48), PageFormat(), GLYPHS)


def test_cleaning_keeps_names_whole() -> None:
    assert clean("欧阳·娜") == "欧阳·娜"
    assert clean("葛\U000e0100") == "葛"
    assert clean("a\tb\u3000c\u00a0d") == "a b\u3000c d"
    assert clean("\u202eabc\u200b") == "abc"


def test_large_and_bold_reach_the_paper_and_end_there() -> None:
    core = printed(Text("大", Align.CENTER, large=True), Text("小"), Text("粗", bold=True), Space(2), Text("细"))
    found = [item for item in core.receipts[0] if isinstance(item, PrintedLine)]
    assert [(item.text.strip(), item.large, item.bold) for item in found] == [
        ("大", True, False),
        ("小", False, False),
        ("粗", False, True),
        ("细", False, False),
    ]


def test_what_a_printer_cannot_draw_is_refused() -> None:
    with pytest.raises(LayoutError):
        compose(lay_out((QrCode("x"),), 48), PageFormat(qr=False), GLYPHS)
    with pytest.raises(LayoutError):
        compose(lay_out((Barcode("中文"),), 48), PageFormat(), GLYPHS)
    with pytest.raises(LayoutError):
        lay_out((Text("x"),) * 401, 48)
