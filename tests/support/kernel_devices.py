"""Devices that a program makes in the kernel: a keyboard by uinput, a HID device by uhid.

Sources: the kernel's include/uapi/linux/uinput.h and uhid.h. On a machine whose kernel has neither, or without rights,
they raise `NoKernelDeviceError`, which ends a test as skipped with this line as the reason.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections import deque
from pathlib import Path

from simulators.devices.transports import Core

_SYS = Path("/sys")
_USB_BUS = 3
_KEYS_MAX, _KEY_S = 249, 0.001
_UI_SETUP, _UI_CREATE, _UI_DESTROY = 0x405C_5503, 0x5501, 0x5502
_UI_EVENT_BIT, _UI_KEY_BIT, _UI_SYSNAME = 0x4004_5564, 0x4004_5565, 0x8040_552C
_DESTROY, _OUTPUT, _CREATE2, _INPUT2 = 1, 6, 11, 12
_EVENT_BYTES = 4 + 128 + 64 + 64 + 2 + 2 + 4 * 4 + 4_096
_OUTPUT_BYTES = 4_096
_IMPORTED_BYTES = 8 + 256 + 32 + 24
_REPORTS = bytes.fromhex("0600FF0901A101150026FF007508954009018102954009019102C0")
"""Vendor's own: 64 bytes in, 64 bytes out, without numbers."""


class NoKernelDeviceError(Exception):
    """This machine's kernel cannot make such a device; the text says what is missing."""


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NoKernelDeviceError(f"{path}: {error.strerror}: the kernel's module is needed") from None


def _ids(usb_id: str) -> tuple[int, int]:
    vendor, _, product = usb_id.partition(":")
    return int(vendor, 16), int(product, 16)


def attach_usb(host: str, port: int) -> None:
    """Let the kernel's vhci_hcd import the USB device that is served there (USB/IP); blocking."""
    ports = sorted(Path("/sys/devices/platform").glob("vhci_hcd.*"))
    if not ports:
        raise NoKernelDeviceError("/sys/devices/platform/vhci_hcd.0: the kernel's module vhci_hcd is needed")
    with socket.create_connection((host, port), timeout=5.0) as link:
        link.sendall(struct.pack(">HHI32s", 0x0111, 0x8003, 0, b"1-1"))
        answer = b""
        while len(answer) < _IMPORTED_BYTES:
            answer += link.recv(_IMPORTED_BYTES - len(answer))
        bus, number, speed = struct.unpack_from(">III", answer, 8 + 256 + 32)
        link.settimeout(None)
        rows = (ports[0] / "status").read_text(encoding="ascii").splitlines()[1:]
        free = next(row.split() for row in rows if row.split()[0] == "hs" and row.split()[2] == "004")
        (ports[0] / "attach").write_text(
            f"{int(free[1])} {link.fileno()} {bus << 16 | number} {speed}", encoding="ascii"
        )


class UinputKeyboard:
    """A keyboard of the kernel's; what a simulated scanner sends is typed on it, one key a millisecond as on USB.

    Faster, the kernel drops keys: it keeps 64 events for who listens.
    """

    def __init__(self, core: Core, usb_id: str) -> None:
        self._core = core
        self._fd = _opened("/dev/uinput")
        fcntl.ioctl(self._fd, _UI_EVENT_BIT, 1)
        for code in range(1, _KEYS_MAX):
            fcntl.ioctl(self._fd, _UI_KEY_BIT, code)
        fcntl.ioctl(self._fd, _UI_SETUP, struct.pack("=4H80sI", _USB_BUS, *_ids(usb_id), 1, b"scanner", 0))
        fcntl.ioctl(self._fd, _UI_CREATE)
        name = fcntl.ioctl(self._fd, _UI_SYSNAME, bytes(64)).rstrip(b"\0").decode("ascii")
        (node,) = (_SYS / "devices/virtual/input" / name).glob("event*")
        self.path = f"/dev/input/{node.name}"
        self._keys: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        core.connected(self._typed)

    def _typed(self, data: bytes) -> None:
        self._keys.append(data)
        if len(self._keys) == 1:
            self._loop.call_later(_KEY_S, self._next)

    def _next(self) -> None:
        if self._fd >= 0 and self._keys:
            os.write(self._fd, self._keys.popleft())
            self._loop.call_later(_KEY_S, self._next)

    def type_at_once(self) -> None:
        """Type everything that waits without a pause."""
        while self._keys:
            os.write(self._fd, self._keys.popleft())

    def unplug(self) -> None:
        """Take it away."""
        if self._fd >= 0:
            fcntl.ioctl(self._fd, _UI_DESTROY)
            os.close(self._fd)
            self._fd = -1


class UhidDevice:
    """A HID device of the kernel's; reports go to a simulated device and come from it."""

    def __init__(self, core: Core, usb_id: str) -> None:
        self._core = core
        self._fd = _opened("/dev/uhid")
        vendor, product = _ids(usb_id)
        names = struct.pack("=128s64s64s", b"reader", b"", b"")
        sizes = struct.pack("=HHIIII", len(_REPORTS), _USB_BUS, vendor, product, 1, 0)
        os.write(self._fd, struct.pack("=I", _CREATE2) + names + sizes + _REPORTS.ljust(4_096, b"\0"))
        self.usb_id = usb_id
        core.connected(self._send)
        asyncio.get_running_loop().add_reader(self._fd, self._arrived)

    def node(self) -> str | None:
        """Its hidraw node; None until the kernel made it."""
        vendor, product = _ids(self.usb_id)
        found = list((_SYS / "devices/virtual/misc/uhid").glob(f"0003:{vendor:04X}:{product:04X}.*/hidraw/hidraw*"))
        return f"/dev/{found[-1].name}" if found else None

    def _send(self, report: bytes) -> None:
        os.write(self._fd, struct.pack("=IH", _INPUT2, len(report)) + report.ljust(4_096, b"\0"))

    def _arrived(self) -> None:
        event = os.read(self._fd, _EVENT_BYTES)
        if int.from_bytes(event[:4], "little") == _OUTPUT:
            size = int.from_bytes(event[4 + _OUTPUT_BYTES : 6 + _OUTPUT_BYTES], "little")
            self._core.received(event[4 : 4 + size])

    def unplug(self) -> None:
        """Take it away."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.write(self._fd, struct.pack("=I", _DESTROY))
            os.close(self._fd)
            self._fd = -1
