"""Who comes in and when, what tests find and tell, and what is signed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from agent.devices.card_reader.types import BankCard
from agent.devices.id_card_reader.types import DocumentType, IdDocument, Sex
from agent.devices.machine import DeviceState
from agent.devices.paper_sensor.types import InputRole
from agent.devices.pin_pad.types import BlockSpent, EncryptedBlock, PinEntry
from agent.devices.qr_scanner.types import OneUseCode, Scan
from agent.devices.receipt_printer.types import Evidence, PrintOutcome, PrintState, ReceiptJob
from agent.devices.report_printer.types import Evidence as ReportEvidence
from agent.devices.report_printer.types import PrintState as ReportState
from agent.devices.report_printer.types import ReportJob, ReportOutcome
from agent.devices.ups.types import PowerReport, PowerSource
from agent.errors import DeviceFault
from agent.links.base import LinkLost
from agent.maintenance.access import TRIES
from agent.maintenance.selftest import TESTS, Outcome
from agent.maintenance.service import STATUS, MaintenanceRefused
from agent.maintenance.visit import IDLE_S, LONGEST_S, digest
from agent.maintenance.wizard import Event, Step
from support.maintenance import Bench
from wire.faults import Fault
from wire.presence import Activity
from wire.profile import Capability

C = Capability
PERSON = IdDocument(
    type=DocumentType.RESIDENT,
    name="赵样例",
    number="110101199001011237",
    number_is_valid=True,
    sex=Sex.FEMALE,
    born=date(1990, 1, 1),
    valid_from=None,
    valid_to=None,
)


def gives(**operations: Any) -> SimpleNamespace:  # noqa: ANN401 - results of operations
    """A driver whose operations give these."""

    def operation(result: Any) -> Any:  # noqa: ANN401 - the same
        async def work(*_: object, **__: object) -> Any:  # noqa: ANN401 - the same
            return result

        return work

    return SimpleNamespace(**{name: operation(result) for name, result in operations.items()})


def receipt(state: PrintState = PrintState.PRINTED, fault: Fault | None = None) -> SimpleNamespace:
    return gives(print_receipt=PrintOutcome(state, Evidence.STATUS, was_sent=True, fault=fault))


# --- coming and going -------------------------------------------------------------------------------------------


async def test_an_engineer_comes_in_once_and_patients_wait(bench: Bench) -> None:
    assert not bench.maintenance.is_open
    code = await bench.code()
    visit = await bench.maintenance.open(code, "李工")
    assert bench.maintenance.is_open
    assert visit.pass_word not in repr(visit)
    with pytest.raises(MaintenanceRefused, match="maintenanceOpen"):
        await bench.maintenance.open(await bench.code(), "王工")
    _ = await bench.maintenance.close(visit.pass_word)
    assert not bench.maintenance.is_open
    assert bench.told == [True, False]
    assert [audit["outcome"] for audit in bench.reporter.of("maintenance_open")] == ["ok"]


@pytest.mark.parametrize("activity", [Activity.IN_SESSION, Activity.PAYING, Activity.UNKNOWN])
async def test_not_beside_a_patient_and_the_code_stays_good(bench: Bench, activity: Activity) -> None:
    code = await bench.code()
    bench.activity = activity
    with pytest.raises(MaintenanceRefused, match="sessionActive"):
        await bench.maintenance.open(code, "李工")
    bench.activity = Activity.IDLE
    _ = await bench.maintenance.open(code, "李工")


async def test_a_wrong_code_is_on_record(bench: Bench) -> None:
    for _ in range(3):
        with pytest.raises(MaintenanceRefused, match="wrongCode"):
            await bench.maintenance.open("00000000", "李工")
    assert bench.reporter.audits == []
    code = await bench.code()
    for _ in range(3 * TRIES):
        with pytest.raises(MaintenanceRefused, match="wrongCode"):
            await bench.maintenance.open(f"{(int(code) + 1) % 10**8:08}", "李工")
    assert not bench.maintenance.is_open
    assert [audit["outcome"] for audit in bench.reporter.of("maintenance_open")] == ["refused"] * TRIES


async def test_only_the_page_that_opened_it(bench: Bench) -> None:
    _ = await bench.enter()
    for work in (
        bench.maintenance.close("guess"),
        bench.maintenance.test("guess", "any", STATUS, bench.said.append),
        bench.maintenance.confirm("guess", 1, is_good=True),
        bench.maintenance.move_paper("guess", Event.NEXT, bench.said.append),
    ):
        with pytest.raises(MaintenanceRefused, match="notOpen"):
            await work


async def test_an_engineer_who_leaves_is_seen_off(bench: Bench) -> None:
    bench.devices.put("ups", C.UPS, gives())
    pass_word = await bench.enter()
    for _ in range(3):
        bench.clock.advance(IDLE_S - 1)
        _ = await bench.maintenance.test(pass_word, "ups", STATUS, bench.said.append)
    await bench.maintenance.look()
    assert bench.maintenance.is_open
    bench.clock.advance(IDLE_S)
    with pytest.raises(MaintenanceRefused, match="notOpen"):
        _ = await bench.maintenance.test(pass_word, "ups", STATUS, bench.said.append)
    await bench.maintenance.look()
    assert not bench.maintenance.is_open
    assert bench.reporter.of("maintenance_close")[0]["fields"]["results"] == 3


async def test_nobody_stays_for_ever(bench: Bench) -> None:
    bench.devices.put("ups", C.UPS, gives())
    pass_word = await bench.enter()
    began_s = bench.clock.monotonic()
    while bench.clock.monotonic() - began_s < LONGEST_S - IDLE_S / 2:
        bench.clock.advance(IDLE_S / 2)
        _ = await bench.maintenance.test(pass_word, "ups", STATUS, bench.said.append)
    bench.clock.advance(IDLE_S / 2)
    with pytest.raises(MaintenanceRefused, match="notOpen"):
        await bench.maintenance.test(pass_word, "ups", STATUS, bench.said.append)


# --- tests ------------------------------------------------------------------------------------------------------


async def test_a_read_document_leaves_nothing_of_the_person(bench: Bench) -> None:
    bench.devices.put("id_reader", C.ID_CARD_READER, gives(read_document=PERSON))
    pass_word = await bench.enter()
    result = await bench.maintenance.test(pass_word, "id_reader", "read_document", bench.said.append)
    assert result.finding.outcome is Outcome.PASSED
    assert result.finding.values == {"type": "resident", "number_is_valid": True, "has_photo": False}
    assert bench.said == ["show_id_card"]
    told = repr(bench.reporter.audits) + repr(result)
    assert not any(word in told for word in (PERSON.name, PERSON.number, "1990"))


async def test_cards_and_codes(bench: Bench) -> None:
    code = OneUseCode("SYNTHETIC-1234", bench.clock, b"salt")
    bench.devices.put("card_reader", C.CARD_READER, gives(read_card=BankCard("622202******1234", "3012")))
    bench.devices.put("scanner", C.QR_SCANNER, gives(read_code=Scan(code, (), "qr")))
    pass_word = await bench.enter()
    card = await bench.maintenance.test(pass_word, "card_reader", "read_card", bench.said.append)
    scan = await bench.maintenance.test(pass_word, "scanner", "scan", bench.said.append)
    again = await bench.maintenance.test(pass_word, "scanner", "scan", bench.said.append)
    assert card.finding.values == {"type": "bank"}
    assert scan.finding.values == {"characters": 14, "symbology": "qr"}
    assert (again.finding.outcome, again.finding.why) == (Outcome.FAILED, "code_spent")
    assert "622202" not in repr(bench.reporter.audits)


async def test_a_pin_pads_block_is_gone_at_once(bench: Bench) -> None:
    block = EncryptedBlock(bytes(range(8)), "key")
    bench.devices.put("pin_pad", C.PIN_PAD, gives(enter=PinEntry(block, 6)))
    pass_word = await bench.enter()
    result = await bench.maintenance.test(pass_word, "pin_pad", "keys", bench.said.append)
    assert (result.finding.outcome, result.finding.values) == (Outcome.PASSED, {})
    with pytest.raises(BlockSpent), block.use():
        pass


@pytest.mark.parametrize(
    ("kind", "name", "driver"),
    [
        (C.ID_CARD_READER, "read_document", gives(read_document=None)),
        (C.CARD_READER, "read_card", gives(read_card=None)),
        (C.QR_SCANNER, "scan", gives(read_code=None)),
        (C.PIN_PAD, "keys", gives(enter=None)),
        (C.RECEIPT_PRINTER, "print_receipt", receipt(PrintState.FAILED, Fault.PAPER_OUT)),
        (C.UPS, "power", SimpleNamespace(power=PowerReport(PowerSource.BATTERY))),
        (C.PAPER_SENSOR, "inputs", SimpleNamespace(levels={InputRole.DOOR_OPEN: None})),
    ],
)
async def test_what_did_not_work_has_failed(bench: Bench, kind: Capability, name: str, driver: object) -> None:
    bench.devices.put("it", kind, driver)
    pass_word = await bench.enter()
    result = await bench.maintenance.test(pass_word, "it", name, bench.said.append)
    assert result.finding.outcome is Outcome.FAILED
    assert result.finding.why
    assert bench.reporter.of("maintenance_test")[0]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (DeviceFault(Fault.SAM_FAILED), Fault.SAM_FAILED),
        (LinkLost("gone"), Fault.UNPLUGGED),
        (TimeoutError(), Fault.NOT_RESPONDING),
    ],
)
async def test_what_broke_is_named(bench: Bench, error: Exception, fault: Fault) -> None:
    async def read_document(**_: object) -> None:
        raise error

    bench.devices.put("id_reader", C.ID_CARD_READER, SimpleNamespace(read_document=read_document))
    pass_word = await bench.enter()
    result = await bench.maintenance.test(pass_word, "id_reader", "read_document", bench.said.append)
    assert (result.finding.outcome, result.finding.fault) == (Outcome.FAILED, fault)


async def test_how_a_device_says_it_is(bench: Bench) -> None:
    bench.devices.put("scanner", C.QR_SCANNER, gives())
    pass_word = await bench.enter()

    async def outcome() -> tuple[Outcome, Fault | None]:
        found = (await bench.maintenance.test(pass_word, "scanner", STATUS, bench.said.append)).finding
        return found.outcome, found.fault

    assert await outcome() == (Outcome.PASSED, None)
    bench.devices.become("scanner", faults={Fault.PAPER_LOW: ""})
    assert await outcome() == (Outcome.PASSED, None)
    bench.devices.become("scanner", faults={Fault.DEVICE_ERROR: ""})
    assert await outcome() == (Outcome.FAILED, Fault.DEVICE_ERROR)
    bench.devices.become("scanner", state=DeviceState.ABSENT)
    assert (await outcome())[0] is Outcome.FAILED


async def test_one_thing_at_a_time(bench: Bench) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def read_document(**_: object) -> None:
        begun.set()
        await gate.wait()

    bench.devices.put("id_reader", C.ID_CARD_READER, SimpleNamespace(read_document=read_document))
    bench.devices.put("ups", C.UPS, gives())
    pass_word = await bench.enter()
    async with asyncio.TaskGroup() as group:
        test = bench.maintenance.test(pass_word, "id_reader", "read_document", bench.said.append)
        _ = group.create_task(test)
        await begun.wait()
        bench.clock.advance(IDLE_S + 1)
        await bench.maintenance.look()
        for work in (
            bench.maintenance.test(pass_word, "ups", STATUS, bench.said.append),
            bench.maintenance.close(pass_word),
        ):
            with pytest.raises(MaintenanceRefused, match="busy"):
                await work
        gate.set()
    _ = await bench.maintenance.test(pass_word, "ups", STATUS, bench.said.append)


@pytest.mark.parametrize(
    ("component", "name", "code"), [("nowhere", STATUS, "noSuchComponent"), ("ups", "scan", "noSuchTest")]
)
async def test_what_there_is_not(bench: Bench, component: str, name: str, code: str) -> None:
    bench.devices.put("ups", C.UPS, gives())
    pass_word = await bench.enter()
    with pytest.raises(MaintenanceRefused, match=code):
        await bench.maintenance.test(pass_word, component, name, bench.said.append)


def test_every_kind_of_device_can_be_tried() -> None:
    assert set(TESTS) >= set(Capability) - {C.HOST}


# --- what only a person can see -----------------------------------------------------------------------------------


async def test_a_print_is_judged_by_the_engineer(bench: Bench) -> None:
    jobs: list[ReceiptJob] = []
    printer = receipt()

    async def print_receipt(job: ReceiptJob) -> PrintOutcome:
        jobs.append(job)
        return PrintOutcome(PrintState.UNKNOWN, Evidence.NONE, was_sent=True)

    printer.print_receipt = print_receipt
    bench.devices.put("receipt_printer", C.RECEIPT_PRINTER, printer)
    pass_word = await bench.enter()
    asked = await bench.maintenance.test(pass_word, "receipt_printer", "print_receipt", bench.said.append)
    assert asked.finding.outcome is Outcome.ASKED
    assert bench.said == ["printing", "look_at_paper"]
    assert "测试" in repr([getattr(one, "text", "") for one in jobs[0].elements])
    assert bench.reporter.of("maintenance_test") == []
    seen = await bench.maintenance.confirm(pass_word, asked.no, is_good=False)
    assert (seen.finding.outcome, seen.finding.why) == (Outcome.FAILED, "engineer_saw")
    assert bench.reporter.of("maintenance_test")[0]["fields"]["outcome"] == "failed"
    with pytest.raises(MaintenanceRefused, match="noSuchResult"):
        await bench.maintenance.confirm(pass_word, asked.no, is_good=True)


async def test_a_report_printer_prints_the_page(bench: Bench) -> None:
    jobs: list[ReportJob] = []

    async def print_report(job: ReportJob) -> ReportOutcome:
        jobs.append(job)
        return ReportOutcome(ReportState.PRINTED, ReportEvidence.PAGES, was_sent=True, pages=1, impressions=1)

    bench.devices.put("report_printer", C.REPORT_PRINTER, SimpleNamespace(print_report=print_report))
    pass_word = await bench.enter()
    asked = await bench.maintenance.test(pass_word, "report_printer", "print_page", bench.said.append)
    assert asked.finding.values == {"state": "printed", "evidence": "pages", "impressions": 1}
    assert jobs[0].pdf.startswith(b"%PDF-")


async def test_lights_shine_until_they_were_seen(bench: Bench) -> None:
    lights: dict[str, str] = {}

    async def set_light(place: str, mode: str) -> None:
        lights[place] = str(mode)

    bench.devices.put(
        "io_board", C.PAPER_SENSOR, SimpleNamespace(set_light=set_light, places=("id_reader", "receipt_printer"))
    )
    pass_word = await bench.enter()
    asked = await bench.maintenance.test(pass_word, "io_board", "lights", bench.said.append)
    assert lights == {"id_reader": "blink", "receipt_printer": "blink"}
    seen = await bench.maintenance.confirm(pass_word, asked.no, is_good=True)
    assert seen.finding.outcome is Outcome.PASSED
    assert set(lights.values()) == {"off"}


# --- the end ------------------------------------------------------------------------------------------------------


def rebuilt(bench: Bench, closing: Mapping[str, Any]) -> str:
    """The digest as somebody makes it who has the records only."""
    results = sorted((audit["fields"] for audit in bench.reporter.of("maintenance_test")), key=lambda one: one["no"])
    fields = closing["fields"]
    statement = {name: fields[name] for name in ("kiosk", "visit", "opened_at", "closed_at")}
    return digest({**statement, "engineer": closing["actor"], "results": results})


async def test_the_statement_is_made_of_the_records_and_signed(bench: Bench) -> None:
    bench.devices.put("ups", C.UPS, SimpleNamespace(power=PowerReport(PowerSource.MAINS, charge_percent=97)))
    bench.devices.put("receipt_printer", C.RECEIPT_PRINTER, receipt())
    pass_word = await bench.enter()
    asked = await bench.maintenance.test(pass_word, "receipt_printer", "print_receipt", bench.said.append)
    _ = await bench.maintenance.test(pass_word, "receipt_printer", "print_receipt", bench.said.append)
    _ = await bench.maintenance.test(pass_word, "ups", "power", bench.said.append)
    _ = await bench.maintenance.confirm(pass_word, asked.no, is_good=True)
    closing = await bench.maintenance.close(pass_word)
    assert (closing.results, closing.passed, closing.failed, closing.is_signed) == (3, 2, 1, True)
    record = bench.reporter.of("maintenance_close")[0]
    assert bench.signer.signed == [closing.digest] == [rebuilt(bench, record)]
    assert record["fields"]["signature"] == "c2ln"
    assert [one["fields"].get("why") for one in bench.reporter.of("maintenance_test")] == [None, None, "not_answered"]
    assert all(len(one["fields"]) <= 32 for one in bench.reporter.audits)


async def test_without_a_key_it_is_sent_all_the_same(bench: Bench) -> None:
    for attribute in ("is_broken", "has_identity"):
        setattr(bench.signer, attribute, attribute == "is_broken")
        pass_word = await bench.enter()
        assert not (await bench.maintenance.close(pass_word)).is_signed
        bench.signer.is_broken = False
    assert [one["fields"]["signature"] for one in bench.reporter.of("maintenance_close")] == [None, None]


# --- paper ----------------------------------------------------------------------------------------------------------


async def test_paper_is_changed_and_proven(bench: Bench) -> None:
    bench.devices.put("receipt_printer", C.RECEIPT_PRINTER, receipt())
    bench.devices.become("receipt_printer", values={"cover": "closed", "paper": "out"}, faults={Fault.PAPER_OUT: ""})
    pass_word, say = await bench.enter(), bench.said.append
    change = bench.maintenance.begin_paper(pass_word, "receipt_printer")
    assert (change.step, change.is_met) == (Step.OPEN, False)
    bench.devices.become("receipt_printer", values={"cover": "open"}, faults={Fault.COVER_OPEN: ""})
    assert bench.maintenance.paper(pass_word).is_met is True
    for expected in (Step.TAKE_OUT, Step.PUT_IN, Step.CLOSE):
        change = await bench.maintenance.move_paper(pass_word, Event.NEXT, say)
        assert change.step is expected
    change = await bench.maintenance.move_paper(pass_word, Event.NEXT, say)
    assert (change.step, change.why) == (Step.PUT_IN, "cover_open")
    change = await bench.maintenance.move_paper(pass_word, Event.NEXT, say)
    bench.devices.become("receipt_printer", values={"cover": "closed", "paper": "full"})
    change = await bench.maintenance.move_paper(pass_word, Event.NEXT, say)
    assert (change.step, change.why) == (Step.LOOK, "")
    assert bench.said[-3:] == ["checking_paper", "printing", "look_at_paper"]
    change = await bench.maintenance.move_paper(pass_word, Event.GOOD, say)
    assert change.step is Step.DONE
    assert bench.reporter.events == [("receipt_printer", "paper.changed")]
    assert bench.refilled == [("receipt_printer", "paper")]
    assert [one["outcome"] for one in bench.reporter.of("maintenance_test")] == ["ok"]


async def test_paper_that_does_not_print_goes_back(bench: Bench) -> None:
    bench.devices.put("receipt_printer", C.RECEIPT_PRINTER, receipt(PrintState.FAILED, Fault.PAPER_JAM))
    pass_word, say = await bench.enter(), bench.said.append
    _ = bench.maintenance.begin_paper(pass_word, "receipt_printer")
    for _ in range(4):
        change = await bench.maintenance.move_paper(pass_word, Event.NEXT, say)
    assert (change.step, change.why) == (Step.PUT_IN, "paper_jam")
    bench.devices.put("receipt_printer", C.RECEIPT_PRINTER, receipt())
    for _ in range(2):
        change = await bench.maintenance.move_paper(pass_word, Event.NEXT, say)
    change = await bench.maintenance.move_paper(pass_word, Event.BAD, say)
    assert (change.step, change.why) == (Step.PUT_IN, "engineer_saw")
    change = await bench.maintenance.move_paper(pass_word, Event.STOP, say)
    assert change.step is Step.STOPPED
    with pytest.raises(MaintenanceRefused, match="notNow"):
        await bench.maintenance.move_paper(pass_word, Event.NEXT, say)
    assert bench.reporter.events == []


async def test_paper_is_changed_in_printers_only(bench: Bench) -> None:
    bench.devices.put("ups", C.UPS, gives())
    pass_word = await bench.enter()
    with pytest.raises(MaintenanceRefused, match=r"noPaper$"):
        bench.maintenance.begin_paper(pass_word, "ups")
    with pytest.raises(MaintenanceRefused, match="noPaperChange"):
        bench.maintenance.paper(pass_word)
