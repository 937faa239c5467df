"""What a driver costs beside bare bytes on the same simulated device.

The printer is simulated at the speed of a TM-T88VI on a real port of this machine; both sides end when it confirms the
receipt by its process id. The bare side sends bytes that are ready.
"""

from __future__ import annotations

from time import monotonic, process_time

from agent.devices.receipt_printer import frames_page as page
from agent.devices.receipt_printer.glyphs import Glyphs
from agent.devices.receipt_printer.layout import PageFormat, Printout, compose, lay_out, needs_picture, yuan
from agent.devices.receipt_printer.types import (
    Align,
    Column,
    Element,
    Pair,
    PrintState,
    QrCode,
    ReceiptJob,
    Rule,
    Table,
    Text,
)
from bench.harness import Better, Goal, Row, interleave, load_note, row
from simulators.devices.receipt_printer import Model, ReceiptPrinterCore
from support.receipt_rig import EPSON_ANSWERS, Transport, load_profile, plugged, printing

COLUMNS = 42
DOTS_PER_S = 300 * 7.08
LINES = 60
LAPS = 7
COMPOSED = 200
TIMEOUT_S = 30.0
_MARK = b"BARE"


def receipt() -> tuple[Element, ...]:
    """A receipt of 60 lines and a QR code."""
    columns = (Column(), Column(4, Align.RIGHT), Column(10, Align.RIGHT))
    items = tuple((f"示例药品 {number} 0.25g", "2", yuan(1_230 + number)) for number in range(LINES - 6))
    return (
        Text("示例医院门诊收费票据", Align.CENTER, bold=True),
        Pair("姓名", "张三"),
        Pair("就诊卡号", "A0001234"),
        Rule(),
        Table(columns, items),
        Rule(),
        Pair("合计", yuan(123_456), bold=True),
        QrCode("https://hospital.test/r/42"),
    )


def _composed() -> Printout:
    form = PageFormat(columns=COLUMNS)
    lines = lay_out(receipt(), COLUMNS)
    assert not needs_picture(lines, form.charset)
    return compose(lines, form, Glyphs())


async def devices() -> list[Row]:
    """Seconds per receipt, and the processor time of laying one out."""
    model = Model(columns=COLUMNS, dots_per_s=DOTS_PER_S, information=EPSON_ANSWERS)
    async with (
        printing(load_profile("epson-tm-t88vi"), model) as bench,
        plugged(ReceiptPrinterCore(model), Transport.TCP) as (link, _),
    ):

        async def ours() -> float:
            started_s = monotonic()
            outcome = await bench.driver.print_receipt(ReceiptJob("bench", receipt()))
            seconds = monotonic() - started_s
            assert outcome.state is PrintState.PRINTED
            return seconds

        data = _composed().data + page.encode_process_id(_MARK)

        async def bare() -> float:
            started_s = monotonic()
            await link.write(data, timeout_s=TIMEOUT_S)
            heard = b""
            while not heard.endswith(_MARK + b"\x00"):
                heard += await link.read(timeout_s=TIMEOUT_S)
            return monotonic() - started_s

        figures = await interleave({"ours": ours, "bare": bare, "layout": _layout_ms}, LAPS)
    note = f"{LINES} lines and a QR code at 300 mm/s, to the process id{load_note()}"
    return [
        row("devices.receipt_printed", "s", figures["ours"], figures["bare"], Goal(Better.LESS, 1.05), note),
        row(
            "devices.receipt_layout",
            "ms",
            figures["layout"],
            None,
            Goal(Better.LESS, 10.0, absolute=True),
            f"processor time from data to bytes, {LINES} lines{load_note()}",
        ),
    ]


async def _layout_ms() -> float:
    started_s = process_time()
    for _ in range(COMPOSED):
        _composed()
    return (process_time() - started_s) / COMPOSED * 1_000
