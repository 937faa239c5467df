"""python-escpos as a judge who knows neither of us.

Our simulator decodes what it builds, and where our driver sends the same command, the bytes are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageDraw

from agent.devices.receipt_printer import frames_page as page
from simulators.devices.receipt_page import (
    Item,
    Paper,
    PaperCut,
    PrintedBarcode,
    PrintedLine,
    PrintedPicture,
    PrintedQr,
)
from simulators.devices.receipt_printer import Model, ReceiptPrinterCore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports use what Python 3.12 will drop
    from escpos.constants import QR_ECLEVEL_M  # type: ignore[import-untyped]  # it ships no types
    from escpos.printer import Dummy  # type: ignore[import-untyped]  # the same

COLUMNS = 48


@pytest.fixture
def printer() -> Iterator[Any]:  # Any: the library ships no types
    made = Dummy()
    yield made
    made.close()


def decoded(data: bytes) -> list[Item]:
    """What our simulator's paper makes of it; everything has to be known."""
    paper = Paper(COLUMNS, "gb18030")
    found = []
    while data:
        step = paper.take(data)
        assert step is not None, f"ends within a command: {data[:8].hex()}"
        if step.item is not None:
            found.append(step.item)
        data = data[step.consumed :]
    assert paper.unknown == []
    assert paper.wrapped == 0
    return found


def printed(data: bytes) -> ReceiptPrinterCore:
    """The same through a whole simulated printer, whatever time it takes."""
    core = ReceiptPrinterCore(Model(columns=COLUMNS))
    now_s = 0.0
    core.receive(data, now_s)
    while core.buffered:
        now_s += 1.0
        core.tick(now_s)
    core.tick(now_s + 10.0)
    return core


def test_a_receipt_of_the_library_is_read_line_by_line(printer: Any) -> None:  # noqa: ANN401 - see above
    printer.hw("INIT")
    printer.set(align="center", bold=True)
    printer.textln("RECEIPT")
    printer.set(align="left", bold=False)
    printer._raw(page.CHINESE_ON)
    printer._raw("门诊收费票据\n".encode("gb18030"))
    printer._raw(page.CHINESE_OFF)
    printer.textln("Total                         12.34")
    printer.qr("https://hospital.test/r/42", native=True, size=4)
    printer.barcode("{BA0001234", "CODE128", function_type="B", height=80, align_ct=False)
    printer.cut(mode="FULL")
    assert decoded(printer.output) == [
        PrintedLine("RECEIPT", bold=True, centered=True),
        PrintedLine("门诊收费票据"),
        PrintedLine("Total                         12.34"),
        PrintedQr(b"https://hospital.test/r/42", 4),
        PrintedBarcode("A0001234", 80),
        PaperCut(0),
    ]


def test_its_cuts_and_kicks_are_counted_by_the_simulated_printer(printer: Any) -> None:  # noqa: ANN401 - see above
    printer.textln("one")
    printer.cut(mode="PART")
    printer.cashdraw(2)
    printer.textln("two")
    printer.cut(mode="FULL")
    core = printed(printer.output)
    lines = [[item.text for item in receipt if isinstance(item, PrintedLine)] for receipt in core.receipts]
    assert lines == [["one"], ["two"]]
    assert core.drawer_kicks == 1


def picture() -> Image.Image:
    made = Image.new("1", (64, 24), 1)
    ImageDraw.Draw(made).ellipse((4, 4, 40, 20), fill=0)
    return made


def test_its_picture_comes_out_dot_by_dot(printer: Any) -> None:  # noqa: ANN401 - see above
    printer.image(picture(), impl="bitImageRaster")
    (item,) = decoded(printer.output)
    assert isinstance(item, PrintedPicture)
    black = picture().histogram()[0]
    assert (item.width_bytes, item.height_dots, item.black_dots) == (8, 24, black)


def test_where_both_send_the_same_command_the_bytes_are_the_same(printer: Any) -> None:  # noqa: ANN401 - see above
    def sent(work: str, *args: object, **kwargs: object) -> bytes:
        printer.clear()
        getattr(printer, work)(*args, **kwargs)
        output: bytes = printer.output
        return output

    assert sent("hw", "INIT") == page.INITIALIZE
    assert sent("set", bold=True) == page.BOLD_ON
    assert sent("set", bold=False) == page.BOLD_OFF
    assert sent("set", align="center") == page.CENTER
    assert sent("set", align="left") == page.LEFT
    assert sent("print_and_feed", 3) == page.encode_feed(3)
    assert sent("cut", mode="PART", feed=False) == page.encode_cut(page.Cut.PARTIAL)
    content = "https://hospital.test/r/42"
    assert sent("qr", content, native=True, size=5, ec=QR_ECLEVEL_M) == page.encode_qr(content.encode(), 5)
    raster = sent("image", picture(), impl="bitImageRaster")
    rows = bytes(byte ^ 0xFF for byte in picture().tobytes())
    assert raster == page.encode_raster(8, rows)
    bars = sent("barcode", "{BA0001234", "CODE128", function_type="B", height=80, width=2, align_ct=False)
    assert bars == page.encode_barcode("A0001234", 80)


def test_why_it_does_not_build_for_us() -> None:
    """It writes GB18030 whatever the printer's font has: a name beyond it comes out as `?`, and nothing says so."""
    builder = Dummy()
    builder.textln("𠮷田")
    paper = Paper(COLUMNS, "gbk")
    data = page.CHINESE_ON + builder.output
    text = ""
    while data:
        step = paper.take(data)
        assert step is not None
        text += step.item.text if isinstance(step.item, PrintedLine) else ""
        data = data[step.consumed :]
    builder.close()
    assert "?" in text
