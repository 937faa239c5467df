"""Device firmware as an operation: refused before anything is touched, or begun, written down, and proven.

What a device runs is what it says of itself when its driver has started it, never what a transfer ended with. An
update whose end is not known, after a power cut or a kill, stays written down: at the next start it is finished, tried
again while the device sits in its boot loader, or reported until somebody settles it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from agent.devices.machine import DeviceState
from agent.devices.manager import NotUsable, Seen
from agent.devices.profiles import Place
from agent.devices.registry import MakeLink
from agent.firmware.errors import FirmwareRefused, FlashFailed, Why
from agent.firmware.image import load_image
from agent.firmware.note import Note, Notes
from agent.firmware.program import run_program
from agent.firmware.transfer import Progress, flash
from agent.reporter import Reporter
from kit.clock import Clock
from kit.logs import get_logger
from kit.supervise import TaskGroup, spawn
from wire.faults import Fault
from wire.firmware import FirmwareProfile, FirmwareUpdate, FlashProfile, FlashProtocol

T = TypeVar("T")
ATTEMPTS: Final = 3
"""So often one update is tried before it waits for a person."""
STARTUP: Final = "startup"
_USABLE: Final = (DeviceState.READY, DeviceState.BUSY)
log = get_logger(__name__)


class Devices(Protocol):
    """The part of the device manager that is needed here."""

    def look(self, component: str) -> Seen:
        """What is known of one device. Raises: KeyError."""

    async def exclusive(self, component: str, work: Callable[[MakeLink], Awaitable[T]]) -> T:
        """Let `work` have a device without its driver. Raises: NotUsable."""

    async def until(self, component: str, is_so: Callable[[Seen], bool]) -> Seen:
        """Wait until a device is as wanted."""

    def mark(self, component: str, fault: Fault, detail: str | None) -> None:
        """Say of a device what it cannot say itself."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What device firmware needs of the rest of the agent."""

    devices: Devices
    images: Path
    notes: Notes
    reporter: Reporter
    clock: Clock
    is_on_mains: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Target:
    """A device whose profile says something of its firmware."""

    firmware: FirmwareProfile
    flash: FlashProfile
    port: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An update that a device could get; `why_not` where it could not get it now."""

    component: str
    update: FirmwareUpdate
    why_not: Why | None


@dataclass(frozen=True, slots=True)
class Ended:
    """How an update ended: `version` is what the device says now, None while it does not answer."""

    component: str
    before: str
    wanted: str
    version: str | None
    why: Why | None

    @property
    def is_good(self) -> bool:
        """Whether the device runs what was wanted."""
        return self.version == self.wanted


def targets_of(places: Sequence[Place]) -> dict[str, Target]:
    """The devices that can be given other firmware, by component."""
    return {
        place.place.component: Target(place.profile.firmware, place.profile.firmware.flash, place.port or "")
        for place in places
        if place.profile.firmware.flash is not None and place.profile.firmware.updates
    }


class Firmware:
    """All device firmware of a kiosk; one update at a time."""

    name = "firmware"

    def __init__(self, targets: Mapping[str, Target], around: Surroundings) -> None:
        self._targets = targets
        self._around = around
        self._open: dict[str, Note] = {}
        self._lock = asyncio.Lock()
        self._group: TaskGroup | None = None

    def offers(self) -> list[Offer]:
        """Every update to something else than what a device runs. Looks at no disk."""
        return [
            Offer(component, update, Why.DEVICE_BUSY if self._lock.locked() else self._why_not(component, update))
            for component, target in self._targets.items()
            for update in target.firmware.updates
            if self._around.devices.look(component).facts.firmware != update.version or component in self._open
        ]

    async def update(self, component: str, version: str, by: str, progress: Progress) -> Ended:
        """Put a version on a device. Who stops waiting stops nothing: what was begun goes on.

        Raises:
            FirmwareRefused: nothing was begun.
        """
        target = self._targets.get(component)
        update = None if target is None else target.firmware.update_to(version)
        if target is None or update is None:
            raise FirmwareRefused(Why.NO_SUCH_UPDATE)
        if self._group is None:
            raise FirmwareRefused(Why.NOT_READY)
        if self._lock.locked():
            raise FirmwareRefused(Why.DEVICE_BUSY)
        work = self._updated(component, update, by, progress)
        ended = await asyncio.shield(spawn(self._group, _outcome(work), f"firmware {component}"))
        if isinstance(ended, FirmwareRefused):
            raise ended
        return ended

    async def _updated(self, component: str, update: FirmwareUpdate, by: str, progress: Progress) -> Ended:
        async with self._lock:
            why = self._why_not(component, update)
            if why is not None:
                raise FirmwareRefused(why)
            image = await asyncio.to_thread(load_image, self._around.images, update)
            seen = self._around.devices.look(component)
            earlier = self._open.get(component)
            before = earlier.before if earlier is not None else (seen.facts.firmware or "")
            note = Note(
                component=component, before=before, version=update.version, sha256=update.sha256, by=by,
                begun_at=self._around.clock.utc(),
            )  # fmt: skip
            return await self._carried_out(note, image, self._targets[component], progress)

    async def run(self) -> None:
        """Settle what an earlier run of this agent left open, until cancelled."""
        for note in await asyncio.to_thread(self._around.notes.all):
            if note.component in self._targets:
                self._open[note.component] = note
                self._around.devices.mark(note.component, Fault.FIRMWARE_INTERRUPTED, note.version)
        try:
            async with TaskGroup() as group:
                self._group = group
                for note in list(self._open.values()):
                    _ = spawn(group, self._recovered(note), f"firmware {note.component}")
                await asyncio.Event().wait()
        finally:
            self._group = None

    # --- before -------------------------------------------------------------------------------------------

    def _why_not(self, component: str, update: FirmwareUpdate) -> Why | None:
        """Why a device cannot get an update now; the image is another question."""
        if self._group is None:
            return Why.NOT_READY
        seen, note = self._around.devices.look(component), self._open.get(component)
        if seen.state in {DeviceState.UPDATING, DeviceState.BUSY}:
            return Why.DEVICE_BUSY
        if not self._around.is_on_mains():
            return Why.ON_BATTERY
        if seen.state in _USABLE:
            return _unfit(seen.facts.firmware, update)
        if note is None:
            return Why.NOT_READY
        return None if note.before in update.replaces else Why.WRONG_VERSION

    # --- doing it -----------------------------------------------------------------------------------------

    async def _carried_out(self, note: Note, image: bytes, target: Target, progress: Progress) -> Ended:
        around, component = self._around, note.component
        is_in_loader = around.devices.look(component).state not in _USABLE
        try:
            await asyncio.to_thread(around.notes.put, note)
        except OSError:
            raise FirmwareRefused(Why.DISK_FAILED) from None
        self._open[component] = note
        log.info("firmware.begun", component=component, before=note.before, version=note.version, by=note.by)
        why: Why | None = None

        async def work(make_link: MakeLink) -> None:
            how = target.flash
            if how.protocol is FlashProtocol.PROGRAM:
                await run_program(how.argv, target.port, image, how.limit_s, progress)
            else:
                name = next(one.image for one in target.firmware.updates if one.sha256 == note.sha256)
                await flash(make_link, image, name, how, progress, is_in_loader=is_in_loader)

        try:
            await around.devices.exclusive(component, work)
        except NotUsable:
            await self._settle(note)
            raise FirmwareRefused(Why.DEVICE_BUSY) from None
        except FlashFailed as failed:
            why = failed.why
        return await self._proven(note, why, target.flash.restart_s)

    async def _proven(self, note: Note, why: Why | None, restart_s: float) -> Ended:
        """What the device says of itself now; one that says nothing stays on the list."""
        around, component = self._around, note.component
        try:
            async with asyncio.timeout(restart_s):
                seen = await around.devices.until(component, lambda seen: seen.state in _USABLE)
        except TimeoutError:
            around.devices.mark(component, Fault.FIRMWARE_INTERRUPTED, note.version)
            return await self._told(note, None, why or Why.NOT_BACK)
        await self._settle(note)
        version = seen.facts.firmware
        return await self._told(note, version, None if version == note.version else why or Why.KEEPS_OLD)

    async def _settle(self, note: Note) -> None:
        """The device answers: nothing is open any more. A note that cannot be taken away is harmless."""
        self._open.pop(note.component, None)
        self._around.devices.mark(note.component, Fault.FIRMWARE_INTERRUPTED, None)
        try:
            await asyncio.to_thread(self._around.notes.drop, note.component)
        except OSError as error:
            log.warning("firmware.note_stays", component=note.component, error=error.strerror)

    async def _told(self, note: Note, version: str | None, why: Why | None) -> Ended:
        ended = Ended(note.component, note.before, note.version, version, why)
        log.info("firmware.ended", component=note.component, version=version, why=why)
        await self._around.reporter.audit(
            note.by,
            "device_firmware",
            "ok" if ended.is_good else "failed",
            target=note.component,
            fields={
                "before": note.before,
                "wanted": note.version,
                "version": version,
                "sha256": note.sha256,
                "why": why,
                "attempts": note.attempts,
                "begun_at": note.begun_at.isoformat(),
            },
        )
        return ended

    # --- after a start ------------------------------------------------------------------------------------

    async def _recovered(self, note: Note) -> None:
        """Finish what was interrupted: the device may be as it was, be done, or wait in its boot loader."""
        target = self._targets[note.component]
        while self._open.get(note.component) == note:
            seen = await self._around.devices.until(note.component, _is_settled)
            if seen.state in _USABLE:
                await self._settle(note)
                is_there = seen.facts.firmware == note.version
                _ = await self._told(note, seen.facts.firmware, None if is_there else Why.INTERRUPTED)
                return
            update = target.firmware.update_to(note.version)
            if update is None or note.attempts >= ATTEMPTS or not self._around.is_on_mains():
                seen = await self._around.devices.until(note.component, lambda seen: seen.state in _USABLE)
                continue
            note = note.model_copy(update={"attempts": note.attempts + 1})
            async with self._lock:
                if self._open.get(note.component) is None:
                    return
                try:
                    image = await asyncio.to_thread(load_image, self._around.images, update)
                    ended = await self._carried_out(note, image, target, lambda _: None)
                except FirmwareRefused as refused:
                    log.warning("firmware.not_recovered", component=note.component, why=refused.why)
                    note = note.model_copy(update={"attempts": ATTEMPTS})
                    self._open[note.component] = note
                    continue
            if ended.version is not None:
                return


async def _outcome(work: Awaitable[Ended]) -> Ended | FirmwareRefused:
    """A refusal as a value, so that it ends nothing but itself."""
    try:
        return await work
    except FirmwareRefused as refused:
        return refused


def _unfit(version: str | None, update: FirmwareUpdate) -> Why | None:
    """Why a device that runs a version cannot get an update."""
    if version is None:
        return Why.VERSION_UNKNOWN
    if version == update.version:
        return Why.ALREADY_THERE
    return None if version in update.replaces else Why.WRONG_VERSION


def _is_settled(seen: Seen) -> bool:
    """Whether its driver got through, or did not: a device that is not plugged in is waited for."""
    return seen.state in _USABLE or (seen.state is DeviceState.FAULTED and seen.fault is not Fault.UNPLUGGED)
