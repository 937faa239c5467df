"""All drivers with the recorder between them and their simulators: not one datum of a person is in any recording."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from agent.devices.card_reader.driver import PcscCardReader
from agent.devices.card_reader.types import CardKind
from agent.devices.pin_pad.types import PinEntry, PinRequest
from agent.devices.receipt_printer.types import Barcode, Pair, QrCode, ReceiptJob, Text
from agent.devices.recording import DeviceRecording, redactor_of
from agent.devices.report_printer.types import ReportJob
from agent.errors import DeviceFault
from agent.links.pcsc import CardPresence, ReaderView
from agent.recorder.document import lines_of
from agent.recorder.links import RecordedCardLink
from agent.recorder.recorder import About, Frozen, Limits, Recorder
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.id_card_reader import ReaderFault, SimulatedCard
from simulators.devices.smart_card import Holder, SmartCard, debit_card, social_card
from simulators.devices.transports import LinkFault, LinkFaults
from simulators.people import Paper, People, Person
from support.owner import RecordingOwner
from support.pdf import pdf
from support.recording_rig import DEVICES, place_of, running
from support.waiting import wait_for
from wire.recording import FrameLine, Masked, Recording, Way, Word, decode_recording

ACCOUNT, PIN, PAN = "200123456789", "739518", "6217000012345678906"
PAYMENT_CODE = "134567890123456789"
WINDOW = 5
"""So many characters of a secret in a row are too many."""


def windows(secret: str) -> Iterator[bytes]:
    for start in range(max(1, len(secret) - WINDOW + 1)):
        piece = secret[start : start + WINDOW]
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "gb18030"):
            yield piece.encode(encoding)


def assert_clean(data: bytes, secrets: list[str]) -> Recording:
    """The file, and every byte that its frames show, hold none of the secrets."""
    recording = decode_recording(data)
    frames = [entry for entry in recording.entries if isinstance(entry, FrameLine)]
    seen = [b"".join(bytes.fromhex(p.hex) for p in frame.parts if not isinstance(p, Masked)) for frame in frames]
    stream = b"".join(seen)
    for secret in secrets:
        for window in windows(secret):
            assert window not in stream, f"{recording.head.component}: {secret}"
        if secret.isdigit() and len(secret) >= 8:
            assert secret[:8] not in stream.hex(), f"{recording.head.component}: {secret} packed"
        assert secret not in data.decode()
        assert json.dumps(secret)[1:-1] not in data.decode()
    return recording


def secrets_of(person: Person) -> list[str]:
    return [person.name, person.number, person.address, person.latin_name, f"{person.born:%Y%m%d}"]


@pytest.mark.parametrize("split", [None, LinkFault.SPLIT, pytest.param(LinkFault.DRIBBLE, marks=pytest.mark.slow)])
async def test_an_identity_is_in_no_recording(tmp_path: Path, split: LinkFault | None) -> None:
    faults = LinkFaults()
    person = People(21).person(Paper.RESIDENT)
    async with running(tmp_path, "id_reader", faults=faults) as rig:
        rig.cores["id_reader"].put(SimulatedCard(person, newest_address="北京市样例区长江路七号"))
        if split is not None:
            faults.script(split, value=27.0, times=1_000 if split is LinkFault.SPLIT else 6)
        read = await rig.manager.use("id_reader", lambda driver: cast("Any", driver).read_document(timeout_s=6.0))
        assert read.number == person.number
        recording = assert_clean(rig.frozen("id_reader"), [*secrets_of(person), "北京市样例区长江路七号"])
    kinds = {part.kind for frame in _frames(recording) for part in frame.parts if isinstance(part, Masked)}
    assert {"text", "photo"} <= kinds


class OnlyLong(LinkFaults):
    """Faults of long answers: those with an identity."""

    def pieces(self, data: bytes) -> Any:  # noqa: ANN401 - what the line makes of it is its own affair
        return super().pieces(data) if len(data) > 300 else LinkFaults().pieces(data)


@pytest.mark.parametrize(
    ("fault", "value"),
    [(LinkFault.TRUNCATE, 200), (LinkFault.DROP, 9), (LinkFault.CORRUPT, 3), (LinkFault.NOISE, 30)],
)
async def test_half_an_identity_is_in_no_recording(tmp_path: Path, fault: LinkFault, value: int) -> None:
    faults = OnlyLong()
    faults.script(fault, value=float(value), times=12)
    person = People(22).person(Paper.FOREIGNER_2017)
    async with running(tmp_path, "id_reader", faults=faults, quirks={"read_s": 0.15, "answer_s": 0.1}) as rig:
        core = rig.cores["id_reader"]
        core.put(SimulatedCard(person))
        with suppress(DeviceFault):
            await rig.manager.use("id_reader", lambda driver: cast("Any", driver).read_document(timeout_s=2.0))
        assert b"\x30\x01" in core.requests
        rig.frozen("id_reader")
        recordings = [assert_clean(b"".join(lines_of(kept)), secrets_of(person)) for kept in rig.kept]
    frames = [frame for recording in recordings for frame in _frames(recording)]
    assert sum(part.length for frame in frames for part in frame.parts if isinstance(part, Masked)) >= 190


async def test_a_scanned_code_is_in_no_recording(tmp_path: Path) -> None:
    async with running(tmp_path, "scanner") as rig:
        core = rig.cores["scanner"]

        async def read() -> object:
            return await rig.manager.use("scanner", lambda driver: cast("Any", driver).read_code((), wait_s=3.0))

        async with asyncio.TaskGroup() as group:
            reading = spawn(group, read(), "read")
            await wait_for(lambda: core.is_lit)
            core.show(PAYMENT_CODE)
        assert reading.result() is not None
        recording = assert_clean(rig.frozen("scanner"), [PAYMENT_CODE])
    assert any(isinstance(part, Masked) and part.kind == "code" for f in _frames(recording) for part in f.parts)


async def test_no_part_of_a_pin_entry_is_in_a_recording(tmp_path: Path) -> None:
    async with running(tmp_path, "pin_pad") as rig:
        core = rig.cores["pin_pad"]

        async def enter() -> PinEntry:
            request = PinRequest(account=ACCOUNT, timeout_s=5.0)
            entry = await rig.manager.use("pin_pad", lambda driver: cast("Any", driver).enter(request))
            assert isinstance(entry, PinEntry)
            return entry

        async with asyncio.TaskGroup() as group:
            entering = spawn(group, enter(), "enter")
            await wait_for(lambda: core.is_entering)
            core.press(PIN + "E")
        with entering.result().block.use() as view:
            block = bytes(view)
        data = rig.frozen("pin_pad")
    recording = assert_clean(data, [ACCOUNT, PIN])
    assert block.hex() not in data.decode()
    assert {frame.t % 1 for frame in _frames(recording)} <= {_frames(recording)[0].t % 1}, "the rhythm of keys"


async def test_a_receipt_is_in_no_recording(tmp_path: Path) -> None:
    person = People(23).person()
    elements = (Text(person.name, bold=True), Pair("身份证", person.number), Text(person.address), Text("䶮"))
    codes = (QrCode("https://hospital.test/r/" + person.number), Barcode("B" + person.number))
    async with running(tmp_path, "receipt_printer") as rig:
        job = ReceiptJob("job-1", elements + codes)
        await rig.manager.use("receipt_printer", lambda driver: cast("Any", driver).print_receipt(job))
        recording = assert_clean(rig.frozen("receipt_printer"), secrets_of(person))
    kinds = {part.kind for frame in _frames(recording) for part in frame.parts if isinstance(part, Masked)}
    assert {"text", "code", "picture"} <= kinds


async def test_a_report_is_in_no_recording(tmp_path: Path) -> None:
    person = People(24).person()
    async with running(tmp_path, "report_printer") as rig:
        job = ReportJob(f"{person.name}-{person.number}", pdf(2) + person.name.encode())
        with suppress(DeviceFault):
            await rig.manager.use("report_printer", lambda driver: cast("Any", driver).print_report(job))
        data = rig.frozen("report_printer")
        recording = assert_clean(data, secrets_of(person))
    kinds = {part.kind for frame in _frames(recording) for part in frame.parts if isinstance(part, Masked)}
    assert "document" in kinds
    assert b"%PDF".hex() not in data.decode()


# --- cards: the link is a card in this process, the real service is tested with the driver ---------------------------


class CardInHand:
    """A `PcscLink` to a simulated card."""

    def __init__(self, card: SmartCard) -> None:
        card.power_up()
        self._card = card
        self.name = "reader"
        self.is_open = False
        self.is_t0, self.atr = True, card.atr
        self.view = ReaderView(
            looked=True, service_up=True, reader="reader", card=CardPresence.PRESENT, atr=card.atr, insertion=1
        )

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def changed(self, seen: ReaderView, *, timeout_s: float) -> ReaderView:
        return self.view

    @asynccontextmanager
    async def card(self, *, timeout_s: float) -> AsyncIterator[CardInHand]:
        yield self

    async def transmit(self, apdu: bytes, *, timeout_s: float) -> bytes:
        return self._card.exchange(apdu).data or b"\x6f\x00"


@pytest.mark.parametrize("kind", ["social", "bank"])
async def test_a_card_is_in_no_recording(kind: str) -> None:
    person = People(25).person()
    holder = Holder(name=person.name, id_number=person.number, card_number="A98765432")
    card = social_card(holder) if kind == "social" else debit_card(PAN)
    kept: list[Frozen] = []
    recorder = Recorder(SystemClock(), Limits(), kept.append)
    profile = place_of("card_reader").profile
    tap = recorder.tap(About("card_reader", "card_reader"), redactor_of(profile, recorder))
    link = RecordedCardLink(cast("Any", CardInHand(card)), tap)
    await link.open()
    await link.changed(link.view, timeout_s=1.0)
    reader = PcscCardReader(cast("Any", link), profile, RecordingOwner(), SystemClock())
    found = await reader.read_card((CardKind.SOCIAL, CardKind.BANK), wait_s=1.0)
    assert found is not None
    recorder.freeze("card_reader", "card_unreadable")
    recording = assert_clean(
        b"".join(lines_of(kept[0])), [*secrets_of(person), "A98765432", PAN, PAN[6:15], card.atr.hex()]
    )
    assert card.atr.hex() not in b"".join(lines_of(kept[0])).decode()
    assert any(isinstance(part, Masked) and part.kind == "record" for f in _frames(recording) for part in f.parts)
    assert Word.CARD in [getattr(entry, "word", None) for entry in recording.entries]


# --- faults -------------------------------------------------------------------------------------------------


async def test_every_fault_of_a_device_makes_a_recording(tmp_path: Path) -> None:
    async with running(tmp_path, "id_reader", quirks={"answer_s": 0.1}) as rig:
        rig.cores["id_reader"].script(ReaderFault.SILENCE, times=1_000)
        await wait_for(lambda: bool(rig.kept), what="a recording")
        (frozen,) = rig.kept
        assert (frozen.about.component, frozen.fault) == ("id_reader", "not_responding")
        states = [edge.state for edge in frozen.edges]
        assert states[0:3] == ["starting", "ready", "faulted"]


@pytest.mark.parametrize("name", DEVICES)
def test_another_device_on_the_same_port_shows_nothing(name: str) -> None:
    kept: list[Frozen] = []
    recorder, person = Recorder(SystemClock(), Limits(), kept.append), People(26).person()
    tap = recorder.tap(About(name, name), redactor_of(place_of(name).profile, recorder))
    for text in (PAYMENT_CODE, person.number, person.name + person.address):
        for encoding in ("gb18030", "utf-16-le"):
            tap.passed(Way.CAME, text.encode(encoding) + b"\r\n")
    recorder.freeze(name, "protocol_error")
    assert_clean(b"".join(lines_of(kept.pop())), [PAYMENT_CODE, *secrets_of(person)])


def test_a_profile_that_its_driver_refuses_does_no_harm_here() -> None:
    recorder = Recorder(SystemClock(), Limits(), lambda _: None)
    place = place_of("pin_pad")
    refused = place.profile.model_copy(update={"capabilities": {}})
    assert redactor_of(place.profile, recorder) is not None
    assert redactor_of(refused, recorder) is None


def test_a_link_that_is_no_stream_of_bytes_stays_as_it_is() -> None:
    class Keys:
        """A keyboard, for example."""

    keys = cast("Any", Keys())
    recording = DeviceRecording(Recorder(SystemClock(), Limits(), lambda _: None))
    assert recording.wrapped(place_of("id_reader"), lambda: keys)() is keys


def _frames(recording: Recording) -> list[FrameLine]:
    return [entry for entry in recording.entries if isinstance(entry, FrameLine)]
