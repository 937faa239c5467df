"""Serial ports: UARTs, USB-CDC and USB adapters; pyserial sets them up, the loop moves the bytes.

Opening and closing a port may hang in a driver, so both happen in a thread of their own. A port is taken for
itself alone; a port named with a wildcard is looked up at every opening, so that a device that came back under
another number is found by its name in /dev/serial/by-id.
"""

from __future__ import annotations

import os
import termios
import threading
from contextlib import suppress
from dataclasses import dataclass

import serial

from agent.links.base import LinkLost
from agent.links.descriptor import DescriptorLink
from agent.links.opening import found_port
from kit.blocking import CallTimeout, DeviceThread
from wire.profile import LinkProfile

OPEN_S = 5.0
CLOSE_S = 2.0
BAUD = 115_200
_VMIN, _CONTROL_CHARACTERS = termios.VMIN, 6


@dataclass(frozen=True, slots=True)
class SerialSettings:
    """The numbers of a line; the defaults are 115200 8N1 without flow control."""

    baud: int = BAUD
    byte_bits: int = serial.EIGHTBITS
    parity: str = serial.PARITY_NONE
    stop_bits: float = serial.STOPBITS_ONE
    rts_cts: bool = False
    xon_xoff: bool = False

    @classmethod
    def of(cls, link: LinkProfile) -> SerialSettings:
        """What a profile says; options it does not name keep their defaults."""
        options = link.options
        return cls(
            baud=link.baud if link.baud is not None else BAUD,
            byte_bits=int(options.get("byte_bits") or serial.EIGHTBITS),
            parity=str(options.get("parity") or serial.PARITY_NONE),
            stop_bits=float(options.get("stop_bits") or serial.STOPBITS_ONE),
            rts_cts=options.get("rts_cts") is True,
            xon_xoff=options.get("xon_xoff") is True,
        )


class SerialLink(DescriptorLink):
    """One serial port."""

    def __init__(self, port: str, settings: SerialSettings | None = None) -> None:
        super().__init__(port)
        self._settings = settings if settings is not None else SerialSettings()
        self._serial: serial.Serial | None = None

    async def open(self) -> None:
        """See `ByteLink`."""
        await self.close()
        attempt = _Attempt(self.name, self._settings)
        thread = DeviceThread(f"open {self.name}")
        opened: serial.Serial | None = None
        try:
            opened = await thread.call(attempt.run, timeout_s=OPEN_S)
        except CallTimeout:
            raise LinkLost(f"{self.name}: not opened in {OPEN_S:g} s") from None
        except (OSError, ValueError, termios.error) as error:
            raise LinkLost(f"{self.name}: {_reason(error)}") from error
        finally:
            thread.close(timeout_s=0.0)
            if opened is None:
                attempt.give_up()
        self._serial = opened
        self._attach(opened.fileno())

    async def close(self) -> None:
        """See `ByteLink`. What was written and has not left the port yet is dropped."""
        port, self._serial = self._serial, None
        self._detach()
        if port is None:
            return
        thread = DeviceThread(f"close {self.name}")
        try:
            await thread.call(_close, port, timeout_s=CLOSE_S)
        except CallTimeout:
            return  # the driver hangs; opening it again will say so
        finally:
            thread.close(timeout_s=0.0)


class _Attempt:
    """One opening; a port that comes too late, or that nobody waits for any more, is closed again."""

    def __init__(self, port: str, settings: SerialSettings) -> None:
        self._port = port
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: serial.Serial | None = None
        self._is_wanted = True

    def run(self) -> serial.Serial:
        settings = self._settings
        opened = serial.Serial(
            found_port(self._port),
            baudrate=settings.baud,
            bytesize=settings.byte_bits,
            parity=settings.parity,
            stopbits=settings.stop_bits,
            rtscts=settings.rts_cts,
            xonxoff=settings.xon_xoff,
            timeout=0,
            write_timeout=0,
            exclusive=True,
        )
        with suppress(termios.error):  # then nothing to read looks like a hang-up only where nothing can come
            attributes = termios.tcgetattr(opened.fileno())
            attributes[_CONTROL_CHARACTERS][_VMIN] = 1
            termios.tcsetattr(opened.fileno(), termios.TCSANOW, attributes)
            termios.tcflush(opened.fileno(), termios.TCIOFLUSH)
        with self._lock:
            self._opened = opened
            is_wanted = self._is_wanted
        if not is_wanted:
            _close(opened)
        return opened

    def give_up(self) -> None:
        with self._lock:
            self._is_wanted = False
            opened = self._opened
        if opened is not None:
            threading.Thread(target=_close, args=(opened,), name=f"close {self._port}", daemon=True).start()


def _close(port: serial.Serial) -> None:
    with suppress(OSError, termios.error):
        termios.tcflush(port.fileno(), termios.TCIOFLUSH)  # a close waits for what was not sent, up to 30 s
    with suppress(OSError):
        port.close()


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else str(error) or type(error).__name__
