"""The simulated receipt printer against the same golden bytes as the agent's codec."""

from __future__ import annotations

import pytest

from simulators.devices.receipt_page import (
    PaperCut,
    PrintedBarcode,
    PrintedLine,
    PrintedPicture,
    PrintedQr,
)
from simulators.devices.receipt_printer import Family, Model, PrinterFault, ReceiptPrinterCore
from support.receipt_golden import rows

REQUESTS = {f"dle_eot_{number}": bytes((0x10, 0x04, number)) for number in (1, 2, 3, 4)} | {
    "full_status": b"\x10\x04\x14",
    "ejector_status": b"\x1d\x65\x06",
    "asb": b"\x1d\x61\x0f",
}
SENSORS = {
    "mechanical": "jam",
    "recoverable": "head_hot",
    "jammed": "presenter_jam",
}
# Asked on its own, each answer leaves out what another one says: the simulator sets one sensor at a time.
OFFLINE = {"dle_eot_1": "cover_open"}
FAST = Model(dots_per_s=1e9)
CUSTOM = Model(family=Family.CUSTOM, dots_per_s=1e9, take_after_s=5)


def core_with(words: frozenset[str], model: Model, asked: str) -> ReceiptPrinterCore:
    core = ReceiptPrinterCore(model)
    for word in words - {"offline"}:
        setattr(core.sensors, SENSORS.get(word, word), True)
    if "offline" in words and asked in OFFLINE:
        setattr(core.sensors, OFFLINE[asked], True)
    return core


@pytest.mark.parametrize(("asked", "data", "meant"), rows("status") + rows("custom"))
def test_golden_status(asked: str, data: bytes, meant: frozenset[str]) -> None:
    model = CUSTOM if asked in {"full_status", "ejector_status"} else FAST
    if asked == "dle_eot_4" and meant == {"paper_out"}:
        model = Model(has_near_end=False)
    core = core_with(meant, model, asked)
    if asked == "asb":
        core._asb = 0x0F
        assert core.tick(0.0) == data
    else:
        assert core.receive(REQUESTS[asked], 0.0) == data


def printed(data: bytes, model: Model = FAST) -> ReceiptPrinterCore:
    core = ReceiptPrinterCore(model)
    core.receive(data, 0.0)
    for second in range(1, 60):
        core.tick(float(second))
    return core


def test_golden_commands_reach_the_paper() -> None:
    golden = {name: data for name, data, _ in rows("commands")}
    core = printed(golden["qr"] + golden["barcode"] + golden["raster"] + golden["bold_on"] + b"A\n" + golden["cut"])
    assert core.receipts == [
        [
            PrintedQr(b"HTTP://EXAMPLE.TEST/R/42", 6),
            PrintedBarcode("R-20261123-42", 80),
            PrintedPicture(2, bytes.fromhex("800000800001")),
            PrintedLine("A", bold=True),
            PaperCut(0x42),
        ]
    ]
    assert core.paper.unknown == []


def test_a_process_id_comes_back_when_all_before_it_is_printed() -> None:
    golden = {name: data for name, data, _ in rows("commands")}
    core = ReceiptPrinterCore(Model(dots_per_s=30))
    assert core.receive(b"A\nB\n" + golden["process_id"], 0.0) == b""
    assert core.tick(1.5) == b""
    assert core.tick(2.5) == b"\x37\x22ABCD\x00"


def test_the_buffer_is_cleared_and_says_so() -> None:
    golden = {name: data for name, data, _ in rows("commands")}
    core = ReceiptPrinterCore(FAST)
    core.script(PrinterFault.PAPER_OUT)
    core.receive(b"A\nB\n", 0.0)
    assert core.receive(golden["clear_buffers"], 1.0) == b"\x37\x25\x00"
    core.repair()
    core.tick(2.0)
    assert core.page == []


def test_chinese_needs_its_mode_and_rare_characters_print_a_question_mark() -> None:
    encoded = "张䶮".encode("gb18030")
    (line,) = printed(b"\x1c&" + encoded + b"\n").page
    assert line == PrintedLine("张?")
    (line,) = printed(b"\x1c." + encoded + b"\n").page
    assert line == PrintedLine("????")
    (line,) = printed(b"\x1c&" + "𠮷".encode("gb18030") + b"\n").page
    assert isinstance(line, PrintedLine)
    assert "?" in line.text


def test_real_time_commands_within_a_picture_are_carried_out() -> None:
    core = ReceiptPrinterCore(FAST)
    assert core.receive(b"\x1dv0\x00\x03\x00\x01\x00\x10\x04\x01", 0.0) == b"\x12"
    assert core.page == [PrintedPicture(3, b"\x10\x04\x01")]
    core.receive(b"\x1dv0\x00\x05\x00\x01\x00\x10\x14\x01\x00\x01", 0.0)
    assert core.drawer_kicks == 1


def test_a_request_within_a_character_breaks_it() -> None:
    core = ReceiptPrinterCore(FAST)
    core.receive(b"\x1c&\xd5", 0.0)
    core.receive(b"\x10\x04\x01\xc5\n", 0.0)
    for second in range(1, 5):
        core.tick(float(second))
    (line,) = core.page
    assert isinstance(line, PrintedLine)
    assert "张" not in line.text


def test_asb_is_sent_at_once_and_on_every_change() -> None:
    core = ReceiptPrinterCore(FAST)
    assert core.receive(b"\x1da\x0f", 0.0) == b"\x10\x00\x00\x00"
    assert core.tick(0.1) == b""
    core.script(PrinterFault.COVER_OPEN)
    assert core.tick(0.2) == b"\x38\x00\x00\x00"
    core.repair()
    assert core.tick(0.3) == b"\x10\x00\x00\x00"


def test_xoff_at_high_water_and_xon_at_low_water() -> None:
    core = ReceiptPrinterCore(Model(speaks_xoff=True, buffer_bytes=100, dots_per_s=300))
    assert core.receive(b"A\n" * 50, 0.0) == b"\x13"
    out = b"".join(core.tick(tenth / 10) for tenth in range(1, 60))
    assert out == b"\x11"


@pytest.mark.parametrize("fault", [PrinterFault.PAPER_OUT, PrinterFault.JAM, PrinterFault.HALF_PAGE])
def test_a_fault_comes_at_its_line(fault: PrinterFault) -> None:
    core = ReceiptPrinterCore(FAST)
    core.script(fault, after=3)
    core.receive(b"A\n" * 10, 0.0)
    for second in range(1, 20):
        core.tick(float(second))
    assert core.printed == 3
    core.repair()
    core.tick(20.0)
    assert core.printed == (3 if fault is PrinterFault.HALF_PAGE else 10)


def test_a_presenter_shows_the_ticket_and_the_patient_takes_it() -> None:
    core = printed(b"A\n\x1dVA\x00", CUSTOM)
    core.receive(b"\x1de\x03\x80", 60.0)
    assert core.receive(b"\x10\x04\x14", 61.0) == bytes.fromhex("100f20000000")
    assert core.receive(b"\x10\x04\x14", 66.0) == bytes.fromhex("100f00000000")
    assert (core.taken, core.retracted) == (1, 0)


def test_a_ticket_that_is_left_can_be_drawn_back() -> None:
    core = printed(b"A\n\x1dVA\x00", CUSTOM)
    core.script(PrinterFault.NOT_TAKEN)
    core.receive(b"\x1de\x03\x80", 60.0)
    assert core.receive(b"\x10\x04\x14", 160.0) == bytes.fromhex("100f20000000")
    core.receive(b"\x1de\x02", 161.0)
    assert core.receive(b"\x1de\x06", 162.0) == b"\x00"
    assert (core.taken, core.retracted) == (0, 1)


def test_a_line_that_is_too_long_wraps_and_is_counted() -> None:
    core = printed(b"A" * 50 + b"\n")
    assert core.paper.wrapped == 1
