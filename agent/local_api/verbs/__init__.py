"""What pages may ask of the devices: one module for each kind of thing a patient meets."""

from __future__ import annotations

from agent.devices.manager import DeviceManager
from agent.local_api.dialogue import Verb
from agent.local_api.verbs.bench import Bench
from agent.local_api.verbs.others import Others
from agent.local_api.verbs.printers import Printers
from agent.local_api.verbs.readers import Readers
from agent.printing.spool import PrintSpool


def device_verbs(devices: DeviceManager, spool: PrintSpool) -> dict[str, Verb]:
    """The commands for the devices of a kiosk, by name."""
    bench = Bench(devices)
    return {**Others(bench).verbs(), **Readers(bench).verbs(), **Printers(bench, spool).verbs()}
