"""The driver on a simulated printer, over a real port and a real pty."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent.devices.receipt_printer.options import Options
from agent.devices.receipt_printer.types import (
    Align,
    Column,
    Evidence,
    Pair,
    PrintOutcome,
    PrintState,
    QrCode,
    ReceiptJob,
    Rule,
    Table,
    Text,
)
from agent.devices.types import DeviceFacts
from agent.errors import DeviceFault
from simulators.devices.receipt_page import PrintedLine, PrintedPicture, PrintedQr
from simulators.devices.receipt_printer import PrinterFault, ReceiptPrinterCore
from simulators.devices.transports import LinkFault, LinkFaults
from support.receipt_rig import CUSTOM, EPSON, QUICK, Bench, Transport, load_profile, printing
from support.waiting import wait_for
from wire.consumables import CONSUMABLE_USED
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile

LINES = 12
GENERIC = replace(EPSON, columns=48, charset="gb2312", knows_process_id=False, has_near_end=False)


def epson(**changes: Scalar) -> DeviceProfile:
    return load_profile("epson-tm-t88vi", **{**QUICK, **changes})


def custom(**changes: Scalar) -> DeviceProfile:
    return load_profile("custom-kpm150h", **{**QUICK, **changes})


def generic(**changes: Scalar) -> DeviceProfile:
    return load_profile("generic-escpos80", **{**QUICK, **changes})


def receipt(name: str = "张三", lines: int = LINES) -> ReceiptJob:
    items = tuple((f"示例药品 {number}", "2", "12.30") for number in range(lines))
    columns = (Column(), Column(4, Align.RIGHT), Column(10, Align.RIGHT))
    return ReceiptJob(
        "job-1",
        (
            Text("门诊收费票据", Align.CENTER, bold=True),
            Pair("姓名", name),
            Rule(),
            Table(columns, items),
            QrCode("r/42"),
        ),
    )


def texts(bench: Bench, number: int = -1) -> list[str]:
    return [item.text for item in bench.core.receipts[number] if isinstance(item, PrintedLine)]


def everything_printed(bench: Bench) -> list[object]:
    return [*bench.core.page, *(item for receipt in bench.core.receipts for item in receipt)]


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_receipt_is_printed_once_and_proven_by_its_process_id(transport: Transport) -> None:
    async with printing(epson(), EPSON, transport) as bench:
        assert bench.facts == DeviceFacts("TM-T88VI", "40.02 ESC/POS", "X2AB000001")
        outcome = await bench.driver.print_receipt(receipt())
        assert outcome == PrintOutcome(PrintState.PRINTED, Evidence.PROCESS_ID, was_sent=True)
        assert len(bench.core.receipts) == 1
        assert texts(bench)[1] == "姓名" + " " * 34 + "张三"
        assert PrintedQr(b"r/42", 6) in bench.core.receipts[0]
        assert bench.core.paper.unknown == []
        assert bench.core.paper.wrapped == 0


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_receipt_is_presented_and_taken(transport: Transport) -> None:
    async with printing(custom(), CUSTOM, transport) as bench:
        outcome = await bench.driver.print_receipt(receipt())
        assert outcome == PrintOutcome(PrintState.PRINTED, Evidence.PRESENTER, was_sent=True)
        assert bench.owner.values["media"] == "present"
        await wait_for(lambda: bench.owner.values["media"] == "notPresent")
        names = [name for name, _ in bench.owner.events]
        assert names == ["Printer.MediaPresentedEvent", CONSUMABLE_USED, "Printer.MediaTakenEvent"]
        (used,) = [fields for name, fields in bench.owner.events if name == CONSUMABLE_USED]
        assert int(used["paper"] or 0) > 10
        assert bench.core.taken == 1


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_printer_without_proof_counts_by_its_status_behind_the_data(transport: Transport) -> None:
    async with printing(generic(), GENERIC, transport) as bench:
        outcome = await bench.driver.print_receipt(receipt())
        assert outcome == PrintOutcome(PrintState.PRINTED, Evidence.STATUS, was_sent=True)
        assert len(bench.core.receipts) == 1


EVIL = "甲\x1bp\x00\x19\xfa乙\x1dV\x00丙\x10\x14\x01\x00\x01丁\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08戊\x1b@己"


@pytest.mark.parametrize("is_custom", [False, True])
async def test_text_of_other_systems_neither_cuts_nor_kicks(is_custom: bool) -> None:
    job = ReceiptJob("job-1", (Text(EVIL), Pair(EVIL, EVIL), Table((Column(),), ((EVIL,),)), QrCode(EVIL)))
    profile, model = (custom(), CUSTOM) if is_custom else (epson(), EPSON)
    async with printing(profile, model) as bench:
        outcome = await bench.driver.print_receipt(job)
        assert (outcome.state, len(bench.core.receipts), bench.core.drawer_kicks) == (PrintState.PRINTED, 1, 0)
        assert (bench.core.page, bench.core.paper.unknown) == ([], [])
        assert all(sign in "".join(texts(bench)) for sign in "甲乙丙丁戊己")


async def test_a_printer_without_a_fence_is_given_the_time_it_needs() -> None:
    async with printing(generic(fence=False), GENERIC) as bench:
        outcome = await bench.driver.print_receipt(receipt(lines=1))
        assert outcome.state is PrintState.PRINTED
        assert len(bench.core.receipts) == 1


async def test_rare_characters_are_drawn_and_nothing_prints_a_question_mark() -> None:
    async with printing(epson(), EPSON) as bench:
        assert (await bench.driver.print_receipt(receipt("𠮷䶮"))).state is PrintState.PRINTED
        (picture,) = [item for item in bench.core.receipts[0] if isinstance(item, PrintedPicture)]
        assert picture.black_dots > 200
        assert not any("?" in text for text in texts(bench))


BLOCKING = [
    (PrinterFault.PAPER_OUT, Fault.PAPER_OUT),
    (PrinterFault.COVER_OPEN, Fault.COVER_OPEN),
    (PrinterFault.UNRECOVERABLE, Fault.DEVICE_ERROR),
    (PrinterFault.JAM, Fault.DEVICE_ERROR),
]


@pytest.mark.parametrize(("scripted", "fault"), BLOCKING)
async def test_a_fault_before_a_receipt_sends_nothing(scripted: PrinterFault, fault: Fault) -> None:
    async with printing(epson(), EPSON) as bench:
        bench.core.script(scripted)
        outcome = await bench.driver.print_receipt(receipt())
        assert (outcome.state, outcome.fault, outcome.was_sent) == (PrintState.FAILED, fault, False)
        assert everything_printed(bench) == []
        assert fault in bench.owner.faults
        bench.core.repair()
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED
        await wait_for(lambda: fault not in bench.owner.faults)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize(("scripted", "fault"), [*BLOCKING, (PrinterFault.CUTTER, Fault.CUTTER_ERROR)])
async def test_a_fault_in_the_middle_fails_and_the_rest_never_prints(
    scripted: PrinterFault, fault: Fault, transport: Transport
) -> None:
    async with printing(epson(), EPSON, transport) as bench:
        bench.core.script(scripted, after=5)
        outcome = await bench.driver.print_receipt(receipt())
        assert (outcome.state, outcome.fault, outcome.was_sent) == (PrintState.FAILED, fault, True)
        printed = bench.core.printed
        bench.core.repair()
        assert (await bench.driver.print_receipt(ReceiptJob("job-2", (Text("下一位"),)))).state is PrintState.PRINTED
        assert bench.core.printed == printed + 1
        assert [len(piece) for piece in bench.core.receipts] == [printed + 1, 2]


async def test_half_a_page_and_then_silence_is_unknown_and_ends_the_driver() -> None:
    async with printing(epson(), EPSON) as bench:
        bench.core.script(PrinterFault.HALF_PAGE, after=5)
        outcome = await bench.driver.print_receipt(receipt())
        assert (outcome.state, outcome.fault, outcome.was_sent) == (PrintState.UNKNOWN, Fault.PRINT_UNKNOWN, True)
        await wait_for(bench.running.done)
        assert len(bench.core.page) == 5


async def test_a_printer_that_falls_silent_but_prints_is_unknown_and_gets_nothing_twice() -> None:
    async with printing(epson(), EPSON) as bench:
        bench.core.script(PrinterFault.SILENT, after=5)
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.UNKNOWN
        await wait_for(lambda: len(bench.core.receipts) == 1)


async def test_an_ignored_process_id_is_unknown() -> None:
    async with printing(epson(patience_s=0.3), replace(EPSON, dots_per_s=1e6)) as bench:
        bench.core.script(PrinterFault.NO_PROCESS_ID)
        outcome = await bench.driver.print_receipt(ReceiptJob("job-1", (Text("一"),)))
        assert (outcome.state, outcome.detail) == (PrintState.UNKNOWN, "no confirmation in time")
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_cable_that_is_pulled_in_the_middle_is_unknown(transport: Transport) -> None:
    async with printing(epson(), replace(EPSON, dots_per_s=400), transport) as bench:
        waiting = asyncio.ensure_future(bench.driver.print_receipt(receipt()))  # noqa: TID251 - the test owns it
        await wait_for(lambda: bench.core.printed >= 2)
        bench.unplug()
        outcome = await waiting
        assert (outcome.state, outcome.was_sent) == (PrintState.UNKNOWN, True)
        await wait_for(bench.running.done)


async def test_a_hot_head_only_takes_longer() -> None:
    async with printing(epson(), replace(EPSON, cool_s=0.3)) as bench:
        bench.core.script(PrinterFault.HEAD_HOT, after=5)
        waiting = asyncio.ensure_future(bench.driver.print_receipt(receipt()))  # noqa: TID251 - the test owns it
        await wait_for(lambda: Fault.HEAD_HOT in bench.owner.faults)
        assert (await waiting).state is PrintState.PRINTED


async def test_a_slow_printer_is_waited_for() -> None:
    async with printing(epson(), replace(EPSON, dots_per_s=5_000)) as bench:
        bench.core.script(PrinterFault.SLOW)
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED


async def test_sending_pauses_while_the_printer_says_xoff() -> None:
    model = replace(GENERIC, speaks_xoff=True, buffer_bytes=512, dots_per_s=2_000)
    async with printing(generic(chunk_bytes=64), model, Transport.PTY) as bench:
        waiting = asyncio.ensure_future(bench.driver.print_receipt(receipt(lines=40)))  # noqa: TID251 - the test owns it
        most = 0

        def is_done() -> bool:
            nonlocal most
            most = max(most, bench.core.buffered)
            return waiting.done()

        await wait_for(is_done)
        assert (await waiting).state is PrintState.PRINTED
        assert len(texts(bench)) == 43
        assert 256 < most < 768


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_storm_of_xoff_and_xon_loses_nothing(transport: Transport) -> None:
    async with printing(epson(chunk_bytes=64), replace(EPSON, speaks_xoff=True, buffer_bytes=512), transport) as bench:
        bench.core.script(PrinterFault.XOFF_STORM)
        assert (await bench.driver.print_receipt(receipt(lines=40))).state is PrintState.PRINTED
        assert len(texts(bench)) == 43


async def test_paper_out_during_xoff_is_a_fault_and_no_timeout() -> None:
    model = replace(EPSON, speaks_xoff=True, buffer_bytes=256)
    async with printing(epson(chunk_bytes=64, asb=False), model) as bench:
        bench.core.script(PrinterFault.PAPER_OUT, after=5)
        outcome = await bench.driver.print_receipt(receipt(lines=60))
        assert (outcome.state, outcome.fault) == (PrintState.FAILED, Fault.PAPER_OUT)


async def test_asb_tells_of_an_open_cover_without_a_poll() -> None:
    async with printing(epson(poll_s=50), EPSON) as bench:
        bench.core.script(PrinterFault.COVER_OPEN)
        await wait_for(lambda: Fault.COVER_OPEN in bench.owner.faults)
        assert bench.owner.values["cover"] == "open"


async def test_low_paper_is_told_where_there_is_a_sensor() -> None:
    async with printing(epson(), EPSON) as bench:
        assert bench.owner.values["paper"] == "full"
        bench.core.script(PrinterFault.PAPER_LOW)
        await wait_for(lambda: Fault.PAPER_LOW in bench.owner.faults)
        assert bench.owner.values["paper"] == "low"
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED


async def test_without_a_near_end_sensor_paper_is_unknown_and_never_full() -> None:
    async with printing(generic(), GENERIC) as bench:
        assert bench.owner.values["paper"] == "unknown"
        bench.core.script(PrinterFault.PAPER_OUT)
        await wait_for(lambda: bench.owner.values["paper"] == "out")


async def test_a_ticket_that_is_left_is_drawn_back() -> None:
    async with printing(custom(), CUSTOM) as bench:
        bench.core.script(PrinterFault.NOT_TAKEN)
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED
        bench.clock.advance(29)
        busy = await bench.driver.print_receipt(receipt())
        assert (busy.fault, busy.was_sent) == (Fault.DEVICE_BUSY, False)
        assert bench.core.retracted == 0
        bench.clock.advance(2)
        await wait_for(lambda: bench.core.retracted == 1)
        await wait_for(lambda: bench.owner.values["media"] == "retracted")
        assert Fault.MEDIA_NOT_TAKEN in bench.owner.faults
        assert ("Printer.MediaAutoRetractedEvent", {"retracted": 1}) in bench.owner.events
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED
        assert Fault.MEDIA_NOT_TAKEN not in bench.owner.faults


async def test_a_full_retract_bin_is_a_fault_and_takes_no_more() -> None:
    async with printing(custom(retract_bin_capacity=1), CUSTOM) as bench:
        bench.core.script(PrinterFault.NOT_TAKEN, times=2)
        for _ in range(2):
            assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED
            bench.clock.advance(31)
            await wait_for(lambda: Fault.MEDIA_NOT_TAKEN in bench.owner.faults)
        assert bench.core.retracted == 1
        assert Fault.RETRACT_BIN_FULL in bench.owner.faults
        bench.core.take()
        await wait_for(lambda: Fault.MEDIA_NOT_TAKEN not in bench.owner.faults)


async def test_a_jam_in_the_presenter_is_a_jam() -> None:
    async with printing(custom(patience_s=0.3), replace(CUSTOM, dots_per_s=1e6)) as bench:
        bench.core.script(PrinterFault.PRESENTER_JAM)
        outcome = await bench.driver.print_receipt(ReceiptJob("job-1", (Text("一"),)))
        assert (outcome.state, outcome.fault) == (PrintState.FAILED, Fault.PAPER_JAM)
        assert bench.owner.values["paper"] == "jammed"


async def test_another_model_is_refused() -> None:
    model = replace(EPSON, information={67: b"_TM-T20\x00", 65: b"_1\x00", 68: b"_2\x00"})
    with pytest.raises(DeviceFault) as failed:
        async with printing(epson(), model):
            pass
    assert failed.value.fault is Fault.WRONG_DEVICE


async def test_a_mute_printer_does_not_start() -> None:
    model = replace(EPSON, information={})
    with pytest.raises(DeviceFault) as failed:
        async with printing(epson(), model):
            pass
    assert failed.value.fault is Fault.NOT_RESPONDING


async def test_a_name_shows_in_no_outcome_and_no_repr() -> None:
    job = receipt("欧阳示例")
    async with printing(epson(), EPSON) as bench:
        outcome = await bench.driver.print_receipt(job)
        assert "欧阳" not in repr(outcome) + repr(job) + repr(bench.owner.events) + repr(bench.owner.statuses)


def test_an_unknown_key_in_a_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        Options.of(epson(colour="red"))


async def test_a_job_that_is_cancelled_leaves_nothing_for_the_next_patient() -> None:
    async with printing(epson(), replace(EPSON, dots_per_s=1_000)) as bench:
        waiting = asyncio.ensure_future(bench.driver.print_receipt(receipt()))  # noqa: TID251 - the test owns it
        await wait_for(lambda: bench.core.printed >= 2)
        waiting.cancel()
        await asyncio.wait((waiting,))
        printed = bench.core.printed
        assert (await bench.driver.print_receipt(ReceiptJob("job-2", (Text("下一位"),)))).state is PrintState.PRINTED
        assert bench.core.printed <= printed + 2
        assert texts(bench)[-1] == "下一位"


async def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    async with printing(epson(asb=False, poll_s=50), EPSON) as bench:
        real, held = bench.core.receive, list[bytes]()

        def hold_back(data: bytes, now_s: float) -> bytes:
            out = real(data, now_s)
            if data.startswith(b"\x10\x04\x01") and not held:
                held.append(out)
                return b""
            if data.startswith(b"\x10\x04\x01") and len(held) == 1:
                held.append(out)
                return b"\x1a" + out
            return out

        bench.core.receive = hold_back  # type: ignore[method-assign] # a printer that answers late, once
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED
        assert bench.owner.faults == set()


async def test_noise_does_not_start() -> None:
    async with printing(epson(), EPSON, is_running=False) as bench:
        bench.core.receive = lambda *_: b"\x80" * 3_000  # type: ignore[method-assign] # another device
        outcome = await bench.driver.print_receipt(receipt())
        assert (outcome.fault, outcome.was_sent) == (Fault.PROTOCOL_ERROR, False)


WHOLE = [(LinkFault.DRIBBLE, 1.0), (LinkFault.SPLIT, 2.0), (LinkFault.DELAY, 0.02)]
BROKEN = [
    (LinkFault.DROP, 1.0),
    (LinkFault.TRUNCATE, 0.0),
    (LinkFault.CORRUPT, 1.0),
    (LinkFault.NOISE, 3.0),
    (LinkFault.SILENCE, 1.0),
    (LinkFault.DELAY, 0.5),
]


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize(("fault", "value"), WHOLE)
async def test_answers_may_come_in_pieces_and_late(fault: LinkFault, value: float, transport: Transport) -> None:
    faults = LinkFaults()
    faults.script(fault, value=value, times=1_000)
    async with printing(epson(), EPSON, transport, faults=faults) as bench:
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED
        assert bench.owner.faults == set()


@pytest.mark.parametrize("after", [0, 3, 5, 6])
@pytest.mark.parametrize(("fault", "value"), BROKEN)
async def test_a_bad_answer_never_makes_a_receipt_printed_that_is_not(
    fault: LinkFault, value: float, after: int
) -> None:
    faults = LinkFaults(seed=after)
    async with printing(epson(asb=False, poll_s=50, patience_s=0.3, answer_s=0.1), EPSON, faults=faults) as bench:
        faults.script(fault, value=value, after=after)
        outcome = await bench.driver.print_receipt(receipt())
        is_whole = len(bench.core.receipts) == 1 and len(texts(bench)) == LINES + 3
        assert is_whole or outcome.state is not PrintState.PRINTED
        assert outcome.was_sent or bench.core.printed == 0
        assert outcome.state in {PrintState.PRINTED, PrintState.UNKNOWN} or not is_whole
        assert len(bench.core.receipts) <= 1


async def test_a_printer_without_paper_starts_and_says_so() -> None:
    core = ReceiptPrinterCore(EPSON)
    core.script(PrinterFault.PAPER_OUT)
    async with printing(epson(), core) as bench:
        assert bench.facts == DeviceFacts()
        assert Fault.PAPER_OUT in bench.owner.faults
        bench.core.repair()
        await wait_for(lambda: bench.owner.faults == set())
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED


async def test_a_ticket_can_be_drawn_back_on_request() -> None:
    async with printing(custom(), CUSTOM) as bench:
        bench.core.script(PrinterFault.NOT_TAKEN)
        await bench.driver.print_receipt(receipt())
        assert await bench.driver.retract()
        assert bench.core.retracted == 1
        assert await bench.driver.retract()
        assert bench.core.retracted == 1


async def test_a_ticket_that_does_not_move_is_a_jam() -> None:
    async with printing(custom(retract_s=0.2, ejector_status=False), CUSTOM) as bench:
        bench.core.script(PrinterFault.NOT_TAKEN)
        await bench.driver.print_receipt(receipt())
        bench.core.sensors.presenter_jam = True
        with pytest.raises(DeviceFault, match=Fault.PAPER_JAM):
            await bench.driver.retract()
        assert bench.owner.values["media"] == "jammed"
        bench.core.repair()
        bench.core.take()
        await wait_for(lambda: bench.owner.values["media"] == "notPresent")


async def test_a_printer_that_cannot_retract_leaves_the_ticket_and_says_so() -> None:
    async with printing(custom(retract=False), CUSTOM) as bench:
        bench.core.script(PrinterFault.NOT_TAKEN)
        await bench.driver.print_receipt(receipt())
        with pytest.raises(DeviceFault, match="cannot retract"):
            await bench.driver.retract()
        bench.clock.advance(31)
        await wait_for(lambda: Fault.MEDIA_NOT_TAKEN in bench.owner.faults)
        assert bench.core.retracted == 0


async def test_stopping_ends_what_comes_unasked_and_may_come_too_late() -> None:
    async with printing(epson(), EPSON) as bench:
        await wait_for(lambda: bench.core._asb == 0x0F)
        await bench.driver.stop()
        await wait_for(lambda: bench.core._asb == 0)
        bench.unplug()
        await wait_for(bench.running.done)
        await bench.driver.stop()


async def test_the_answer_behind_an_interrupted_receipt_is_not_taken_for_the_next_ones() -> None:
    async with printing(generic(), replace(GENERIC, dots_per_s=4_000)) as bench:
        bench.core.script(PrinterFault.PAPER_OUT, after=5)
        assert (await bench.driver.print_receipt(receipt())).fault is Fault.PAPER_OUT
        bench.core.repair()
        bench.core.script(PrinterFault.HALF_PAGE, after=LINES + 4 - 5 + 2)  # two lines of the next one
        outcome = await bench.driver.print_receipt(receipt())
        assert (outcome.state, outcome.was_sent) == (PrintState.UNKNOWN, True)


async def test_the_ticket_of_an_interrupted_receipt_is_not_taken_for_the_next_ones() -> None:
    async with printing(custom(poll_s=50), replace(CUSTOM, dots_per_s=4_000, take_after_s=60)) as bench:
        bench.core.script(PrinterFault.PAPER_OUT, after=5)
        assert (await bench.driver.print_receipt(receipt())).fault is Fault.PAPER_OUT
        bench.core.repair()
        outcome = await bench.driver.print_receipt(receipt())
        assert (outcome.fault, outcome.was_sent) == (Fault.DEVICE_BUSY, False)
        bench.core.take()
        assert (await bench.driver.print_receipt(receipt())).state is PrintState.PRINTED
