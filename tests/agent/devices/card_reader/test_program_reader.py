"""The certified component as a device of a kiosk: the manager, a profile, and a real program at the other end."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from agent.devices.card_reader.types import Card, CardKind, CardReader, SocialCard
from agent.devices.machine import DeviceState
from agent.devices.manager import DeviceManager, fitted
from agent.devices.profiles import Place
from agent.devices.types import Driver
from agent.errors import DeviceFault, ProfileError
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.card_terminal import card_of
from support.flash_rig import Sink
from support.tree import ROOT
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import DeviceProfile, KioskDevice

COMMAND = f"{shlex.quote(sys.executable)} -m simulators.devices.card_terminal {{port}}"


def place(folder: Path, command: str = COMMAND) -> Place:
    """A kiosk's card reader whose port is the folder of the stand-in."""
    profile = DeviceProfile.model_validate(
        {
            "vendor": "Test",
            "model": "terminal",
            "capability": "card_reader",
            "dialect": "terminal",
            "link": {"kind": "program", "options": {"command": command}},
            "quirks": {"answer_s": 2.0, "poll_s": 0.1},
        }
    )
    return Place(KioskDevice(component="card_reader", device="test"), profile, str(folder))


@dataclass
class Rig:
    """The device, and what a tester does to its component."""

    folder: Path
    manager: DeviceManager
    sink: Sink
    group: asyncio.TaskGroup

    async def ready(self) -> None:
        """Wait until it can be used."""
        await wait_for(lambda: self._state() is DeviceState.READY, what="a component that answers", timeout_s=8.0)

    def _state(self) -> DeviceState:
        return self.manager.look("card_reader").state

    async def put(self, seed: int) -> None:
        """A card is put in, whole."""

        def write() -> None:
            fresh = self.folder / "card.fresh"
            fresh.write_text(json.dumps(card_of(seed)), encoding="utf-8")
            fresh.replace(self.folder / "card.json")

        await asyncio.to_thread(write)

    async def break_with(self, fault: str) -> None:
        """The next question goes wrong."""

        def write() -> None:
            fresh = self.folder / "fault.fresh"
            fresh.write_text(fault, encoding="ascii")
            fresh.replace(self.folder / "fault")

        await asyncio.to_thread(write)

    async def read(self, accept: tuple[CardKind, ...] = (CardKind.SOCIAL,), wait_s: float = 5.0) -> Card | None:
        """As pages do."""

        async def work(driver: Driver) -> Card | None:
            return await cast("CardReader", driver).read_card(accept, wait_s=wait_s)

        return await self.manager.use("card_reader", work)


@asynccontextmanager
async def _running(folder: Path, command: str = COMMAND) -> AsyncIterator[Rig]:
    sink = Sink()
    manager = DeviceManager(fitted([place(folder, command)]), sink, SystemClock(), cap_s=0.05)
    async with asyncio.TaskGroup() as group:
        running = spawn(group, manager.run(), "manager")
        try:
            yield Rig(folder, manager, sink, group)
        finally:
            running.cancel()


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the program finds its package there


async def test_cards_are_read(tmp_path: Path) -> None:
    async with _running(tmp_path) as rig:
        await rig.ready()
        facts = rig.manager.look("card_reader").facts
        assert (facts.model, facts.firmware, facts.serial) == ("Stand-in terminal", "1.0", "LAB1")
        assert await rig.read(wait_s=0.05) is None
        reading = spawn(rig.group, rig.read(), "read")
        await rig.put(7)
        card = await reading
        assert isinstance(card, SocialCard)
        assert card.holder is not None
        assert card.holder.id_number == card_of(7)["holder"]["id_number"]
        assert card.holder.name not in repr(card)
        with pytest.raises(DeviceFault, match="other_kind"):
            await rig.read((CardKind.BANK,))


async def test_a_patient_who_gives_up_leaves_a_reader_that_works(tmp_path: Path) -> None:
    async with _running(tmp_path) as rig:
        await rig.ready()
        rig.sink.states.clear()
        for seed in (1, 2):
            reading = spawn(rig.group, rig.read(wait_s=60.0), "read")
            await wait_for(lambda: rig.manager.look("card_reader").state is DeviceState.BUSY)
            reading.cancel()
            await rig.ready()
            await rig.put(seed)
            card = await rig.read()
            assert isinstance(card, SocialCard)
            await asyncio.to_thread((tmp_path / "card.json").unlink)
        assert {state for _, state in rig.sink.states} <= {DeviceState.READY, DeviceState.BUSY}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("die", Fault.DEVICE_ERROR),
        ("garbage", Fault.PROTOCOL_ERROR),
        ("flood", Fault.PROTOCOL_ERROR),
        ("other", Fault.PROTOCOL_ERROR),
        ("removed", Fault.CARD_UNREADABLE),
        ("no_psam", Fault.SAM_FAILED),
    ],
)
async def test_what_goes_wrong_while_reading(tmp_path: Path, fault: str, expected: Fault) -> None:
    async with _running(tmp_path) as rig:
        await rig.ready()
        with pytest.raises(DeviceFault) as failed:
            await _read_until_it_fails(rig, fault)
        assert failed.value.fault is expected
        await rig.ready()
        await rig.put(3)
        assert isinstance(await rig.read(), SocialCard)


async def _read_until_it_fails(rig: Rig, fault: str) -> None:
    while True:  # its question about itself may come first
        await rig.ready()
        await rig.break_with(fault)
        await rig.read(wait_s=0.05)


async def test_a_component_that_hangs_while_nobody_reads(tmp_path: Path) -> None:
    async with _running(tmp_path) as rig:
        await rig.ready()
        await rig.break_with("hang")
        await wait_for(lambda: rig.manager.look("card_reader").fault is Fault.NOT_RESPONDING, timeout_s=8.0)
        await rig.ready()


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("/nowhere/component {port}", Fault.DEVICE_ERROR),
        (f"{shlex.quote(sys.executable)} -c pass", Fault.DEVICE_ERROR),
    ],
)
async def test_a_component_that_does_not_start(tmp_path: Path, command: str, fault: Fault) -> None:
    async with _running(tmp_path, command) as rig:
        await wait_for(lambda: rig.manager.look("card_reader").fault in {fault, Fault.UNPLUGGED}, timeout_s=8.0)
        assert rig.manager.look("card_reader").state not in {DeviceState.READY, DeviceState.BUSY}


@pytest.mark.parametrize(
    ("options", "port"),
    [({}, "/dev/x"), ({"command": ""}, "/dev/x"), ({"command": "a {port}"}, None), ({"argv": 1}, "x")],
)
def test_profiles_that_name_no_program(options: dict[str, object], port: str | None) -> None:
    found = place(Path("x"))
    link = found.profile.link.model_copy(update={"options": options})
    with pytest.raises(ProfileError):
        fitted([Place(found.place, found.profile.model_copy(update={"link": link}), port)])
