"""Puts the flight recorder between devices and their links, and tells it when a device fails."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from agent.devices.profiles import Place
from agent.devices.registry import DRIVERS, Link, MakeLink
from agent.recorder.links import RecordedCardLink, RecordedIppLink, RecordedLink
from agent.recorder.parts import Redactor
from agent.recorder.recorder import About, Recorder, Tap
from wire.faults import Fault
from wire.profile import DeviceProfile, LinkKind

_BYTES = frozenset((LinkKind.SERIAL, LinkKind.USB, LinkKind.HID, LinkKind.KEYBOARD, LinkKind.TCP, LinkKind.NUT))


class DeviceRecording:
    """What the manager and the composition root see of the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def wrapped(self, place: Place, make_link: MakeLink) -> MakeLink:
        """What makes the link of a device, recorded; a kind of link that is no stream of frames stays as it is."""
        kind = place.profile.link.kind
        if kind not in _BYTES | {LinkKind.PCSC, LinkKind.IPP}:
            return make_link
        about = About(
            place.place.component,
            place.profile.capability,
            f"{place.profile.vendor} {place.profile.model}",
            place.profile.dialect,
            kind,
        )
        tap = self._recorder.tap(about, redactor_of(place.profile, self._recorder))
        return lambda: _recorded(kind, make_link(), tap)

    def moved(self, before: Seen, after: Seen) -> None:
        """A device is another way: keep its recording when something came up that was not."""
        known, now = before.faults, after.faults
        if before.state is after.state and known.keys() == now.keys():
            return
        self._recorder.edge(after.component, after.state, tuple(sorted(now)))
        if before.state is DeviceState.STARTING and after.state is DeviceState.READY:
            self._recorder.started(after.component)
        for fault in [*now]:
            if fault not in known:
                self._recorder.freeze(after.component, fault, now[fault])

    def failed(self, component: str, fault: Fault, detail: str) -> None:
        """Work with a device failed, though it may be fine itself."""
        self._recorder.freeze(component, fault, detail)


def redactor_of(profile: DeviceProfile, recorder: Recorder) -> Redactor | None:
    """The redactor of a device; None where its folder has none for it."""
    row = DRIVERS.get((profile.capability, profile.dialect))
    folder = row[0].partition(".")[0] if row is not None else profile.capability.value
    name = f"agent.devices.{folder}.redact"
    if find_spec(f"agent.devices.{folder}") is None or find_spec(name) is None:
        return None
    make = cast("Any", import_module(name)).redactor  # every folder's has this signature
    try:
        return cast("Redactor | None", make(profile, recorder.digest))
    except ValueError:
        return None  # the driver refuses this profile as well, and says why


def _recorded(kind: LinkKind, link: Link, tap: Tap) -> Link:
    anything = cast("Any", link)  # the kind says which of the three it is
    match kind:
        case LinkKind.PCSC:
            return RecordedCardLink(anything, tap)
        case LinkKind.IPP:
            return RecordedIppLink(anything, tap)
        case _:
            is_stream = all(hasattr(link, name) for name in ("read", "write", "discard"))
            return RecordedLink(anything, tap) if is_stream else link
