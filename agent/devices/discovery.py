"""Which of the things that are plugged in is which device of this kiosk, from ids and names alone.

No device is asked anything: a byte that one device takes for a question makes another one print. So a device that has
no ids of its own (a UART, a USB adapter that many makers use) is named as possible, never as found.
"""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from agent.devices.profiles import Place, load
from agent.errors import ProfileError
from agent.links.census import Census, SerialFound, UsbFound
from wire.profile import DeviceProfile, LinkKind

Reach = Callable[[str, int], bool]


class Fit(StrEnum):
    """How a component of the kiosk stands."""

    IN_PLACE = "in_place"
    """The port that is set leads to it, as far as names can tell."""
    FOUND = "found"
    """Exactly one thing is it; its port is not set yet."""
    SEVERAL = "several"
    """More than one thing may be it: somebody has to say which."""
    POSSIBLE = "possible"
    """It has no ids of its own; these ports are free."""
    WRONG = "wrong"
    """Another device is at the port that is set."""
    MISSING = "missing"
    UNCHECKED = "unchecked"
    """Of a kind that is not looked for here."""


GOOD = frozenset((Fit.IN_PLACE, Fit.FOUND))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that may be a component, and the port to set for it."""

    port: str | None
    """None: it is found by its ids, nothing has to be set."""
    where: str
    """Its place or its name, for people."""
    is_stable: bool = True
    """Whether the port is still the same after a restart."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component of the kiosk's profile and what was found for it."""

    name: str
    device: str
    kind: LinkKind
    fit: Fit
    port: str | None
    """What is set, or what is to be set; None where nothing has to be."""
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Stranger:
    """A USB device that is no component of this kiosk."""

    device: UsbFound
    known_as: tuple[str, ...]
    """Profiles with its ids: it could be one."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """The whole answer."""

    components: tuple[Component, ...]
    strangers: tuple[Stranger, ...]
    free_ports: tuple[SerialFound, ...]
    card_readers: tuple[str, ...] | None

    @property
    def is_whole(self) -> bool:
        """Whether every component is there, for sure."""
        return all(component.fit in GOOD | {Fit.UNCHECKED} for component in self.components)


def load_known(folder: Path) -> dict[str, DeviceProfile]:
    """Every device profile of a folder, by the name of its file; what cannot be read is left to `profile check`."""
    found = {}
    for file in sorted((folder / "devices").glob("*.yaml")):
        try:
            found[file.stem] = load(file, DeviceProfile)
        except ProfileError:
            continue
    return found


def discover(census: Census, places: Sequence[Place], known: Mapping[str, DeviceProfile], reach: Reach) -> Discovery:
    """Match what is there with what should be; `places` is empty where no kiosk profile is chosen."""
    found = _apart([_FINDERS[place.profile.link.kind](place, census, reach) for place in places])
    taken = {candidate.where for component in found for candidate in component.candidates if component.fit in GOOD}
    ids = {place.profile.match["usb"].lower() for place in places if "usb" in place.profile.match}
    strangers = tuple(
        Stranger(device, tuple(sorted(name for name, one in known.items() if _usb_of(one) == device.usb_id)))
        for device in census.usb
        if device.place not in taken and device.usb_id not in ids and not _is_behind(device, taken, census)
    )
    free = tuple(port for port in census.serial if _where(port) not in taken)
    nameless = {place.place.component for place in places if _usb_of(place.profile) is None}
    components = tuple(_offered(one, free, census) if one.name in nameless else one for one in found)
    return Discovery(components, strangers, free, census.card_readers)


def stable_port(port: SerialFound, census: Census) -> Candidate:
    """The name that stays: by-id, or where an equal adapter is plugged in as well, by-path."""
    twins = [one for one in census.serial if one.usb is not None and port.usb is not None and _same(one.usb, port.usb)]
    if port.by_id is not None and len({one.usb.place for one in twins if one.usb is not None}) == 1:
        return Candidate(port.by_id, _where(port))
    if port.by_path is not None:
        return Candidate(port.by_path, _where(port))
    return Candidate(f"/dev/{port.name}", _where(port), is_stable=port.usb is None)


def _same(one: UsbFound, other: UsbFound) -> bool:
    return (one.usb_id, one.serial) == (other.usb_id, other.serial)


def _where(port: SerialFound) -> str:
    return port.name if port.usb is None else f"{port.usb.place} {port.name}"


def _usb_of(profile: DeviceProfile) -> str | None:
    usb_id = profile.match.get("usb")
    return None if usb_id is None else usb_id.lower()


def _component(place: Place, fit: Fit, port: str | None, candidates: Sequence[Candidate] = ()) -> Component:
    return Component(place.place.component, place.place.device, place.profile.link.kind, fit, port, tuple(candidates))


def _serial(place: Place, census: Census, _: Reach) -> Component:
    usb_id = _usb_of(place.profile)
    if place.port is not None:
        here = [port for port in census.serial if _leads_to(place.port, port)]
        if len(here) > 1:
            return _component(place, Fit.SEVERAL, None, [stable_port(port, census) for port in here])
        if here:
            is_other = usb_id is not None and here[0].usb is not None and here[0].usb.usb_id != usb_id
            fit = Fit.WRONG if is_other else Fit.IN_PLACE
            return _component(place, fit, place.port, [stable_port(here[0], census)])
    fitting = [port for port in census.serial if port.usb is not None and port.usb.usb_id == usb_id]
    return _chosen(place, [stable_port(port, census) for port in fitting])


def _leads_to(port: str, found: SerialFound) -> bool:
    names = [f"/dev/{found.name}", found.by_id, found.by_path]
    return any(name is not None and (name == port or fnmatch.fnmatchcase(name, port)) for name in names)


def _chosen(place: Place, candidates: Sequence[Candidate]) -> Component:
    """For a component whose port is not set, or is set and leads nowhere."""
    if not candidates:
        return _component(place, Fit.MISSING, place.port)
    if len(candidates) > 1:
        return _component(place, Fit.SEVERAL, place.port, candidates)
    return _component(place, Fit.FOUND, candidates[0].port, candidates)


def _usb(place: Place, census: Census, _: Reach) -> Component:
    usb_id, port = _usb_of(place.profile), place.port
    if port is not None and port.startswith("/"):
        here = [one for one in census.usb if any(fnmatch.fnmatchcase(node, Path(port).name) for node in one.nodes)]
    elif port is not None:
        here = [one for one in census.usb if one.place == port]
    else:
        here = [one for one in census.usb if one.usb_id == usb_id]
        candidates = [Candidate(one.place if len(here) > 1 else None, one.place) for one in here]
        if len(here) == 1:
            return _component(place, Fit.IN_PLACE, None, candidates)
        return _chosen(place, candidates)
    if not here:
        elsewhere = [one for one in census.usb if one.usb_id == usb_id]
        return _chosen(place, [Candidate(one.place, one.place) for one in elsewhere])
    fit = Fit.IN_PLACE if usb_id in {None, here[0].usb_id} else Fit.WRONG
    return _component(place, fit, port, [Candidate(port, here[0].place)])


def _card_reader(place: Place, census: Census, _: Reach) -> Component:
    wanted = place.port or str(place.profile.link.options.get("reader", ""))
    fitting = [name for name in census.card_readers or () if wanted in name]
    if not fitting:
        return _component(place, Fit.MISSING, place.port)
    if len(fitting) > 1:
        return _component(place, Fit.SEVERAL, place.port, [Candidate(name, name) for name in fitting])
    return _component(place, Fit.IN_PLACE, place.port, [Candidate(place.port, fitting[0])])


def _network(place: Place, _: Census, reach: Reach) -> Component:
    """A device with an address is there when somebody accepts a connection."""
    options = place.profile.link.options
    address = place.port or str(options.get("host") or "")
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port or int(options.get("port") or 0)
    except ValueError:
        host, port = None, 0
    is_there = bool(host and port) and reach(host or "", port)
    candidates = [Candidate(place.port, address)] if address else []
    return _component(place, Fit.IN_PLACE if is_there else Fit.MISSING, place.port, candidates)


def _node(place: Place, _: Census, __: Reach) -> Component:
    """A camera at a node of this machine; any other is not looked for."""
    port = place.port
    if port is None or not port.startswith("/dev/"):
        return _component(place, Fit.UNCHECKED, port)
    is_there = bool(glob.glob(port))  # noqa: PTH207 - an absolute pattern
    return _component(place, Fit.IN_PLACE if is_there else Fit.MISSING, port, [Candidate(port, port)])


_FINDERS: Mapping[LinkKind, Callable[[Place, Census, Reach], Component]] = MappingProxyType(
    {
        LinkKind.SERIAL: _serial,
        LinkKind.USB: _usb,
        LinkKind.HID: _usb,
        LinkKind.KEYBOARD: _usb,
        LinkKind.PCSC: _card_reader,
        LinkKind.IPP: _network,
        LinkKind.TCP: _network,
        LinkKind.NUT: _network,
        LinkKind.CAMERA: _node,
        LinkKind.NONE: _node,
    }
)


def _is_behind(device: UsbFound, taken: set[str], census: Census) -> bool:
    """Whether one of the device's serial ports, or its card reader, is in use."""
    ports = [port for port in census.serial if port.usb is not None and port.usb.place == device.place]
    return any(_where(port) in taken for port in ports) or ("card reader" in device.kinds and bool(census.card_readers))


def _offered(component: Component, free: Sequence[SerialFound], census: Census) -> Component:
    """A serial device that no name tells from another: the ports that nobody has."""
    if component.kind is not LinkKind.SERIAL or component.fit is not Fit.MISSING or not free:
        return component
    candidates = tuple(stable_port(port, census) for port in free)
    return replace(component, fit=Fit.POSSIBLE, candidates=candidates)


def _apart(found: Sequence[Component]) -> list[Component]:
    """One thing cannot be two components."""
    places = [one.candidates[0].where for one in found if one.fit is Fit.FOUND]
    twice = {where for where in places if places.count(where) > 1}
    return [
        replace(one, fit=Fit.SEVERAL, port=None) if one.fit is Fit.FOUND and one.candidates[0].where in twice else one
        for one in found
    ]
