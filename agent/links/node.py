"""A node below /dev of a USB device: looked up at every opening, and held against the ids that are expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from agent.links.base import WrongPeer
from agent.links.opening import found_port, opened, shut
from agent.links.usb_nodes import SYS, UsbAddress, found_node

DEV: Final = Path("/dev")


class NodePort(Protocol):
    """The kernel's side: what a test without a kernel's device stands in for."""

    def open(self, path: str) -> int:
        """A descriptor that does not block; another program that holds the node is an error. Raises: OSError."""

    def usb_id(self, fd: int) -> str:
        """vvvv:pppp of what was opened. Raises: OSError."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Where the kernel lists nodes of a kind, how they are called, and in which folder of /dev they are."""

    kind: str
    prefix: str
    folder: str


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Which node: a path (a wildcard is allowed), or what is plugged in where.

    `usb_id` is what has to be there; None: anything.
    """

    usb_id: str | None
    path: str | None
    usb: UsbAddress | None
    sys: Path = SYS
    dev: Path = DEV

    @classmethod
    def of(cls, usb_id: str | None, port: str | None, *, sys: Path = SYS, dev: Path = DEV) -> NodeAddress:
        """`port` is a path, a place such as 1-1.4, or None where the ids are enough.

        Raises:
            ValueError: it is neither, or nothing is known of the device.
        """
        is_path = port is not None and port.startswith("/")
        known = None if usb_id is None else usb_id.lower()
        if is_path:
            return cls(known, port, None, sys, dev)
        return cls(known, None, UsbAddress.of(usb_id, port), sys, dev)

    def __str__(self) -> str:
        return self.path if self.path is not None else str(self.usb)


class Node:
    """Opens one node."""

    def __init__(self, kind: NodeKind, where: NodeAddress, interface: int | None, port: NodePort) -> None:
        self._kind = kind
        self._where = where
        self._interface = interface
        self._port = port

    async def opened(self) -> int:
        """The descriptor.

        Raises:
            LinkLost: nothing is there, or it is in use.
            WrongPeer: another device is there.
        """
        return await opened(str(self._where), self._open, shut)

    def _open(self) -> int:
        where = self._where
        fd = self._port.open(self._path())
        try:
            found = self._port.usb_id(fd)
        except OSError:
            shut(fd)
            raise
        if where.usb_id not in {None, found}:
            shut(fd)
            raise WrongPeer(f"{where}: {found} is there, not {where.usb_id}")
        return fd

    def _path(self) -> str:
        where, kind = self._where, self._kind
        if where.usb is None:
            return found_port(where.path or "")
        node = found_node(kind.kind, kind.prefix, where.usb, self._interface, where.sys)
        return str(where.dev / kind.folder / node.name)
