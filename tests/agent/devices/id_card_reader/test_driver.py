"""The driver against the simulated reader on a real pseudo-terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from agent.devices.id_card_reader.driver import SdtIdCardReader
from agent.devices.id_card_reader.types import DocumentType, IdDocument, Picture
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkLost
from agent.links.serial_port import SerialLink, SerialSettings
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.id_card_reader import IdCardReaderCore, ReaderFault, SimulatedCard
from simulators.devices.transports import LinkFault, PtyServer
from simulators.people import Paper, People
from support.owner import RecordingOwner
from support.tree import ROOT
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile

PROFILE = DeviceProfile.model_validate(
    yaml.safe_load((ROOT / "firmware_profiles/devices/generic-sdt-serial.yaml").read_text(encoding="utf-8"))
)
CARD = SimulatedCard(People(5).person())


def profile(**quirks: Scalar) -> DeviceProfile:
    quick: dict[str, Scalar] = {"find_s": 0.02, "status_s": 0.05, "answer_s": 0.2, "read_s": 0.5, "removal_misses": 3}
    return PROFILE.model_copy(update={"quirks": {**PROFILE.quirks, **quick, **quirks}})


@dataclass
class Bench:
    core: IdCardReaderCore
    server: PtyServer
    driver: SdtIdCardReader
    owner: RecordingOwner
    ended_by: list[Exception]

    async def read(self) -> IdDocument:
        document = await self.driver.read_document(timeout_s=3.0)
        assert document is not None
        return document


class Bencher(Protocol):
    def __call__(
        self, core: IdCardReaderCore | None = None, **quirks: Scalar
    ) -> AbstractAsyncContextManager[Bench]: ...


@pytest.fixture
def bench(tmp_path: Path) -> Bencher:
    @asynccontextmanager
    async def make(core: IdCardReaderCore | None = None, **quirks: Scalar) -> AsyncIterator[Bench]:
        core = core or IdCardReaderCore()
        async with PtyServer(core, tmp_path / "tty") as server:
            link, owner = SerialLink(str(server.path), SerialSettings.of(PROFILE.link)), RecordingOwner()
            await link.open()
            driver = SdtIdCardReader(link, profile(**quirks), owner, SystemClock())
            found = Bench(core, server, driver, owner, [])

            async def run() -> None:
                try:
                    await driver.run()
                except (LinkError, DeviceFault) as error:
                    found.ended_by.append(error)

            facts = await driver.start()
            assert facts.serial == "05.01-20151239-0123456789-42"
            async with asyncio.TaskGroup() as group:
                running = spawn(group, run(), "driver")
                yield found
                running.cancel()
            await link.close()

    return make


@pytest.mark.parametrize("paper", list(Paper))
async def test_all_four_documents(bench: Bencher, paper: Paper) -> None:
    person = People(2).person(paper)
    async with bench() as reading:
        reading.core.put(SimulatedCard(person))
        document = await reading.read()
    assert document.type is DocumentType(paper.value)
    assert (document.name, document.number, document.number_is_valid) == (person.name, person.number, True)
    assert (document.born, document.valid_from, document.valid_to) == (person.born, person.valid_from, person.valid_to)
    assert len(document.photo) == 1_024
    assert document.picture is None


async def test_a_card_is_read_only_when_somebody_waits(bench: Bencher) -> None:
    async with bench() as reading:
        reading.core.put(CARD)
        await wait_for(lambda: reading.owner.last.values == {"media": "present"})
        assert b"\x30\x01" not in reading.core.requests
        await reading.read()
        assert b"\x30\x01" in reading.core.requests


@pytest.mark.parametrize("answers_find_again", [False, True])
async def test_removed_after_misses(bench: Bencher, answers_find_again: bool) -> None:
    core = IdCardReaderCore(answers_find_again=answers_find_again)
    async with bench(core, finds_again=answers_find_again) as reading:
        core.put(CARD)
        await reading.read()
        assert not await reading.driver.wait_removed(timeout_s=0.2)
        core.lift()
        assert await reading.driver.wait_removed(timeout_s=3.0)
        assert [name for name, _ in reading.owner.events] == [
            "CardReader.MediaInsertedEvent",
            "CardReader.MediaRemovedEvent",
        ]


async def test_a_flicker_is_no_removal(bench: Bencher) -> None:
    core = IdCardReaderCore(answers_find_again=True)
    async with bench(core, finds_again=True) as reading:
        core.put(CARD)
        await reading.read()
        core.script(ReaderFault.STATUS, value=0x80, times=2)
        asked = len(core.requests)
        await wait_for(lambda: len(core.requests) > asked + 8)
        assert reading.driver.is_card_present


async def test_the_newest_address(bench: Bencher) -> None:
    async with bench(newest_address=True) as reading:
        reading.core.put(SimulatedCard(CARD.person, newest_address="新地址龘1号"))
        assert (await reading.read()).newest_address == "新地址龘1号"
    async with bench(newest_address=True) as reading:
        reading.core.put(CARD)
        assert not (await reading.read()).newest_address


@pytest.mark.parametrize(
    "fault", [ReaderFault.BAD_CHECKSUM, ReaderFault.WRONG_LENGTH, ReaderFault.LOST_LEAD, ReaderFault.SILENCE]
)
async def test_one_bad_answer_is_asked_for_again(bench: Bencher, fault: ReaderFault) -> None:
    async with bench() as reading:
        reading.core.script(fault, value=2)
        reading.core.put(CARD)
        assert (await reading.read()).number == CARD.person.number
        assert not reading.ended_by


@pytest.mark.parametrize(
    ("fault", "value", "code"),
    [
        (ReaderFault.SILENCE, 0, Fault.NOT_RESPONDING),
        (ReaderFault.BAD_CHECKSUM, 0, Fault.PROTOCOL_ERROR),
        (ReaderFault.WRONG_LENGTH, 0, Fault.PROTOCOL_ERROR),
        (ReaderFault.STATUS, 0x10, Fault.PROTOCOL_ERROR),
        (ReaderFault.STATUS, 0x60, Fault.SAM_FAILED),
        (ReaderFault.STATUS, 0x66, Fault.SAM_FAILED),
    ],
)
async def test_lasting_faults_end_the_driver(bench: Bencher, fault: ReaderFault, value: int, code: Fault) -> None:
    async with bench() as reading:
        reading.core.script(fault, value=value, times=1_000)
        (ended,) = await wait_for(lambda: reading.ended_by)
        assert isinstance(ended, DeviceFault)
        assert ended.fault is code
        with pytest.raises(LinkLost):
            await reading.driver.read_document(timeout_s=1.0)


@pytest.mark.parametrize("status", [0x31, 0x32, 0x33, 0x37, 0x3F, 0x40, 0x41, 0x47, 0x81, 0x91])
async def test_an_unreadable_card_has_to_be_lifted(bench: Bencher, status: int) -> None:
    core = IdCardReaderCore(answers_find_again=True)
    async with bench(core, find_s=0.3) as reading:
        core.put(CARD)
        await wait_for(lambda: reading.driver.is_card_present)
        core.script(ReaderFault.STATUS, value=status, after=0)
        core.script(ReaderFault.STATUS, value=status, after=3)
        with pytest.raises(DeviceFault, match="card_unreadable"):
            await reading.read()
        with pytest.raises(DeviceFault, match="not taken off"):
            await reading.driver.read_document(timeout_s=0.05)
        core.lift()
        await reading.driver.wait_removed(timeout_s=5.0)
        core.put(CARD)
        assert (await reading.read()).number == CARD.person.number


async def test_a_stale_frame_is_passed_over(bench: Bencher) -> None:
    async with bench() as reading:
        reading.core.script(ReaderFault.STALE_FRAME, times=1_000)
        reading.core.put(CARD)
        assert (await reading.read()).number == CARD.person.number


async def test_dribbled_bytes(bench: Bencher) -> None:
    async with bench(read_s=5.0, answer_s=2.0) as reading:
        reading.server.faults.script(LinkFault.DRIBBLE, times=1_000)
        reading.core.put(CARD)
        document = await reading.driver.read_document(timeout_s=8.0)
        assert document is not None


async def test_unplugged_while_reading(bench: Bencher) -> None:
    async with bench(find_s=0.3) as reading:
        reading.core.put(CARD)
        await wait_for(lambda: reading.driver.is_card_present)
        reading.server.faults.script(LinkFault.UNPLUG, value=700)
        with pytest.raises(LinkLost):
            await reading.read()
        (ended,) = await wait_for(lambda: reading.ended_by)
        assert isinstance(ended, LinkLost)


async def test_two_readers_at_once(bench: Bencher) -> None:
    async with bench() as reading, asyncio.TaskGroup() as group:
        waiting = spawn(group, reading.driver.read_document(timeout_s=5.0), "first")
        await wait_for(lambda: reading.driver._is_reading)
        with pytest.raises(DeviceFault, match="device_busy"):
            await reading.driver.read_document(timeout_s=1.0)
        waiting.cancel()


async def test_nobody_comes(bench: Bencher) -> None:
    async with bench() as reading:
        assert await reading.driver.read_document(timeout_s=0.05) is None


async def test_a_vendor_decoder_gives_the_picture(bench: Bencher) -> None:
    class Decoder:
        def decode(self, photo: bytes) -> Picture | None:
            return Picture(102, 126, photo[:3])

    async with bench() as reading:
        reading.driver._photo_decoder = Decoder()
        reading.core.put(CARD)
        document = await reading.read()
        assert document.picture == Picture(102, 126, b"WLf")
