"""Runs every device in a task of its own: opens its link, starts and runs its driver, and starts over after a fault.

A device that fails, hangs or has a bug never touches another one. What is known of a device goes to a sink whenever
it changes; a fault that was up stays up until the device itself says otherwise.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from agent.devices.machine import INITIAL, TABLE, DeviceEvent, DeviceState
from agent.devices.profiles import Place
from agent.devices.registry import Link, MakeDriver, MakeLink, driver_of, link_of
from agent.devices.types import DeviceFacts, DeviceStatus, Driver
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkLost, WrongPeer
from kit.clock import Clock
from kit.logs import get_logger
from kit.machine import can_step, step
from kit.supervise import Backoff, Supervised, TaskGroup, spawn
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import Capability

T = TypeVar("T")
START_S, STOP_S, STEADY_S, ALIVE_S = 30.0, 3.0, 30.0, 10.0
EVENTS_MAX = 1_000
_USABLE = (DeviceState.READY, DeviceState.BUSY)
log = get_logger(__name__)


class NotUsable(DeviceFault):
    """The device was not touched: it is in use, or out of order."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one device."""

    component: str
    capability: Capability
    state: DeviceState = INITIAL
    facts: DeviceFacts = field(default_factory=DeviceFacts)
    status: DeviceStatus = field(default_factory=DeviceStatus)
    fault: Fault | None = None
    """Why it is not in use, while it is not."""
    detail: str = ""
    marks: Mapping[Fault, str] = field(default_factory=dict)
    """What others know of it that it cannot say itself."""

    @property
    def faults(self) -> Mapping[Fault, str]:
        """Everything that is up."""
        return {**self.status.faults, **self.marks, **({} if self.fault is None else {self.fault: self.detail})}


class Sink(Protocol):
    """Takes what changes. Its calls must be quick: they hold up news of all devices, never the devices."""

    async def changed(self, seen: Seen) -> None:
        """A device is another way now; states in between may have been passed over."""

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        """An event of a device."""

    def alive(self, seen: Seen) -> None:
        """A device gave a sign of life, or it is known why it does not."""


class Watch(Protocol):
    """Sees every change at once, in the middle of it: it must be quick and must not raise."""

    def moved(self, before: Seen, after: Seen) -> None:
        """A device is another way."""

    def failed(self, component: str, fault: Fault, detail: str) -> None:
        """Work with a device ended with a fault; the device itself may go on."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """One device and how to make its link and its driver."""

    component: str
    capability: Capability
    make_link: MakeLink
    make_driver: MakeDriver
    model: str = ""
    make_bare: MakeLink | None = None
    """What makes its link with nothing in between; None: the same."""


def fitted(places: Sequence[Place], wrapped: Callable[[Place, MakeLink], MakeLink] | None = None) -> list[Fitted]:
    """Load the drivers that the places need; `wrapped` may put something between a device and its link.

    Raises:
        ProfileError: a dialect or a link that nothing speaks, or a port that is missing.
    """
    return [_fitted(place, wrapped) for place in places]


def _fitted(place: Place, wrapped: Callable[[Place, MakeLink], MakeLink] | None) -> Fitted:
    bare, profile = link_of(place.profile, place.port), place.profile
    return Fitted(
        place.place.component,
        profile.capability,
        bare if wrapped is None else wrapped(place, bare),
        driver_of(profile),
        f"{profile.vendor} {profile.model}",
        bare,
    )


class DeviceManager:
    """All devices of a kiosk."""

    name = "devices"

    def __init__(
        self,
        devices: Sequence[Fitted],
        sink: Sink,
        clock: Clock,
        *,
        cap_s: float = 30.0,
        watch: Watch | None = None,
    ) -> None:
        self._sink = sink
        self.watch = watch
        self._news = asyncio.Event()
        self._changed: dict[str, Seen] = {}
        self._events: deque[tuple[str, str, Mapping[str, Scalar]]] = deque(maxlen=EVENTS_MAX)  # the oldest go
        self._devices = {device.component: _Device(device, self, clock, cap_s) for device in devices}

    async def run(self) -> None:
        """Run all devices until cancelled."""
        async with TaskGroup() as group:
            _ = spawn(group, Supervised("device-news", self._tell).run(), "device-news")
            for name, device in self._devices.items():
                _ = spawn(group, Supervised(f"device-{name}", device.run).run(), f"device-{name}")

    def seen(self) -> list[Seen]:
        """What is known of every device."""
        return [device.seen for device in self._devices.values()]

    def look(self, component: str) -> Seen:
        """What is known of one device. Raises: KeyError."""
        return self._devices[component].seen

    async def use(self, component: str, work: Callable[[Driver], Awaitable[T]]) -> T:
        """Let `work` use a device that is ready; when the device fails meanwhile the work is cancelled.

        Raises:
            NotUsable: it is busy or out of order; the work was not begun.
            DeviceFault: it failed under the work, or the work raised it.
            LinkError: the work lost the link.
            KeyError: there is no such component.
        """
        return await self._devices[component].use(work)

    async def exclusive(self, component: str, work: Callable[[MakeLink], Awaitable[T]]) -> T:
        """Let `work` have a device without its driver: it opens links of its own, and closes them.

        For a device in any state but in use; its life begins anew afterwards, whatever became of the work.

        Raises:
            NotUsable: it is in use; the work was not begun.
            KeyError: there is no such component. What the work raises passes through.
        """
        return await self._devices[component].exclusive(work)

    async def until(self, component: str, is_so: Callable[[Seen], bool]) -> Seen:
        """Wait until a device is as wanted; the caller sets the deadline. Raises: KeyError."""
        return await self._devices[component].until(is_so)

    def mark(self, component: str, fault: Fault, detail: str | None) -> None:
        """Say of a device what it cannot say itself; None takes it back. Raises: KeyError."""
        self._devices[component].mark(fault, detail)

    def note(self, seen: Seen) -> None:
        """Pass on that a device is another way."""
        self._changed[seen.component] = seen
        self._news.set()

    def note_event(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        """Pass on an event."""
        self._events.append((component, name, fields))
        self._news.set()

    def note_alive(self, seen: Seen) -> None:
        """Pass on a sign of life."""
        self._sink.alive(seen)

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            changed, self._changed = self._changed, {}
            for seen in changed.values():
                await self._sink.changed(seen)
            while self._events:
                await self._sink.happened(*self._events.popleft())


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody wants a device to himself."""

    granted: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class _Device:
    """One device; to its driver it is the `Owner`."""

    def __init__(self, device: Fitted, manager: DeviceManager, clock: Clock, cap_s: float) -> None:
        self._device = device
        self._manager = manager
        self._clock = clock
        self._backoff = Backoff(base_s=min(1.0, cap_s), cap_s=cap_s)
        self._driver: Driver | None = None
        self._over = asyncio.Event()
        self._moved = asyncio.Event()
        self._claim: _Claim | None = None
        self._scope: asyncio.Timeout | None = None
        self.seen = Seen(device.component, device.capability, facts=DeviceFacts(model=device.model or None))

    # --- Owner -------------------------------------------------------------------------------------------

    def status(self, status: DeviceStatus) -> None:
        self._set(replace(self.seen, status=status))

    def event(self, name: str, fields: Mapping[str, Scalar] | None = None) -> None:
        self._manager.note_event(self._device.component, name, dict(fields or {}))

    def alive(self) -> None:
        self._manager.note_alive(self.seen)

    # --- its life ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run it for ever; after a bug in its driver this is called again."""
        if self.seen.state is DeviceState.FAULTED:
            self._step(DeviceEvent.RETRY)
        while True:
            began_s = self._clock.monotonic()
            ended = await self._unless_claimed(self._once)
            if ended is not None:
                self._fail(*ended)
                if self._clock.monotonic() - began_s >= STEADY_S:
                    self._backoff.reset()
                await self._unless_claimed(lambda: asyncio.sleep(self._backoff.next_s()))
            if ended is not None and self._claim is None:
                self._step(DeviceEvent.RETRY)
            else:
                await self._lend()

    async def _unless_claimed(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do it, or give it up once somebody wants the device to himself."""
        try:
            async with asyncio.timeout(None) as self._scope:
                return None if self._claim is not None else await work()
        except TimeoutError:
            return None
        finally:
            self._scope = None

    async def _lend(self) -> None:
        """Keep out of the way for as long as somebody has the device; he may have changed his mind already."""
        self._step(DeviceEvent.TAKEN)
        claim = self._claim
        try:
            if claim is not None:
                claim.granted.set()
            while claim is not None and not claim.over.is_set():
                self.alive()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ALIVE_S):
                        await claim.over.wait()
        finally:
            self._backoff.reset()
            self._step(DeviceEvent.GIVEN_BACK)

    async def _once(self) -> tuple[Fault, str, DeviceEvent]:
        """Open, start and run it until it fails; why it failed. What is none of its failures is a bug and passes."""
        try:
            return await self._life()
        except DeviceFault as error:
            return error.fault, error.detail, DeviceEvent.FAILED
        except LinkLost as error:
            return Fault.UNPLUGGED, str(error), DeviceEvent.LOST
        except WrongPeer as error:
            return Fault.WRONG_DEVICE, str(error), DeviceEvent.FAILED
        except (LinkError, TimeoutError):
            return Fault.NOT_RESPONDING, "", DeviceEvent.FAILED
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._fail(Fault.DEVICE_ERROR, "an error in the program", DeviceEvent.FAILED)
            raise

    async def _life(self) -> tuple[Fault, str, DeviceEvent]:
        link = self._device.make_link()
        driver = self._device.make_driver(link, self, self._clock)
        try:
            await link.open()
            self._step(DeviceEvent.OPENED)
            async with asyncio.timeout(START_S):
                facts = await driver.start()
            self._begin(driver, facts)
            await driver.run()
        finally:
            self._driver = None
            self._over.set()
            await _leave(driver, link)
        return Fault.DEVICE_ERROR, "the driver ended", DeviceEvent.FAILED

    def _begin(self, driver: Driver, facts: DeviceFacts) -> None:
        if self.seen.fault is not None:
            log.info("device.back", component=self._device.component)
        self._driver, self._over = driver, asyncio.Event()
        known = replace(facts, model=facts.model or self._device.model or None)
        state = step(TABLE, self.seen.state, DeviceEvent.STARTED)
        self._set(replace(self.seen, state=state, facts=known, fault=None, detail=""))
        self.alive()

    def _fail(self, fault: Fault, detail: str, event: DeviceEvent) -> None:
        if fault is not self.seen.fault:
            log.warning("device.faulted", component=self._device.component, fault=fault, detail=detail)
        self._set(replace(self.seen, state=step(TABLE, self.seen.state, event), fault=fault, detail=detail))
        self.alive()

    def _step(self, event: DeviceEvent) -> None:
        self._set(replace(self.seen, state=step(TABLE, self.seen.state, event)))

    def _set(self, seen: Seen) -> None:
        if seen != self.seen:
            before, self.seen = self.seen, seen
            self._moved.set()
            self._moved = asyncio.Event()
            self._manager.note(seen)
            if self._manager.watch is not None:
                self._manager.watch.moved(before, seen)

    def mark(self, fault: Fault, detail: str | None) -> None:
        marks = {known: text for known, text in self.seen.marks.items() if known is not fault}
        self._set(replace(self.seen, marks=marks if detail is None else {**marks, fault: detail}))

    async def until(self, is_so: Callable[[Seen], bool]) -> Seen:
        while not is_so(self.seen):
            await self._moved.wait()
        return self.seen

    # --- its use -----------------------------------------------------------------------------------------

    async def exclusive(self, work: Callable[[MakeLink], Awaitable[T]]) -> T:
        if self._claim is not None or self.seen.state in {DeviceState.BUSY, DeviceState.UPDATING}:
            raise NotUsable(Fault.DEVICE_BUSY)
        claim = self._claim = _Claim()
        try:
            if self._scope is not None and not self._scope.expired():
                self._scope.reschedule(asyncio.get_running_loop().time())
            await claim.granted.wait()
            return await work(self._device.make_bare or self._device.make_link)
        finally:
            self._claim = None
            claim.over.set()

    async def use(self, work: Callable[[Driver], Awaitable[T]]) -> T:
        driver, over = self._driver, self._over
        if self._claim is not None or self.seen.state is DeviceState.BUSY:
            raise NotUsable(Fault.DEVICE_BUSY)
        if driver is None or self.seen.state not in _USABLE:
            raise NotUsable(self.seen.fault or Fault.NOT_RESPONDING, "not ready")
        self._step(DeviceEvent.JOB)
        try:
            async with TaskGroup() as group:
                job = spawn(group, _outcome(work(driver)), f"use {self._device.component}")
                ending = spawn(group, over.wait(), f"end {self._device.component}")
                await asyncio.wait((job, ending), return_when=asyncio.FIRST_COMPLETED)
                is_done = job.done()
                job.cancel()
                ending.cancel()
        finally:
            if self._over is over and not over.is_set() and can_step(TABLE, self.seen.state, DeviceEvent.DONE):
                self._step(DeviceEvent.DONE)
        if not is_done:
            raise DeviceFault(self.seen.fault or Fault.UNPLUGGED, "it failed under the work")
        result = job.result()
        if isinstance(result, _Failure):
            if self._manager.watch is not None and isinstance(result.error, DeviceFault):
                self._manager.watch.failed(self._device.component, result.error.fault, result.error.detail)
            raise result.error
        return result


@dataclass(frozen=True, slots=True)
class _Failure:
    error: DeviceFault | LinkError


async def _outcome(work: Awaitable[T]) -> T | _Failure:
    """An expected failure as a value, so that it leaves the group as itself."""
    try:
        return await work
    except (DeviceFault, LinkError) as error:
        return _Failure(error)


async def _leave(driver: Driver, link: Link) -> None:
    with suppress(DeviceFault, LinkError, TimeoutError):
        async with asyncio.timeout(STOP_S):
            await driver.stop()
    await link.close()
