"""What is plugged into this machine, without a byte to any of it: sysfs, names of ports, names of card readers.

Sources: the kernel's sysfs (see `usb_nodes`), udev's links in /dev/serial, and PC/SC's list of readers, which the
daemon answers by itself. An address on the network is only looked up by connecting and closing again.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.links.node import DEV
from agent.links.usb_nodes import SYS, UsbNode, nodes, word_of

REACH_S: Final = 2.0
_CLASSES = {
    "01": "audio",
    "03": "hid",
    "07": "printer",
    "08": "storage",
    "09": "hub",
    "0b": "card reader",
    "0e": "video",
}
_PORT = re.compile(r"tty(USB|ACM|S|AMA|GS|mxc)\d+")
_MASK, _NO_READERS = 0xFFFF_FFFF, 0x8010_002E
_NODE_KINDS = ("hidraw", "input", "tty", "usbmisc")


@dataclass(frozen=True, slots=True)
class UsbFound:
    """One USB device."""

    place: str
    usb_id: str
    product: str
    serial: str
    kinds: tuple[str, ...]
    """What its interfaces are: `hid`, `printer`, `vendor`…"""
    nodes: tuple[str, ...]
    """What the kernel made of it: hidraw0, ttyUSB1…"""


@dataclass(frozen=True, slots=True)
class SerialFound:
    """One serial port."""

    name: str
    """ttyUSB0: may be another one after the next start."""
    by_id: str | None
    by_path: str | None
    usb: UsbFound | None


@dataclass(frozen=True, slots=True)
class Census:
    """Everything."""

    usb: tuple[UsbFound, ...]
    serial: tuple[SerialFound, ...]
    card_readers: tuple[str, ...] | None
    """None: the service does not run, or cannot be asked."""


def take_census(sys: Path = SYS, dev: Path = DEV, card_readers: Sequence[str] | None = None) -> Census:
    """Look around."""
    usb = usb_devices(sys)
    return Census(usb, serial_ports(usb, sys, dev), None if card_readers is None else tuple(card_readers))


def usb_devices(sys: Path = SYS) -> tuple[UsbFound, ...]:
    """Every USB device; hubs and the machine's own roots are left out."""
    made: dict[str, list[str]] = {}
    for kind in _NODE_KINDS:
        for node in nodes(kind, sys):
            made.setdefault(node.place, []).append(node.name)
    try:
        folders = sorted((sys / "bus" / "usb" / "devices").iterdir(), key=lambda path: _natural(path.name))
    except OSError:
        return ()
    found = []
    for folder in folders:
        vendor, product = word_of(folder / "idVendor"), word_of(folder / "idProduct")
        if ":" in folder.name or folder.name.startswith("usb") or not vendor or not product:
            continue
        classes = sorted({word_of(path / "bInterfaceClass") for path in folder.glob(f"{folder.name}:*")} - {""})
        if classes == ["09"]:
            continue
        found.append(
            UsbFound(
                folder.name,
                f"{vendor}:{product}".lower(),
                word_of(folder / "product"),
                word_of(folder / "serial"),
                tuple(_CLASSES.get(one, "vendor") for one in classes),
                tuple(sorted(made.get(folder.name, ()))),
            )
        )
    return tuple(found)


def serial_ports(usb: Sequence[UsbFound], sys: Path = SYS, dev: Path = DEV) -> tuple[SerialFound, ...]:
    """Serial ports with something behind them, and the names udev gave them."""
    owners: dict[str, UsbNode] = {node.name: node for node in nodes("tty", sys)}
    devices = {device.place: device for device in usb}
    by_id, by_path = _links(dev / "serial" / "by-id"), _links(dev / "serial" / "by-path")
    try:
        names = sorted((path.name for path in (sys / "class" / "tty").iterdir()), key=_natural)
    except OSError:
        return ()
    found = []
    for name in names:
        owner = owners.get(name)
        if _PORT.fullmatch(name) and (owner is not None or _has_uart(sys / "class" / "tty" / name)):
            device = None if owner is None else devices.get(owner.place)
            found.append(SerialFound(name, by_id.get(name), by_path.get(name), device))
    return tuple(found)


def card_reader_names() -> list[str] | None:
    """What PC/SC lists; None without the library or the service. Blocking."""
    try:
        from smartcard import scard  # type: ignore[import-untyped]  # noqa: PLC0415 - pyscard; only here
    except ImportError:
        return None
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if code != scard.SCARD_S_SUCCESS:
        return None
    try:
        code, readers = scard.SCardListReaders(context, [])
    finally:
        scard.SCardReleaseContext(context)
    if code & _MASK == _NO_READERS:
        return []
    return list(readers) if code == scard.SCARD_S_SUCCESS else None


def is_reachable(host: str, port: int, *, timeout_s: float = REACH_S) -> bool:
    """Whether somebody accepts a connection there; nothing is said. Blocking."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _links(folder: Path) -> dict[str, str]:
    """Name of a port -> the link that leads to it."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for link in sorted(folder.iterdir()):
            with suppress(OSError):
                found.setdefault(link.resolve(strict=True).name, str(link))
    return found


def _has_uart(folder: Path) -> bool:
    """A UART that was found, not one of the places the kernel keeps for them."""
    kind = word_of(folder / "type")
    return kind not in {"", "0"} if (folder / "type").exists() else (folder / "device").exists()


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else -1, part) for part in re.findall(r"\d+|\D+", name)]
