"""HID devices through the kernel's hidraw: one report a reading, one report a writing.

Source: the kernel's Documentation/hid/hidraw.rst. What is written begins with the report's number, 0 for devices
without numbers; what is read has no number there. A writing is a transfer that the kernel waits for, also on a
descriptor that does not block, so it happens in a thread. Never seen on hardware.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections import deque
from dataclasses import dataclass

from agent.links.base import LinkLost, LinkTimeout
from agent.links.descriptor import DescriptorLink
from agent.links.node import Node, NodeAddress, NodeKind, NodePort
from agent.links.opening import shut
from kit.blocking import CallTimeout, DeviceThread
from wire.profile import LinkProfile

HIDRAW = NodeKind("hidraw", "hidraw", "")
REPORT_BYTES = 64
_RAW_INFO = 0x8008_4803  # HIDIOCGRAWINFO: bus (u32), vendor, product (s16)
_INFO = struct.Struct("=IHH")


class KernelHidPort:
    """hidraw itself."""

    def open(self, path: str) -> int:
        """See `NodePort`."""
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            shut(fd)
            raise
        return fd

    def usb_id(self, fd: int) -> str:
        """See `NodePort`."""
        _, vendor, product = _INFO.unpack(fcntl.ioctl(fd, _RAW_INFO, bytes(_INFO.size)))
        return f"{vendor:04x}:{product:04x}"


@dataclass(frozen=True, slots=True)
class HidSettings:
    """What the link has to know of a model."""

    report_bytes: int = REPORT_BYTES
    report_number: int = 0
    interface: int | None = None

    @classmethod
    def of(cls, link: LinkProfile) -> HidSettings:
        """What a profile says.

        Raises:
            ValueError: an option that is none, or out of its range.
        """
        known = {"report_bytes": (1, 4_096), "report_number": (0, 255), "interface": (0, 31)}
        given: dict[str, int] = {}
        for name, value in link.options.items():
            low, high = known.get(name, (0, -1))
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"options.{name}: not understood")
            given[name] = value
        return cls(**given)


class HidrawLink(DescriptorLink):
    """One device; `read` gives exactly one report."""

    def __init__(
        self,
        where: NodeAddress,
        settings: HidSettings | None = None,
        port: NodePort | None = None,
    ) -> None:
        super().__init__(str(where))
        self._settings = settings if settings is not None else HidSettings()
        self._node = Node(HIDRAW, where, self._settings.interface, port if port is not None else KernelHidPort())
        self._reports: deque[int] = deque()
        self._thread: DeviceThread | None = None

    async def open(self) -> None:
        """See `ByteLink`."""
        await self.close()
        fd = await self._node.opened()
        self._reports.clear()
        self._attach(fd)

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        """See `ByteLink`; `data` are whole reports."""
        step = self._settings.report_bytes
        for start in range(0, len(data), step):
            await self._write_report(data[start : start + step], timeout_s)

    async def _write_report(self, report: bytes, timeout_s: float) -> None:
        fd = self._check()
        if self._thread is None or not self._thread.is_usable:
            self._thread = DeviceThread(f"write {self.name}")
        try:
            numbered = bytes((self._settings.report_number,)) + report
            await self._thread.call(os.write, fd, numbered, timeout_s=timeout_s)
        except CallTimeout:
            raise LinkTimeout(f"{self.name}: a report was not taken in {timeout_s:g} s") from None
        except BlockingIOError:
            raise LinkTimeout(f"{self.name}: a report was not taken") from None
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            self._lose(reason)
            raise LinkLost(f"{self.name}: {reason}") from error

    async def close(self) -> None:
        """See `ByteLink`."""
        fd, thread, self._thread = self._fd, self._thread, None
        self._detach()
        self._reports.clear()
        if thread is not None:
            thread.close(timeout_s=0.0)
        if fd is not None:
            shut(fd)

    def discard(self) -> int:
        """See `ByteLink`: all reports that are there, not only the first."""
        while self.is_open and self._is_watching:
            before = len(self._buffer)
            self._arrived()
            if len(self._buffer) == before:
                break
        count = len(self._buffer)
        self._buffer.clear()
        self._reports.clear()
        self._watch()
        return count

    def _keep(self, data: bytes) -> None:
        super()._keep(data)
        self._reports.append(len(data))

    def _taken(self) -> bytes:
        length = self._reports.popleft()
        report = bytes(self._buffer[:length])
        del self._buffer[:length]
        return report
