"""USB devices that a program talks to directly: a pair of bulk pipes, through libusb.

Source: the USB 2.0 specification, chapter 5.8 (bulk), and its printer class (07) for receipt printers. libusb knows
only waiting in a thread: one thread reads for as long as the device is open, another one writes. A device is found by
its ids and its socket; a driver of the kernel that holds it (usblp) is taken off. Never seen on hardware.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import usb.core  # type: ignore[import-untyped]  # pyusb has no types
import usb.util  # type: ignore[import-untyped]  # the same
from usb.backend import libusb1  # type: ignore[import-untyped]  # the same

from agent.links.base import LinkLost, LinkTimeout, WrongPeer
from agent.links.opening import opened
from agent.links.usb_nodes import UsbAddress
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from wire.profile import LinkProfile

BUFFER_BYTES_MAX = 64 * 1_024
_CHUNK_BYTES = 4_096
"""A multiple of every packet size: what does not fit would be an overflow."""
POLL_MS: Final = 100
CLOSE_S: Final = 2.0
_GRACE_S = 0.5
_INTERFACE_MAX, _CLASS_MAX, _ENDPOINT_MAX, _IN = 31, 255, 255, 0x80
_BULK: Final = 2


@dataclass(frozen=True, slots=True)
class UsbSettings:
    """Which pipes: of the interface with this number or class, the first one each way where none is named."""

    interface: int | None = None
    interface_class: int | None = None
    pipe_out: int | None = None
    pipe_in: int | None = None

    @classmethod
    def of(cls, link: LinkProfile) -> UsbSettings:
        """What a profile says.

        Raises:
            ValueError: an option that is none, or out of its range.
        """
        known = {
            "interface": range(_INTERFACE_MAX + 1),
            "interface_class": range(_CLASS_MAX + 1),
            "pipe_out": range(1, _IN),
            "pipe_in": range(_IN + 1, _ENDPOINT_MAX + 1),
        }
        given: dict[str, int] = {}
        for name, value in link.options.items():
            if not isinstance(value, int) or isinstance(value, bool) or value not in known.get(name, ()):
                raise ValueError(f"options.{name}: not understood")
            given[name] = value
        return cls(**given)


Device = Any  # pyusb has no types
Backend = Any  # the same


@dataclass(frozen=True, slots=True)
class _Pipes:
    device: Device
    interface: int
    pipe_out: int
    pipe_in: int
    is_detached: bool


class UsbBulkLink:
    """One device: a `ByteLink`."""

    def __init__(
        self,
        where: UsbAddress,
        usb_id: str | None = None,
        settings: UsbSettings | None = None,
        backend: object | None = None,
    ) -> None:
        """`usb_id` is what has to be there; None: anything. `backend` stands in for libusb (`usb.backend.IBackend`)."""
        self._where = where
        self._usb_id = None if usb_id is None else usb_id.lower()
        self._settings = settings if settings is not None else UsbSettings()
        self._backend = backend
        self._pipes: _Pipes | None = None
        self._pump: _Pump | None = None
        self._writer: DeviceThread | None = None
        self._lost: str | None = None
        self._buffer = bytearray()
        self._readable = asyncio.Event()

    @property
    def name(self) -> str:
        """See `ByteLink`."""
        return str(self._where)

    @property
    def is_open(self) -> bool:
        """See `ByteLink`."""
        return self._pipes is not None and self._lost is None

    async def open(self) -> None:
        """See `ByteLink`.

        Raises:
            WrongPeer: another device is plugged in there.
        """
        await self.close()
        self._pipes = pipes = await opened(self.name, self._open, _let_go)
        self._lost = None
        self._buffer.clear()
        self._readable.clear()
        self._pump = _Pump(pipes, asyncio.get_running_loop(), self._arrived, self._gone, self.name)

    async def read(self, *, timeout_s: float) -> bytes:
        """See `ByteLink`. What came before the device went away is handed over before the loss is raised."""
        if not self._buffer:
            self._check()
            self._readable.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._readable.wait()
            except TimeoutError:
                raise LinkTimeout(f"{self.name}: nothing came in {timeout_s:g} s") from None
        if not self._buffer:
            self._check()
        data = bytes(self._buffer)
        self.discard()
        return data

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        """See `ByteLink`."""
        pipes = self._check()
        if self._writer is None or not self._writer.is_usable:
            self._writer = DeviceThread(f"write {self.name}")
        try:
            async with asyncio.timeout(timeout_s + _GRACE_S):
                await self._writer.call(_send, pipes, data, timeout_s, timeout_s=timeout_s + _GRACE_S)
        except (CallTimeout, TimeoutError, usb.core.USBTimeoutError):
            raise LinkTimeout(f"{self.name}: not taken in {timeout_s:g} s") from None
        except Abandoned:
            raise LinkTimeout(f"{self.name}: an earlier writing hangs") from None
        except usb.core.USBError as error:
            self._lose(_reason(error))
            raise LinkLost(f"{self.name}: {_reason(error)}") from error

    def discard(self) -> int:
        """See `ByteLink`."""
        count = len(self._buffer)
        self._buffer.clear()
        if self._pump is not None:
            self._pump.go_on()
        return count

    async def close(self) -> None:
        """See `ByteLink`."""
        pipes, pump, writer = self._pipes, self._pump, self._writer
        if pipes is None or pump is None:
            return
        self._lose("closed")
        self._pipes = self._pump = self._writer = None
        self._buffer.clear()
        pump.end()
        if writer is not None:
            writer.close(timeout_s=0.0)
        thread = DeviceThread(f"close {self.name}")
        try:
            await thread.call(_end, pump, pipes, timeout_s=CLOSE_S)
        except CallTimeout:
            return  # libusb hangs; opening it again will say so
        finally:
            thread.close(timeout_s=0.0)

    def _open(self) -> _Pipes:
        try:
            found = [
                device
                for device in usb.core.find(find_all=True, backend=self._backend or _libusb())
                if self._where.fits(_place(device), _usb_id(device))
            ]
        except usb.core.NoBackendError:
            raise LinkLost(f"{self.name}: libusb-1.0 is not installed") from None
        if len(found) != 1:
            raise LinkLost(f"{self.name}: {len(found)} devices match")
        (device,) = found
        if self._usb_id not in {None, _usb_id(device)}:
            raise WrongPeer(f"{self.name}: {_usb_id(device)} is there, not {self._usb_id}")
        return _claimed(device, self._settings)

    def _check(self) -> _Pipes:
        if self._pipes is None or self._lost is not None:
            raise LinkLost(f"{self.name}: {self._lost or 'not open'}")
        return self._pipes

    def _arrived(self, pump: _Pump, data: bytes) -> None:
        if pump is not self._pump or self._lost is not None:
            return
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES_MAX:
            pump.pause()  # the device waits: nobody asks it
        self._readable.set()

    def _gone(self, pump: _Pump, reason: str) -> None:
        if pump is self._pump:
            self._lose(reason)

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            self._readable.set()


class _Pump:
    """Asks the device for bytes, again and again, and hands them to the loop."""

    def __init__(
        self,
        pipes: _Pipes,
        loop: asyncio.AbstractEventLoop,
        came: Callable[[_Pump, bytes], None],
        lost: Callable[[_Pump, str], None],
        name: str,
    ) -> None:
        self._pipes = pipes
        self._loop = loop
        self._came = came
        self._lost = lost
        self._is_over = threading.Event()
        self._has_room = threading.Event()
        self._has_room.set()
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        self._has_room.clear()

    def go_on(self) -> None:
        self._has_room.set()

    def end(self) -> None:
        self._is_over.set()
        self._has_room.set()

    def join(self, timeout_s: float) -> bool:
        """Whether it ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        was_halted = False
        while not self._is_over.is_set():
            self._has_room.wait()
            try:
                data = bytes(self._pipes.device.read(self._pipes.pipe_in, _CHUNK_BYTES, timeout=POLL_MS))
            except usb.core.USBTimeoutError:
                continue
            except usb.core.USBError as error:
                if error.errno == errno.EPIPE and not was_halted and self._is_cleared():
                    was_halted = True
                    continue
                self._post(self._lost, self, _reason(error))
                return
            was_halted = False
            if data:
                self._post(self._came, self, data)

    def _is_cleared(self) -> bool:
        """Whether a halted pipe could be set free."""
        try:
            self._pipes.device.clear_halt(self._pipes.pipe_in)
        except usb.core.USBError:
            return False
        return True

    def _post(self, told: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(told, *arguments)


def _libusb() -> Backend:
    """The library under the name Debian gives it: pyusb itself would ask other programs where it is."""
    return libusb1.get_backend(find_library=lambda _: "libusb-1.0.so.0")


def _claimed(device: Device, settings: UsbSettings) -> _Pipes:
    """The pipes of a device, for us alone; a configuration is set only where there is none: setting one is a reset."""
    is_detached = False
    try:
        try:
            configuration = device.get_active_configuration()
        except usb.core.USBError:
            device.set_configuration()
            configuration = device.get_active_configuration()
        interface, pipe_out, pipe_in = _chosen(configuration, settings)
        with suppress(NotImplementedError):
            if device.is_kernel_driver_active(interface):
                device.detach_kernel_driver(interface)
                is_detached = True
        usb.util.claim_interface(device, interface)
    except (usb.core.USBError, LinkLost):
        usb.util.dispose_resources(device)
        raise
    return _Pipes(device, interface, pipe_out, pipe_in, is_detached)


def _chosen(configuration: Any, settings: UsbSettings) -> tuple[int, int, int]:  # noqa: ANN401 - pyusb has no types
    for interface in configuration:
        if settings.interface not in {None, interface.bInterfaceNumber} or interface.bAlternateSetting != 0:
            continue
        if settings.interface_class not in {None, interface.bInterfaceClass}:
            continue
        pipes = [end.bEndpointAddress for end in interface if end.bmAttributes & 3 == _BULK]
        outs = [one for one in pipes if not one & _IN and settings.pipe_out in {None, one}]
        ins = [one for one in pipes if one & _IN and settings.pipe_in in {None, one}]
        if outs and ins:
            return int(interface.bInterfaceNumber), int(outs[0]), int(ins[0])
    raise LinkLost("it has no such bulk pipes")


def _send(pipes: _Pipes, data: bytes, timeout_s: float) -> None:
    rest = memoryview(data)
    while rest:
        count = pipes.device.write(pipes.pipe_out, bytes(rest), timeout=max(1, int(timeout_s * 1_000)))
        if not count:
            raise usb.core.USBTimeoutError("nothing taken")
        rest = rest[count:]


def _end(pump: _Pump, pipes: _Pipes) -> None:
    if pump.join(CLOSE_S):
        _let_go(pipes)


def _let_go(pipes: _Pipes) -> None:
    with suppress(usb.core.USBError):
        usb.util.dispose_resources(pipes.device)
    if pipes.is_detached:
        with suppress(usb.core.USBError, NotImplementedError):
            pipes.device.attach_kernel_driver(pipes.interface)
            usb.util.dispose_resources(pipes.device)


def _place(device: Device) -> str:
    ports = device.port_numbers or ()
    return f"{device.bus}-{'.'.join(str(port) for port in ports)}"


def _usb_id(device: Device) -> str:
    return f"{device.idVendor:04x}:{device.idProduct:04x}"


def _reason(error: usb.core.USBError) -> str:
    return str(error.strerror or "gone")
