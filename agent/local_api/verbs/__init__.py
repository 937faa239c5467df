"""What pages may ask of the devices: one module for each kind of thing a patient meets."""

from __future__ import annotations

from collections.abc import Callable

from agent.devices.manager import DeviceManager
from agent.local_api.dialogue import Verb
from agent.local_api.previews import Previews
from agent.local_api.verbs.bench import Bench
from agent.local_api.verbs.camera import Camera
from agent.local_api.verbs.others import Others
from agent.local_api.verbs.printers import Printers
from agent.local_api.verbs.readers import Readers
from agent.printing.spool import PrintSpool


def device_verbs(devices: DeviceManager, spool: PrintSpool) -> dict[str, Verb]:
    """The commands for the devices of a kiosk, by name."""
    bench = Bench(devices)
    return {**Others(bench).verbs(), **Readers(bench).verbs(), **Printers(bench, spool).verbs()}


def camera_verbs(devices: DeviceManager, previews: Previews, in_session: Callable[[], bool]) -> dict[str, Verb]:
    """The commands for the camera; `in_session` says whether a patient is served."""
    return Camera(Bench(devices), previews, in_session).verbs()
