"""Firmware on a scanner and a receipt printer that really take it, on pseudo-terminals."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.devices.machine import DeviceState
from agent.firmware import ymodem
from agent.firmware.errors import FirmwareRefused, Why
from agent.firmware.note import FOLDER, Note
from agent.firmware.service import ATTEMPTS, Ended
from kit.clock import SystemClock
from simulators.devices.boot_loader import BootFault, image_of
from simulators.devices.transports import LinkFault, LinkFaults
from support.flash_rig import IMAGES, MODELS, NEW, OLD, FlashRig, attended, notes_in, plugged, running
from support.waiting import wait_for
from wire.faults import Fault


async def _refused(rig: FlashRig, version: str = NEW, component: str = "scanner") -> Why:
    with pytest.raises(FirmwareRefused) as caught:
        await rig.firmware.update(component, version, "engineer", rig.percents.append)
    return caught.value.why


def _note(attempts: int = 1) -> Note:
    return Note(
        component="scanner", before=OLD, version=NEW, sha256="0" * 64, by="engineer", begun_at=SystemClock().utc(),
        attempts=attempts,
    )  # fmt: skip


@pytest.mark.parametrize("component", ["scanner", "receipt_printer"])
async def test_a_device_takes_new_firmware(tmp_path: Path, component: str) -> None:
    async with running(tmp_path, component) as rig:
        assert [(offer.update.version, offer.why_not) for offer in rig.firmware.offers()] == [(NEW, None)]
        ended = await rig.update(component)
        assert ended == Ended(component, OLD, NEW, NEW, None)
        assert ended.is_good
        assert rig.look(component).facts.firmware == NEW
        assert rig.boots[component].flashed == 1
        assert rig.percents == sorted(set(rig.percents))
        assert rig.percents[-1] == 100
        assert (component, DeviceState.UPDATING) in rig.sink.states
        [(actor, outcome, fields)] = rig.reporter.audits
        assert (actor, outcome, fields["before"], fields["version"]) == ("engineer", "ok", OLD, NEW)
        assert await rig.open_notes() == []
        assert rig.firmware.offers() == []


async def test_what_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        boot, image = rig.boots["scanner"], tmp_path / "images" / "scanner.bin"
        assert await _refused(rig, "R99") is Why.NO_SUCH_UPDATE
        assert await _refused(rig, component="nothing") is Why.NO_SUCH_UPDATE
        rig.is_on_mains = False
        assert await _refused(rig) is Why.ON_BATTERY
        assert [offer.why_not for offer in rig.firmware.offers()] == [Why.ON_BATTERY]
        rig.is_on_mains = True
        other = image_of(MODELS["scanner"], NEW, 5_000, seed=8)
        for spoil, why in (
            (lambda: image.write_bytes(other), Why.IMAGE_WRONG),
            (lambda: image.write_bytes(b""), Why.IMAGE_WRONG),
            (image.unlink, Why.IMAGE_MISSING),
            (lambda: image.symlink_to("/dev/zero"), Why.IMAGE_WRONG),
            (image.unlink, Why.IMAGE_MISSING),
            (lambda: os.mkfifo(image), Why.IMAGE_WRONG),
        ):
            await asyncio.to_thread(spoil)
            assert await _refused(rig) is why
        assert (boot.asked, boot.flashed, rig.percents, rig.reporter.audits) == (0, 0, [], [])
        assert rig.look().state is DeviceState.READY


@pytest.mark.parametrize(("runs", "why"), [(NEW, Why.ALREADY_THERE), ("R00", Why.WRONG_VERSION)])
async def test_a_version_that_it_may_not_be_put_on(tmp_path: Path, runs: str, why: Why) -> None:
    async with plugged(tmp_path) as (boots, lines):
        boots["scanner"].device.revision = runs  # type: ignore[attr-defined]  # the scanner behind it
        async with attended(tmp_path, boots, lines) as rig:
            await rig.ready()
            assert await _refused(rig) is why
            assert boots["scanner"].asked == 0


async def test_one_at_a_time(tmp_path: Path) -> None:
    async with running(tmp_path, "scanner", "receipt_printer") as rig:
        rig.boots["scanner"].script(BootFault.LOST_ACK, block=2)
        first = rig.begin()
        await wait_for(lambda: rig.look().state is DeviceState.UPDATING)
        assert await _refused(rig) is Why.DEVICE_BUSY
        assert await _refused(rig, component="receipt_printer") is Why.DEVICE_BUSY
        assert (await first).is_good
        assert (await rig.update("receipt_printer")).is_good


async def test_a_disk_that_takes_no_note(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await asyncio.to_thread((tmp_path / FOLDER).write_bytes, b"in the way")
        assert await _refused(rig) is Why.DISK_FAILED
        assert rig.boots["scanner"].asked == 0
        assert rig.look().state is DeviceState.READY


@pytest.mark.parametrize(
    ("fault", "block", "why"),
    [(BootFault.DEAF, 1, Why.NO_BOOT_LOADER), (BootFault.KEEPS_OLD, 1, Why.KEEPS_OLD)],
)
async def test_a_device_that_runs_what_it_ran(tmp_path: Path, fault: BootFault, block: int, why: Why) -> None:
    async with running(tmp_path, flash={"begin_s": 0.3}) as rig:
        rig.boots["scanner"].script(fault, block=block)
        assert await rig.update() == Ended("scanner", OLD, NEW, OLD, why)
        assert rig.look().state is DeviceState.READY
        assert rig.reporter.audits[0][1] == "failed"
        assert await rig.open_notes() == []
        rig.boots["scanner"].repair()
        assert (await rig.update()).is_good


@pytest.mark.parametrize(("fault", "times"), [(BootFault.NAK, 3), (BootFault.LOST_ACK, 1), (BootFault.NAK, 1)])
async def test_blocks_are_sent_again(tmp_path: Path, fault: BootFault, times: int) -> None:
    async with running(tmp_path) as rig:
        rig.boots["scanner"].script(fault, block=2, times=times)
        assert (await rig.update()).is_good
        assert rig.boots["scanner"].blocks == -(-len(IMAGES["scanner"]) // 1_024)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (BootFault.CANCEL, Why.REFUSED),
        (BootFault.NAK, Why.REFUSED),
        (BootFault.SILENT, Why.SILENT),
        (BootFault.BAD_IMAGE, Why.NOT_BACK),
    ],
)
async def test_a_device_left_in_its_boot_loader(tmp_path: Path, fault: BootFault, why: Why) -> None:
    """It is reported as out of order, may be tried again there and then, and takes it in the end."""
    async with running(tmp_path, flash={"restart_s": 1.0}) as rig:
        boot = rig.boots["scanner"]
        boot.script(fault, block=3, times=9)
        assert await rig.update() == Ended("scanner", OLD, NEW, None, why)
        await wait_for(lambda: rig.look().state is DeviceState.FAULTED)
        assert rig.look().marks == {Fault.FIRMWARE_INTERRUPTED: NEW}
        assert await rig.open_notes() == [NEW]
        assert [(offer.update.version, offer.why_not) for offer in rig.firmware.offers()] == [(NEW, None)]
        boot.repair()
        assert (await rig.update()).is_good
        assert rig.look().marks == {}
        assert await rig.open_notes() == []


async def test_a_plug_pulled_in_the_middle(tmp_path: Path) -> None:
    async with running(tmp_path, flash={"restart_s": 1.0}) as rig:
        boot, line = rig.boots["scanner"], rig.lines["scanner"]
        boot.script(BootFault.LOST_ACK, block=3)
        updating = rig.begin()
        await wait_for(lambda: boot.blocks == 3)
        line.unplug()
        assert await updating == Ended("scanner", OLD, NEW, None, Why.LOST)
        assert rig.look().state is DeviceState.ABSENT
        assert rig.look().marks == {Fault.FIRMWARE_INTERRUPTED: NEW}
        boot.power_cycle()
        await line.plug()
        assert boot.is_awake
        await wait_for(lambda: rig.look().state is DeviceState.FAULTED)
        assert (await rig.update()).is_good


@pytest.mark.parametrize(
    ("fault", "value"), [(LinkFault.SPLIT, 1), (LinkFault.DRIBBLE, 1), (LinkFault.DROP, 1), (LinkFault.DELAY, 0.3)]
)
async def test_a_poor_line(tmp_path: Path, fault: LinkFault, value: float) -> None:
    faults = LinkFaults()
    async with running(tmp_path, faults=faults) as rig:
        faults.script(fault, value=value, after=4)
        assert (await rig.update()).is_good


async def test_a_boot_loader_that_is_another_device_of_the_bus(tmp_path: Path) -> None:
    """USB devices come back under a new number when their boot loader runs."""
    async with running(tmp_path) as rig:
        boot, line = rig.boots["scanner"], rig.lines["scanner"]
        gone = asyncio.Event()

        def go() -> None:
            line.unplug()
            gone.set()

        boot.leave = go
        updating = rig.begin()
        await gone.wait()
        await wait_for(lambda: not line.path.is_symlink())
        await line.plug()
        assert (await updating).is_good


# --- after a power cut -------------------------------------------------------------------------------------


_HALF_A_BLOCK = b"\x02\x01\xfe" + bytes(300)


@pytest.mark.parametrize("left_in", [b"", _HALF_A_BLOCK, ymodem.header("scanner.bin", 5_000) + _HALF_A_BLOCK])
async def test_an_agent_that_ends_in_the_middle_and_starts_again(tmp_path: Path, left_in: bytes) -> None:
    async with plugged(tmp_path) as (boots, lines):
        boot = boots["scanner"]
        async with attended(tmp_path, boots, lines) as rig:
            await rig.ready()
            boot.script(BootFault.LOST_ACK, block=3)
            updating = rig.begin()
            await wait_for(lambda: boot.blocks == 3)
            updating.cancel()
        assert boot.is_erased
        boot.received(left_in)
        async with attended(tmp_path, boots, lines) as rig:
            await wait_for(lambda: bool(rig.reporter.audits), timeout_s=8.0)
            assert rig.look().facts.firmware == NEW
            assert rig.look().marks == {}
            [(actor, outcome, fields)] = rig.reporter.audits
            assert (actor, outcome, fields["attempts"]) == ("engineer", "ok", 2)
            assert await rig.open_notes() == []


@pytest.mark.parametrize(("runs", "outcome"), [(NEW, "ok"), (OLD, "failed")])
async def test_a_device_that_is_as_it_was_or_was_done_already(tmp_path: Path, runs: str, outcome: str) -> None:
    async with plugged(tmp_path) as (boots, lines):
        boots["scanner"].device.revision = runs  # type: ignore[attr-defined]  # the scanner behind it
        await asyncio.to_thread(notes_in(tmp_path).put, _note())
        async with attended(tmp_path, boots, lines) as rig:
            await wait_for(lambda: bool(rig.reporter.audits))
            assert rig.reporter.audits[0][1:2] == (outcome,)
            assert rig.reporter.audits[0][2]["why"] == (None if runs == NEW else Why.INTERRUPTED)
            assert await rig.open_notes() == []
            assert rig.look().marks == {}
            assert boots["scanner"].asked == 0


async def test_a_device_that_was_tried_often_enough_waits_for_a_person(tmp_path: Path) -> None:
    async with plugged(tmp_path) as (boots, lines):
        boot = boots["scanner"]
        boot.is_erased = True
        boot.power_cycle()
        await asyncio.to_thread(notes_in(tmp_path).put, _note(ATTEMPTS))
        async with attended(tmp_path, boots, lines) as rig:
            await wait_for(lambda: rig.look().state is DeviceState.FAULTED)
            await wait_for(lambda: rig.look().marks == {Fault.FIRMWARE_INTERRUPTED: NEW})
            assert boot.blocks == 0
            assert (await rig.update()).is_good


async def test_without_its_image_an_interrupted_device_waits(tmp_path: Path) -> None:
    async with plugged(tmp_path) as (boots, lines):
        boots["scanner"].is_erased = True
        boots["scanner"].power_cycle()
        await asyncio.to_thread(notes_in(tmp_path).put, _note())
        async with attended(tmp_path, boots, lines, has_images=False) as rig:
            await wait_for(lambda: rig.look().state is DeviceState.FAULTED)
            await wait_for(lambda: rig.look().marks == {Fault.FIRMWARE_INTERRUPTED: NEW})
            await wait_for(lambda: [offer.why_not for offer in rig.firmware.offers()] == [None])
            assert await _refused(rig) is Why.IMAGE_MISSING


def _nonsense(folder: Path) -> None:
    folder.mkdir()
    for name, text in {"scanner": "{", "printer": '{"component": "x"}', "other": ""}.items():
        (folder / f"{name}.json").write_text(text)


async def test_notes_that_make_no_sense(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    await asyncio.to_thread(_nonsense, folder)
    async with running(tmp_path) as rig:
        assert await asyncio.to_thread(lambda: sorted(file.name for file in folder.iterdir())) == [
            "other.bad",
            "printer.bad",
            "scanner.bad",
        ]
        assert (await rig.update()).is_good
