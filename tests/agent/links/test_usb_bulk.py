"""The link over pyusb, whose back-end is a simulated device; libusb and the kernel are not in these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from agent.devices.id_card_reader.driver import SdtIdCardReader
from agent.devices.profiles import load
from agent.links.base import LinkLost, LinkTimeout, WrongPeer
from agent.links.usb_bulk import BUFFER_BYTES_MAX, UsbBulkLink, UsbSettings
from agent.links.usb_nodes import UsbAddress
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.id_card_reader import IdCardReaderCore, SimulatedCard
from simulators.devices.transports import Core, LinkFault, Send
from simulators.devices.usb_gadget import GadgetFacts, UsbGadget
from simulators.people import Paper, People
from support.owner import RecordingOwner
from support.tree import ROOT
from support.usb_backend import GadgetBackend
from support.waiting import wait_for
from wire.profile import DeviceProfile, LinkKind, LinkProfile

USB_ID = "0400:c35a"
READER = GadgetFacts(USB_ID)
PROFILE = load(ROOT / "firmware_profiles/devices/generic-sdt_usb.yaml", DeviceProfile)
MESSAGE = bytes(range(64))


class Echo:
    def __init__(self) -> None:
        self.got = bytearray()
        self.send: Send = lambda _data: None

    def connected(self, send: Send) -> None:
        self.send = send

    def received(self, data: bytes) -> None:
        self.got += data
        self.send(data)


class Rig:
    def __init__(self, gadget: UsbGadget, link: UsbBulkLink, backend: GadgetBackend) -> None:
        self.gadget, self.link, self.backend = gadget, link, backend


@asynccontextmanager
async def plugged(
    core: Core | None = None,
    facts: GadgetFacts = READER,
    *,
    others: Sequence[UsbGadget] = (),
    place: str | None = None,
    settings: UsbSettings | None = None,
) -> AsyncIterator[Rig]:
    async with UsbGadget(core or Echo(), facts) as gadget:
        backend = GadgetBackend([gadget, *others])
        link = UsbBulkLink(UsbAddress.of(USB_ID, place), USB_ID, settings, backend)
        yield Rig(gadget, link, backend)
        await link.close()
        assert backend.open_handles == 0


async def _read(link: UsbBulkLink, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += await link.read(timeout_s=2.0)
    return found


async def _until_lost(link: UsbBulkLink) -> bytes:
    found = b""
    while True:
        try:
            found += await link.read(timeout_s=2.0)
        except LinkLost:
            return found


async def test_bytes_come_and_go_unchanged() -> None:
    async with plugged() as rig:
        await rig.link.open()
        assert rig.link.is_open
        every = bytes(range(256)) * 40
        await rig.link.write(every, timeout_s=2.0)
        assert await _read(rig.link, len(every)) == every
        assert rig.gadget.configurations == 0  # it had one: setting it again is a reset


async def test_silence_is_a_timeout_and_the_link_stays() -> None:
    async with plugged() as rig:
        await rig.link.open()
        rig.gadget.faults.script(LinkFault.SILENCE)
        await rig.link.write(b"x", timeout_s=2.0)
        with pytest.raises(LinkTimeout):
            await rig.link.read(timeout_s=0.02)
        await rig.link.write(b"y", timeout_s=2.0)
        assert await _read(rig.link, 1) == b"y"


@pytest.mark.parametrize("offset", range(64))
async def test_unplugged_after_any_number_of_bytes(offset: int) -> None:
    async with plugged() as rig:
        await rig.link.open()
        rig.gadget.faults.script(LinkFault.UNPLUG, value=offset)
        await rig.link.write(MESSAGE, timeout_s=2.0)
        assert MESSAGE[:offset].startswith(await _until_lost(rig.link))
        assert not rig.link.is_open
        with pytest.raises(LinkLost):
            await rig.link.write(b"x", timeout_s=1.0)


async def test_unplugging_is_seen_while_nobody_reads_and_it_comes_back() -> None:
    async with plugged() as rig:
        await rig.link.open()
        rig.gadget.unplug()
        await wait_for(lambda: not rig.link.is_open)
        with pytest.raises(LinkLost, match="0 devices match"):
            await rig.link.open()
        await rig.gadget.plug()
        await rig.link.open()
        await rig.link.write(b"again", timeout_s=2.0)
        assert await _read(rig.link, 5) == b"again"


async def test_a_halted_pipe_is_set_free() -> None:
    async with plugged() as rig:
        await rig.link.open()
        rig.gadget.stall()
        await rig.link.write(b"after", timeout_s=2.0)
        assert await _read(rig.link, 5) == b"after"


async def test_a_device_that_takes_nothing_is_a_timeout() -> None:
    async with plugged() as rig:
        await rig.link.open()
        rig.gadget.go_deaf()
        with pytest.raises(LinkTimeout):
            await rig.link.write(b"x", timeout_s=0.05)
        assert rig.link.is_open


async def test_what_nobody_reads_waits_in_the_device() -> None:
    async with plugged() as rig:
        await rig.link.open()
        assert isinstance(rig.gadget.core, Echo)
        rig.gadget.core.send(bytes(3 * BUFFER_BYTES_MAX))
        await wait_for(lambda: len(rig.link._buffer) >= BUFFER_BYTES_MAX)
        assert len(await _read(rig.link, 3 * BUFFER_BYTES_MAX)) == 3 * BUFFER_BYTES_MAX
        assert len(rig.link._buffer) <= 2 * BUFFER_BYTES_MAX


async def test_discarded_is_gone() -> None:
    async with plugged() as rig:
        await rig.link.open()
        assert isinstance(rig.gadget.core, Echo)
        rig.gadget.core.send(MESSAGE)
        await wait_for(lambda: bool(rig.link._buffer))
        assert rig.link.discard() == len(MESSAGE)
        with pytest.raises(LinkTimeout):
            await rig.link.read(timeout_s=0.02)


async def test_a_driver_of_the_kernel_is_taken_off_and_put_back() -> None:
    async with plugged(facts=GadgetFacts(USB_ID, has_kernel_driver=True, is_configured=False)) as rig:
        await rig.link.open()
        assert not rig.gadget.has_kernel_driver
        assert rig.gadget.configurations == 1
        await rig.link.close()
        assert rig.gadget.has_kernel_driver


async def test_in_use_by_another_program() -> None:
    async with plugged() as rig:
        rig.gadget.claims = 1
        with pytest.raises(LinkLost, match="busy"):
            await rig.link.open()


async def test_two_of_a_kind_are_told_apart_by_their_sockets() -> None:
    async with UsbGadget(Echo(), GadgetFacts(USB_ID, ports=(4, 2))) as other:
        async with plugged(others=[other]) as rig:
            with pytest.raises(LinkLost, match="2 devices match"):
                await rig.link.open()
        async with plugged(others=[other], place="1-4.2") as rig:
            await rig.link.open()
            assert (other.claims, rig.gadget.claims) == (1, 0)


async def test_another_device_in_its_socket_gets_no_byte() -> None:
    async with plugged(facts=GadgetFacts("1a86:7523"), place="1-4") as rig:
        with pytest.raises(WrongPeer, match="1a86:7523 is there"):
            await rig.link.open()
        assert rig.gadget.claims == 0


@pytest.mark.parametrize(
    "settings", [UsbSettings(interface_class=7), UsbSettings(pipe_in=0x85), UsbSettings(interface=1)]
)
async def test_pipes_it_does_not_have(settings: UsbSettings) -> None:
    async with plugged(settings=settings) as rig:
        with pytest.raises(LinkLost, match="no such bulk pipes"):
            await rig.link.open()
        assert rig.backend.open_handles == 0


async def test_unplugging_wakes_a_waiting_reader() -> None:
    async with plugged() as rig:
        await rig.link.open()

        async def pull() -> None:
            rig.gadget.unplug()

        with pytest.RaisesGroup(LinkLost):
            async with asyncio.TaskGroup() as group:
                _ = spawn(group, rig.link.read(timeout_s=5.0), "reader")
                _ = spawn(group, pull(), "pull")


async def test_libusb_itself_is_asked_and_finds_no_such_device() -> None:
    """The real library, on whatever buses this machine has; nobody has a device with these ids."""
    link = UsbBulkLink(UsbAddress.of("fffe:fffe", None), "fffe:fffe")
    with pytest.raises(LinkLost, match="0 devices match"):
        await link.open()


@pytest.mark.parametrize("paper", list(Paper))
async def test_every_document_over_usb(paper: Paper) -> None:
    person, core = People(6).person(paper), IdCardReaderCore()
    core.put(SimulatedCard(person))
    async with plugged(core, settings=UsbSettings.of(PROFILE.link)) as rig, asyncio.TaskGroup() as group:
        await rig.link.open()
        driver = SdtIdCardReader(rig.link, PROFILE, RecordingOwner(), SystemClock())
        assert (await driver.start()).serial == "05.01-20151239-0123456789-42"
        rig.gadget.faults.script(LinkFault.DROP, value=2, times=1)  # some stacks lose leading bytes
        running = spawn(group, driver.run(), "driver")
        document = await driver.read_document(timeout_s=3.0)
        running.cancel()
    assert document is not None
    assert (document.name, document.number, len(document.photo)) == (person.name, person.number, 1_024)


@pytest.mark.parametrize(
    ("options", "why"), [({"pipe_out": 0x81}, "pipe_out"), ({"pipe": 1}, "options.pipe"), ({"interface": "x"}, "int")]
)
def test_options_that_are_none(options: dict[str, str | int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        UsbSettings.of(LinkProfile(kind=LinkKind.USB, options=dict(options)))
