"""Several kiosks in one process: their clock, their news, and the file that tells others where everything is."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.clock import Clock
from kit.logs import get_logger
from simulators.lab.device import Device, FactValue
from simulators.lab.errors import LabError
from simulators.lab.kiosk import DEMO_FIRMWARE, DEMO_FULL, LabKiosk, Place, build

KIOSKS_MAX = 50
_TICK_S = 0.05
_QUIET_S = 0.2
"""Counters change all the time: nobody is told of a device more often than this."""
_NEWS_KEPT = 1_000
_log = get_logger(__name__)


class UnknownDevice(LabError):
    """No such kiosk or component."""


@dataclass(frozen=True, slots=True)
class News:
    """Something changed; `action` is set when a tester did it."""

    sequence: int
    kiosk: str
    component: str
    action: str | None
    model: str
    state: Mapping[str, FactValue]
    is_plugged: bool
    troubles: tuple[str, ...]
    armed: tuple[str, ...]


class Lab:
    """All kiosks. `run` plugs them in and keeps their time; `perform` does something to one."""

    name = "lab"

    def __init__(self, kiosks: Sequence[LabKiosk], clock: Clock) -> None:
        self.kiosks = {kiosk.name: kiosk for kiosk in kiosks}
        self._clock = clock
        self._started = asyncio.Event()
        self._listeners: set[asyncio.Queue[News | None]] = set()
        self._sequence = 0
        self._seen: dict[tuple[str, str], tuple[object, ...]] = {}
        self._told_s: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Plug everything in until cancelled."""
        async with AsyncExitStack() as stack:
            for kiosk in self.kiosks.values():
                await stack.enter_async_context(kiosk)
            self._look()
            self._started.set()
            try:
                while True:
                    await asyncio.sleep(_TICK_S)
                    self._look()
            finally:
                for queue in self._listeners:
                    _put(queue, None)

    async def started(self) -> None:
        """Wait until everything is plugged in."""
        await self._started.wait()

    def device(self, kiosk: str, component: str) -> Device:
        """One device.

        Raises:
            UnknownDevice: no such kiosk or component.
        """
        found = self.kiosks.get(kiosk)
        device = None if found is None else found.devices.get(component)
        if device is None:
            raise UnknownDevice("实验室里没有这个设备 · no such kiosk or component here")
        return device

    async def perform(self, kiosk: str, component: str, action: str, given: Mapping[str, object]) -> None:
        """Do one action; see `Device.perform`."""
        device = self.device(kiosk, component)
        await device.perform(action, given)
        _log.info("lab.acted", kiosk=kiosk, component=component, action=action)
        device.tick(self._clock.monotonic())
        self._tell(kiosk, component, device, action)

    async def news(self) -> AsyncIterator[News | None]:
        """What changes from now on; None when nothing did for a while. Ends with the lab, or when it falls behind."""
        with self._listening() as queue:
            while True:
                try:
                    async with asyncio.timeout(10.0):
                        item = await queue.get()
                except TimeoutError:
                    yield None
                    continue
                if item is None:
                    return
                yield item

    @contextmanager
    def _listening(self) -> Iterator[asyncio.Queue[News | None]]:
        queue: asyncio.Queue[News | None] = asyncio.Queue(_NEWS_KEPT)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    def _look(self) -> None:
        now_s = self._clock.monotonic()
        for kiosk in self.kiosks.values():
            for component, device in kiosk.devices.items():
                device.tick(now_s)
                is_due = now_s - self._told_s.get((kiosk.name, component), float("-inf")) >= _QUIET_S
                if is_due and self._seen.get((kiosk.name, component)) != _sight(device):
                    self._tell(kiosk.name, component, device, None)

    def _tell(self, kiosk: str, component: str, device: Device, action: str | None) -> None:
        self._seen[kiosk, component] = _sight(device)
        self._told_s[kiosk, component] = self._clock.monotonic()
        self._sequence += 1
        item = News(
            self._sequence,
            kiosk,
            component,
            action,
            device.model,
            device.state(),
            device.is_plugged,
            tuple(device.troubles()),
            tuple(dict.fromkeys(device.armed())),
        )
        for queue in self._listeners:
            _put(queue, item)


def _sight(device: Device) -> tuple[object, ...]:
    return (device.model, device.is_plugged, device.troubles(), device.armed(), *device.state().values())


def _put(queue: asyncio.Queue[News | None], item: News | None) -> None:
    """A listener that does not keep up loses its place: the last it gets is the end."""
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        item = None
    queue.put_nowait(item)


def full_kiosks(count: int, folder: Path, clock: Clock, seed: int = 1) -> list[LabKiosk]:
    """`count` kiosks with every device, their files below `folder`; every third can be given other device firmware.

    Raises:
        LabError: the folder cannot be used.
    """
    kiosks = []
    for number in range(1, count + 1):
        name = f"kiosk-{number}"
        profile, places = ("demo_firmware", DEMO_FIRMWARE) if number % 3 == 0 else ("demo_full", DEMO_FULL)
        kiosks.append(one_kiosk(name, profile, places, folder / name, clock, seed * 1_000 + number))
    return kiosks


def one_kiosk(name: str, profile: str, places: Sequence[Place], folder: Path, clock: Clock, seed: int) -> LabKiosk:
    """A kiosk with these devices.

    Raises:
        LabError: the folder cannot be used, or a device not be reached that way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"{folder}: {error.strerror}") from None
    devices = {place.component: build(place, folder, clock.monotonic, seed) for place in places}
    return LabKiosk(name, profile, devices)


def facts(lab: Lab, url: str, token: str) -> dict[str, object]:
    """What `lab.json` says."""
    return {
        "control_url": url,
        "bench_url": f"{url}/#token={token}",
        "token": token,
        "kiosks": [
            {
                "name": kiosk.name,
                "profile": kiosk.profile,
                "ports": kiosk.ports,
                "environment": kiosk.environment,
                "absent": {
                    name: device.state()["absent"]
                    for name, device in kiosk.devices.items()
                    if device.state().get("absent")
                },
            }
            for kiosk in lab.kiosks.values()
        ],
    }


def write_facts(file: Path, content: Mapping[str, object]) -> None:
    """Whole or not at all, for this user only: it holds the token."""
    fresh = file.with_name(f".{file.name}.fresh")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump(content, stream, ensure_ascii=False, indent=2)
    fresh.replace(file)
