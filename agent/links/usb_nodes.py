"""Where a USB device is: its place in the tree of sockets, and the node the kernel made for it.

Source: the kernel's sysfs. A node of `/sys/class/hidraw`, `/sys/class/input` or `/sys/class/tty` leads to a folder
below the device's interface (`1-1.4:1.0`) and that below the device (`1-1.4`: bus 1, socket 1, socket 4 of the hub
there), which has `idVendor`, `idProduct`, `product` and `serial`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYS: Final = Path("/sys")
PLACE: Final = re.compile(r"\d+-\d+(?:\.\d+)*")
_INTERFACE = re.compile(rf"({PLACE.pattern}):\d+\.(\d+)")
_USB_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class UsbNode:
    """One node of one interface of a device."""

    name: str
    """Such as hidraw0."""
    place: str
    interface: int
    usb_id: str
    """vvvv:pppp, hexadecimal."""
    product: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class UsbAddress:
    """Which device is meant: by its ids, by its place, or both."""

    usb_id: str | None
    place: str | None = None

    @classmethod
    def of(cls, usb_id: str | None, port: str | None) -> UsbAddress:
        """`port` is a place in the tree such as 1-1.4; None where the ids are enough.

        Raises:
            ValueError: the ids or the place are none, or there is neither.
        """
        if usb_id is not None and not _USB_ID.fullmatch(usb_id.lower()):
            raise ValueError(f"{usb_id!r} is no vvvv:pppp")
        if port is not None and not PLACE.fullmatch(port):
            raise ValueError(f"{port!r} is no place of a USB socket such as 1-1.4")
        if usb_id is None and port is None:
            raise ValueError("a USB device needs its ids (match.usb) or a place such as 1-1.4")
        return cls(None if usb_id is None else usb_id.lower(), port)

    def __str__(self) -> str:
        return " ".join(part for part in ("usb", self.place, self.usb_id) if part)

    def fits(self, place: str, usb_id: str) -> bool:
        """Whether a device may be the one; at a place, whatever is plugged in there is."""
        if self.place is not None:
            return self.place == place
        return self.usb_id == usb_id


def nodes(kind: str, root: Path = SYS) -> list[UsbNode]:
    """Every node of a kind (`hidraw`, `input`, `tty`, `usbmisc`) that belongs to a USB device, sorted."""
    try:
        names = sorted((root / "class" / kind).iterdir())
    except OSError:
        return []
    found = (_node(path) for path in names)
    return [node for node in found if node is not None]


def found_node(kind: str, prefix: str, address: UsbAddress, interface: int | None, root: Path = SYS) -> UsbNode:
    """The only node that is meant.

    Raises:
        OSError: there is none, or more than one.
    """
    fitting = [
        node
        for node in nodes(kind, root)
        if node.name.startswith(prefix)
        and address.fits(node.place, node.usb_id)
        and interface in {None, node.interface}
    ]
    if len(fitting) != 1:
        raise OSError(f"{len(fitting)} devices match")
    return fitting[0]


def _node(path: Path) -> UsbNode | None:
    try:
        folder = path.resolve(strict=True)
    except OSError:
        return None  # it went away meanwhile
    for above in folder.parents:
        match = _INTERFACE.fullmatch(above.name)
        if match is not None:
            device = above.parent
            usb_id = f"{word_of(device / 'idVendor')}:{word_of(device / 'idProduct')}".lower()
            product, serial = word_of(device / "product"), word_of(device / "serial")
            return UsbNode(path.name, match[1], int(match[2]), usb_id, product, serial)
    return None


def word_of(file: Path) -> str:
    """What a file of sysfs says, without what cannot be shown; empty where there is none."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(one for one in text if one.isprintable()).strip()[:64]
