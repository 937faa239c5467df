"""The driver against the simulated pad on a pseudo-terminal; no digit of a PIN may be anywhere but in the block."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.devices.pin_pad.driver import GzbPinPad
from agent.devices.pin_pad.types import PinEntry, PinRequest
from agent.errors import DeviceFault
from agent.links.base import LinkLost
from agent.links.serial_port import SerialLink
from kit.clock import SystemClock
from kit.logs import configure
from simulators.devices.pin_pad import PadFault, PinPadCore, block_of, decrypt
from simulators.devices.transports import LinkFault, LinkFaults, PtyServer
from support.owner import RecordingOwner
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile

ACCOUNT = "200123456789"
PIN = "739518"
PROFILE = DeviceProfile(
    vendor="Simulated",
    model="Pad",
    capability=Capability.PIN_PAD,
    link=LinkProfile(kind=LinkKind.SERIAL, baud=9600),
    dialect="gz_b",
    capabilities={"encrypts": True},
    quirks={"answer_s": 0.3, "poll_s": 0.05},
)


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
def core() -> PinPadCore:
    return PinPadCore()


@pytest.fixture
def faults() -> LinkFaults:
    return LinkFaults()


@pytest.fixture
async def line(core: PinPadCore, faults: LinkFaults, tmp_path: Path) -> AsyncIterator[PtyServer]:
    async with PtyServer(core, tmp_path / "pad", faults) as server:
        yield server


@pytest.fixture
async def pad(line: PtyServer, owner: RecordingOwner) -> AsyncIterator[GzbPinPad]:
    link = SerialLink(str(line.path))
    await link.open()
    yield GzbPinPad(link, PROFILE, owner, SystemClock())
    await link.close()


async def _typed(pad: GzbPinPad, core: PinPadCore, keys: str, *, timeout_s: float = 5.0) -> PinEntry | None:
    async def type_it() -> None:
        await wait_for(lambda: core.is_entering, what="the pad to listen")
        core.press(keys)

    async with asyncio.TaskGroup() as group:
        entering = group.create_task(pad.enter(PinRequest(ACCOUNT, timeout_s=timeout_s)))
        group.create_task(type_it())
    return entering.result()


def _digits(owner: RecordingOwner) -> list[object]:
    return [fields["digits"] for name, fields in owner.events if name == "Keyboard.KeyEvent"]


async def test_a_pin_becomes_a_block(pad: GzbPinPad, core: PinPadCore, owner: RecordingOwner) -> None:
    await pad.start()
    assert owner.last.values == {"pin_pad": "ok"}
    entry = await _typed(pad, core, PIN + "E")
    assert entry is not None
    assert entry.digits == 6
    with entry.block.use() as block:
        assert decrypt(bytes(block)) == block_of(PIN, ACCOUNT)
    assert _digits(owner) == [1, 2, 3, 4, 5, 6]


async def test_no_digit_is_anywhere_else(pad: GzbPinPad, core: PinPadCore, owner: RecordingOwner) -> None:
    log = io.StringIO()
    configure("test", level="debug", stream=log)
    entry = await _typed(pad, core, PIN + "E")
    assert entry is not None
    seen = f"{log.getvalue()} {owner.events!r} {owner.statuses!r} {entry!r} {entry.block!r} {pad!r}"
    assert PIN not in seen
    assert ACCOUNT not in seen


async def test_erasing_starts_over(pad: GzbPinPad, core: PinPadCore, owner: RecordingOwner) -> None:
    entry = await _typed(pad, core, "12C7395E")
    assert entry is not None
    with entry.block.use() as block:
        assert decrypt(bytes(block)) == block_of("7395", ACCOUNT)
    assert _digits(owner) == [1, 2, 0, 1, 2, 3, 4]


async def test_a_patient_who_cancels_or_leaves(pad: GzbPinPad, core: PinPadCore) -> None:
    assert await _typed(pad, core, "12X") is None
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(pad.enter(PinRequest(ACCOUNT)))
        await wait_for(lambda: core.is_entering, what="the pad to listen")
        core.let_time_pass()
    assert entering.result() is None


async def test_the_screen_can_cancel(pad: GzbPinPad, core: PinPadCore) -> None:
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(pad.enter(PinRequest(ACCOUNT)))
        await wait_for(lambda: core.is_entering, what="the pad to listen")
        await pad.cancel()
    assert entering.result() is None
    assert not core.is_entering


async def test_a_pad_that_shows_digits_is_tampered_with(
    pad: GzbPinPad, core: PinPadCore, owner: RecordingOwner
) -> None:
    core.up.add(PadFault.CLEAR_DIGITS)
    with pytest.raises(ExceptionGroup) as caught:
        await _typed(pad, core, "7")
    (fault,) = caught.value.exceptions
    assert isinstance(fault, DeviceFault)
    assert fault.fault is Fault.TAMPERED
    assert "7" not in str(fault)
    assert _digits(owner) == []


async def test_lost_keys_are_asked_for(pad: GzbPinPad, core: PinPadCore, owner: RecordingOwner) -> None:
    core.up.add(PadFault.MASTER_KEY_INVALID)
    await pad.start()
    assert owner.last.faults == {Fault.DEVICE_ERROR: "master_key_invalid"}
    with pytest.raises(DeviceFault) as caught:
        await pad.enter(PinRequest(ACCOUNT))
    assert caught.value.fault is Fault.DEVICE_ERROR


@pytest.mark.parametrize("scripted", [PadFault.SILENT, PadFault.BAD_CHECK])
async def test_a_pad_without_an_answer(
    pad: GzbPinPad, core: PinPadCore, owner: RecordingOwner, scripted: PadFault
) -> None:
    core.up.add(scripted)
    with pytest.raises(DeviceFault) as caught:
        await pad.start()
    assert caught.value.fault is Fault.NOT_RESPONDING
    assert owner.last.values == {"pin_pad": "unknown"}


async def test_noise_and_dribble_do_not_matter(pad: GzbPinPad, core: PinPadCore, faults: LinkFaults) -> None:
    core.up.add(PadFault.NOISE)
    faults.script(LinkFault.DRIBBLE, times=20)
    entry = await _typed(pad, core, PIN + "E")
    assert entry is not None
    with entry.block.use() as block:
        assert decrypt(bytes(block)) == block_of(PIN, ACCOUNT)


async def test_a_pulled_plug(pad: GzbPinPad, line: PtyServer) -> None:
    await pad.start()
    line.unplug()
    with pytest.raises(LinkLost):
        await pad.run()


@pytest.mark.parametrize("account", ["", "1" * 11, "1" * 13, "12345678901x"])
async def test_only_twelve_digits_go_to_the_pad(pad: GzbPinPad, account: str) -> None:
    with pytest.raises(DeviceFault, match="twelve"):
        await pad.enter(PinRequest(account))
