"""A scanner that pretends to be a keyboard, taken away from everybody else: what is scanned reaches no page.

Source: the kernel's Documentation/input/input.rst and include/uapi/linux/input.h: EVIOCGRAB gives all events of a
device to one descriptor. As long as nobody holds it, the keys go to the screen: a udev rule keeps the device from the
desktop as well. Keys are only taken; nothing can be said to such a scanner. Never seen on hardware.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass

from agent.links.base import LinkError
from agent.links.descriptor import DescriptorLink
from agent.links.keymap import AltCodes, Typist
from agent.links.node import Node, NodeAddress, NodeKind, NodePort
from agent.links.opening import shut
from wire.profile import LinkProfile

EVENTS = NodeKind("input", "event", "input")
_INTERFACE_MAX = 31
_GRAB = 0x4004_4590  # EVIOCGRAB
_IDS = 0x8008_4502  # EVIOCGID: bus, vendor, product, version (u16)
_ID_FIELDS = struct.Struct("=4H")


class KernelKeyboardPort:
    """evdev itself."""

    def open(self, path: str) -> int:
        """See `NodePort`."""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _GRAB, 1)
        except OSError:
            shut(fd)
            raise
        return fd

    def usb_id(self, fd: int) -> str:
        """See `NodePort`."""
        _, vendor, product, _ = _ID_FIELDS.unpack(fcntl.ioctl(fd, _IDS, bytes(_ID_FIELDS.size)))
        return f"{vendor:04x}:{product:04x}"


@dataclass(frozen=True, slots=True)
class KeyboardSettings:
    """What the link has to know of a model."""

    alt_codes: AltCodes = AltCodes.GBK
    interface: int | None = None

    @classmethod
    def of(cls, link: LinkProfile) -> KeyboardSettings:
        """What a profile says.

        Raises:
            ValueError: an option that is none, or out of its range.
        """
        unknown = link.options.keys() - {"alt_codes", "interface"}
        if unknown:
            raise ValueError(f"options.{min(unknown)}: not understood")
        interface = link.options.get("interface")
        if interface is not None and (not isinstance(interface, int) or not 0 <= interface <= _INTERFACE_MAX):
            raise ValueError("options.interface: not understood")
        return cls(AltCodes(str(link.options.get("alt_codes", AltCodes.GBK))), interface)


class KeyboardLink(DescriptorLink):
    """One scanner; what it types comes as bytes, Enter as CR."""

    def __init__(
        self, where: NodeAddress, settings: KeyboardSettings | None = None, port: NodePort | None = None
    ) -> None:
        super().__init__(str(where))
        chosen = settings if settings is not None else KeyboardSettings()
        self._node = Node(EVENTS, where, chosen.interface, port if port is not None else KernelKeyboardPort())
        self._typist = Typist(chosen.alt_codes)

    async def open(self) -> None:
        """See `ByteLink`."""
        await self.close()
        fd = await self._node.opened()
        self._typist.reset()
        self._attach(fd)

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        """See `ByteLink`; a keyboard takes nothing.

        Raises:
            LinkError: always.
        """
        del data, timeout_s
        self._check()
        raise LinkError(f"{self.name}: a keyboard takes no bytes")

    async def close(self) -> None:
        """See `ByteLink`; with it the events are everybody's again."""
        fd = self._fd
        self._detach()
        if fd is not None:
            shut(fd)

    def _keep(self, data: bytes) -> None:
        super()._keep(self._typist.feed(data))
