"""What can be tried on a device, by its kind: a table.

A finding holds nothing of a card, a document or a code: whether one was read, of which kind, and how long it took.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, cast

from agent.devices.card_reader.types import BankCard, CardKind, CardReader
from agent.devices.face_camera.types import FaceCamera, Gate
from agent.devices.id_card_reader.types import IdCardReader
from agent.devices.paper_sensor.types import LightMode, PaperSensor
from agent.devices.pin_pad.types import PinPad, PinRequest
from agent.devices.qr_scanner.types import CodeKind, CodeSpent, QrScanner
from agent.devices.receipt_printer.types import PrintState, ReceiptPrinter
from agent.devices.report_printer.types import PrintState as ReportState
from agent.devices.report_printer.types import ReportJob, ReportPrinter
from agent.devices.types import Driver
from agent.devices.ups.types import PowerSource, Ups
from agent.maintenance import papers
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import Capability

WAIT_S: Final = 20.0
"""How long a card or code is waited for."""
LIGHTS: Final = "lights"
_NO_ACCOUNT: Final = "0" * 12
"""No card's: the block a test makes is worth nothing, and is overwritten at once."""


class Outcome(StrEnum):
    """How a test ended; `asked` waits for what the engineer saw."""

    PASSED = "passed"
    FAILED = "failed"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a test found."""

    outcome: Outcome
    fault: Fault | None = None
    why: str = ""
    values: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test may use: whom it speaks to, and what goes onto paper."""

    say: Callable[[str], None]
    """Tells the engineer what to do, by a key the page has the text for."""
    kiosk: str
    at: datetime
    """In the kiosk's own zone, for people."""
    number: str


@dataclass(frozen=True, slots=True)
class SelfTest:
    """One thing that can be tried."""

    name: str
    work: Callable[[Driver, Trial], Awaitable[Finding]]
    limit_s: float = 30.0


async def _read_document(driver: Driver, trial: Trial) -> Finding:
    trial.say("show_id_card")
    found = await cast("IdCardReader", driver).read_document(timeout_s=WAIT_S)
    if found is None:
        return Finding(Outcome.FAILED, why="nothing_shown")
    values = {"type": found.type.value, "number_is_valid": found.number_is_valid, "has_photo": bool(found.photo)}
    return Finding(Outcome.PASSED, values=values)


async def _read_card(driver: Driver, trial: Trial) -> Finding:
    trial.say("insert_card")
    card = await cast("CardReader", driver).read_card(list(CardKind), wait_s=WAIT_S)
    if card is None:
        return Finding(Outcome.FAILED, why="nothing_shown")
    kind = CardKind.BANK if isinstance(card, BankCard) else CardKind.SOCIAL
    return Finding(Outcome.PASSED, values={"type": kind.value})


async def _scan(driver: Driver, trial: Trial) -> Finding:
    trial.say("show_code")
    scan = await cast("QrScanner", driver).read_code(list(CodeKind), wait_s=WAIT_S)
    if scan is None:
        return Finding(Outcome.FAILED, why="nothing_shown")
    try:
        characters = len(scan.code.take())
    except CodeSpent:
        return Finding(Outcome.FAILED, why="code_spent")
    return Finding(Outcome.PASSED, values={"characters": characters, "symbology": scan.symbology})


async def _print_receipt(driver: Driver, trial: Trial) -> Finding:
    trial.say("printing")
    done = await cast("ReceiptPrinter", driver).print_receipt(papers.receipt(trial.kiosk, trial.at, trial.number))
    values = {"state": done.state.value, "evidence": done.evidence.value}
    if done.state is PrintState.FAILED:
        return Finding(Outcome.FAILED, done.fault, "not_printed", values)
    trial.say("look_at_paper")
    return Finding(Outcome.ASKED, done.fault, values=values)


async def _print_page(driver: Driver, trial: Trial) -> Finding:
    trial.say("printing")
    job = ReportJob(trial.number, papers.page(trial.kiosk, trial.at, trial.number), pages=1)
    done = await cast("ReportPrinter", driver).print_report(job)
    values = {"state": done.state.value, "evidence": done.evidence.value, "impressions": done.impressions}
    if done.state is ReportState.FAILED:
        return Finding(Outcome.FAILED, done.fault, "not_printed", values)
    trial.say("look_at_paper")
    return Finding(Outcome.ASKED, done.fault, values=values)


async def _see_inputs(driver: Driver, _trial: Trial) -> Finding:
    levels = cast("PaperSensor", driver).levels
    values = {role.value: "unknown" if level is None else level for role, level in levels.items()}
    unknown = [role for role, level in levels.items() if level is None]
    return Finding(Outcome.FAILED if unknown else Outcome.PASSED, why="not_known" if unknown else "", values=values)


async def _light(driver: Driver, trial: Trial) -> Finding:
    """All lights on; they go out with the answer, at the next guidance, or when the driver stops."""
    board = cast("PaperSensor", driver)
    if not board.places:
        return Finding(Outcome.FAILED, why="no_lights")
    for place in board.places:
        await board.set_light(place, LightMode.BLINK)
    trial.say("look_at_lights")
    return Finding(Outcome.ASKED, values={"lights": len(board.places)})


async def lights_out(driver: Driver) -> None:
    """Put out what `_light` lit. Raises: DeviceFault, LinkError."""
    board = cast("PaperSensor", driver)
    for place in board.places:
        await board.set_light(place, LightMode.OFF)


async def _type_keys(driver: Driver, trial: Trial) -> Finding:
    trial.say("type_any_digits")
    entry = await cast("PinPad", driver).enter(PinRequest(_NO_ACCOUNT, timeout_s=WAIT_S))
    if entry is None:
        return Finding(Outcome.FAILED, why="nothing_typed")
    entry.block.drop()
    return Finding(Outcome.PASSED)


async def _see_power(driver: Driver, _trial: Trial) -> Finding:
    power = cast("Ups", driver).power
    values: dict[str, Scalar] = {
        "source": power.source.value,
        "charge_percent": power.charge_percent,
        "runtime_s": power.runtime_s,
        "load_percent": power.load_percent,
    }
    if power.source is PowerSource.MAINS:
        return Finding(Outcome.PASSED, values=values)
    return Finding(Outcome.FAILED, why="not_on_mains", values=values)


async def _take_picture(driver: Driver, trial: Trial) -> Finding:
    """The picture is dropped at once: that it can be taken is all that is told."""
    trial.say("look_into_camera")
    last = Gate.NO_FACE

    def tell(gate: Gate) -> None:
        nonlocal last
        last = gate

    portrait = await cast("FaceCamera", driver).take_picture(tell, timeout_s=WAIT_S)
    if portrait is None:
        return Finding(Outcome.FAILED, why="no_picture", values={"gate": last.value})
    return Finding(Outcome.PASSED, values={"width": portrait.width, "height": portrait.height})


_C = Capability
TESTS: Final[Mapping[Capability, tuple[SelfTest, ...]]] = MappingProxyType(
    {
        _C.ID_CARD_READER: (SelfTest("read_document", _read_document),),
        _C.CARD_READER: (SelfTest("read_card", _read_card),),
        _C.QR_SCANNER: (SelfTest("scan", _scan),),
        _C.RECEIPT_PRINTER: (SelfTest("print_receipt", _print_receipt, limit_s=90.0),),
        _C.REPORT_PRINTER: (SelfTest("print_page", _print_page, limit_s=180.0),),
        _C.PAPER_SENSOR: (SelfTest("inputs", _see_inputs), SelfTest(LIGHTS, _light)),
        _C.PIN_PAD: (SelfTest("keys", _type_keys, limit_s=WAIT_S + 15.0),),
        _C.UPS: (SelfTest("power", _see_power),),
        _C.FACE_CAMERA: (SelfTest("picture", _take_picture, limit_s=WAIT_S + 15.0),),
    }
)
PRINTS: Final[Mapping[Capability, str]] = MappingProxyType(
    {_C.RECEIPT_PRINTER: "print_receipt", _C.REPORT_PRINTER: "print_page"}
)
"""The devices that paper is changed in, and the test that proves it."""


def find(capability: Capability, name: str) -> SelfTest | None:
    """The test of this name for devices of this kind."""
    return next((test for test in TESTS.get(capability, ()) if test.name == name), None)
