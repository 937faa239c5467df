"""The part of a device that takes new firmware: a boot loader that speaks YMODEM, around any simulated device.

Written from C. Forsberg, "XMODEM/YMODEM Protocol Reference" (1988). The command that wakes it and the form of an image
are this laboratory's own: vendors do not publish theirs. An image is `LABF`, the model (16 bytes), the version (16
bytes), the length and the CRC-32 of what follows, both little-endian. The first data block erases the old program: a
device that loses its power afterwards has nothing but its boot loader left.
"""

from __future__ import annotations

import asyncio
import random
import struct
from binascii import crc32, crc_hqx
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

WAKE = bytes.fromhex("1b4c41422d464c41534821")
"""What wakes it: an escape, then `LAB-FLASH!`."""
_MAGIC, _HEAD = b"LABF", struct.Struct("<4s16s16sII")
_SOH, _STX, _EOT, _ACK, _NAK, _CAN, _ASK = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18, 0x43
_LENGTHS = {_SOH: 128, _STX: 1_024}
_FRAME = 5
"""Mark, number, its complement and two bytes of CRC."""
_WITHIN_S = 1.0
"""A block whose next byte takes longer is given up (chapter 7: a second between characters)."""
_IMAGE_MAX = 32 * 1_048_576


class BootFault(StrEnum):
    """What can be made to go wrong while firmware is taken; `block` says at which data block."""

    DEAF = "deaf"
    """The command to wake up does nothing."""
    NAK = "nak"
    """The block is refused, as if a bit had fallen over."""
    LOST_ACK = "lost_ack"
    """The block is taken and nothing is said."""
    CANCEL = "cancel"
    """It gives up."""
    SILENT = "silent"
    """It says nothing more until it is switched off and on."""
    POWER_CUT = "power_cut"
    """It loses its power."""
    BAD_IMAGE = "bad_image"
    """What was written turns out wrong at the end; it stays in its boot loader."""
    KEEPS_OLD = "keeps_old"
    """It takes everything, and runs what it ran before."""


class Core(Protocol):
    """See `transports.Core`."""

    def connected(self, send: Callable[[bytes], None]) -> None:
        """A host may be there."""

    def received(self, data: bytes) -> None:
        """Bytes from the host."""


def image_of(model: str, version: str, size_bytes: int = 40_000, seed: int = 7) -> bytes:
    """An image; the same arguments always give the same bytes."""
    body = random.Random(f"{model} {version} {seed}").randbytes(size_bytes)
    return _HEAD.pack(_MAGIC, model.encode("ascii"), version.encode("ascii"), len(body), crc32(body)) + body


@dataclass(slots=True)
class _Scripted:
    fault: BootFault
    block: int
    times: int


class BootLoader:
    """A `Core` in front of a device's own. `installed` hears of the version that runs from now on."""

    def __init__(
        self, device: Core, model: str, installed: Callable[[str], None], *, ask_s: float = 0.5, boot_s: float = 0.2
    ) -> None:
        self.device = device
        self.model = model
        self.is_awake = False
        """Whether the boot loader has the line."""
        self.is_erased = False
        """Whether there is nothing else to run."""
        self.flashed = self.asked = self.blocks = self.starts = 0
        self.leave: Callable[[], None] | None = None
        """What a device does whose boot loader is another device of the bus; it asks once it is plugged in again."""
        self._installed = installed
        self._ask_s, self._boot_s = ask_s, boot_s
        self._scripts: list[_Scripted] = []
        self._send: Callable[[bytes], None] = lambda _: None
        self._timer: asyncio.TimerHandle | None = None
        self._is_dead = False
        self._tail = b""
        self._heard_s = 0.0
        self._forget()

    # --- what testers do ---------------------------------------------------------------------------------

    def script(self, fault: BootFault, *, block: int = 1, times: int = 1) -> None:
        """Let a fault happen at a data block (1 is the first); `times` for NAK and LOST_ACK."""
        self._scripts.append(_Scripted(fault, block, times))

    @property
    def scripted(self) -> tuple[BootFault, ...]:
        """What is still to happen."""
        return tuple(script.fault for script in self._scripts if script.times > 0)

    def repair(self) -> None:
        """Forget all scripted faults, and switch it on again."""
        self._scripts.clear()
        if self._is_dead:
            self.power_cycle()

    def power_cycle(self) -> None:
        """Off and on: it runs its program, or its boot loader where there is none."""
        self.starts += 1
        self._forget()
        self._is_dead = False
        self._sleep()
        if self.is_erased:
            self._wake()
        else:
            self.device.connected(self._send_of_device)

    # --- Core ----------------------------------------------------------------------------------------------

    def connected(self, send: Callable[[bytes], None]) -> None:
        """See `Core`."""
        self._send = send
        if self.is_awake:
            self._ask()
        elif not self._is_dead:
            self.device.connected(self._send_of_device)

    def received(self, data: bytes) -> None:
        """See `Core`."""
        if self._is_dead:
            return
        if self.is_awake:
            self._feed(data)
            return
        self._tail = (self._tail + data)[-2 * len(WAKE) :]
        if WAKE not in self._tail:
            self.device.received(data)
            return
        self._tail = b""
        if self._due(BootFault.DEAF, 0) is None:
            self._wake()

    def close(self) -> None:
        """No timer is left."""
        self._sleep()

    def _send_of_device(self, data: bytes) -> None:
        if not self.is_awake and not self._is_dead:
            self._send(data)

    # --- its life --------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self.is_awake = True
        self._forget()
        if self.leave is None:
            self._ask()
        else:
            self.leave()

    def _sleep(self) -> None:
        self.is_awake = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        """`C` again and again, until a file begins; not into the middle of a block."""
        if asyncio.get_running_loop().time() - self._heard_s > _WITHIN_S:
            self._buffer.clear()
        if self._expected == 0 and not self._buffer and not self._is_dead:
            self.asked += 1
            self._send(bytes((_ASK,)))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._ask_s, self._ask)

    def _forget(self) -> None:
        self._buffer = bytearray()
        self._image = bytearray()
        self._size = 0
        self._expected = 0
        self._eots = self._cancels = 0
        self._is_over = False

    def _die(self) -> None:
        self._is_dead = True
        self._sleep()

    # --- YMODEM ------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._heard_s > _WITHIN_S:
            self._buffer.clear()
        self._heard_s = now_s
        self._buffer += data
        while self._buffer and self.is_awake and not self._is_dead:
            mark = self._buffer[0]
            if mark in _LENGTHS:
                length = _LENGTHS[mark] + _FRAME
                if len(self._buffer) < length:
                    return
                block = bytes(self._buffer[:length])
                del self._buffer[:length]
                self._block(block)
            else:
                del self._buffer[:1]
                self._control(mark)

    def _control(self, mark: int) -> None:
        if mark == _CAN:
            self._cancels += 1
            if self._cancels == 2:  # noqa: PLR2004 - a pair means it
                self._forget()
            return
        self._cancels = 0
        if mark == _EOT and self._expected > 0:
            self._eots += 1
            if self._eots == 1:
                self._say(_NAK)  # once more, to be sure it was no noise
                return
            self._is_over = True
            self._say(_ACK, _ASK)

    def _block(self, block: bytes) -> None:
        self._cancels = 0
        number, complement, body, check = block[1], block[2], block[3:-2], block[-2:]
        if number ^ complement != 0xFF or crc_hqx(body, 0).to_bytes(2, "big") != check:  # noqa: PLR2004 - all bits
            self._say(_NAK)
        elif self._is_over:
            self._say(_ACK)
            self._finish()
        elif self._expected == 0:
            self._header(body)
        elif number == (self._expected - 1) & 0xFF:
            self._say(_ACK)  # known already: our answer was lost
        elif number != self._expected & 0xFF:
            self._cancel()
        else:
            self._data(body)

    def _header(self, body: bytes) -> None:
        size = body.partition(b"\0")[2].partition(b"\0")[0].split(b" ")[0]
        if not size.isdigit() or not _HEAD.size < int(size) <= _IMAGE_MAX:
            self._cancel()
            return
        self._size, self._expected = int(size), 1
        self._say(_ACK, _ASK)

    def _data(self, body: bytes) -> None:
        number = self._expected
        if self._due(BootFault.CANCEL, number):
            self._cancel()
            return
        if self._due(BootFault.NAK, number):
            self._say(_NAK)
            return
        self.is_erased = True
        if self._due(BootFault.SILENT, number) or self._due(BootFault.POWER_CUT, number):
            self._die()
            return
        self._image += body
        self._expected += 1
        self.blocks += 1
        if number == 1 and self._image[4:20].rstrip(b"\0") != self.model.encode("ascii"):
            self._cancel()
        elif not self._due(BootFault.LOST_ACK, number):
            self._say(_ACK)

    def _finish(self) -> None:
        """Check what was written and run it; a wrong image leaves the boot loader waiting for a better one."""
        image, is_bad = bytes(self._image[: self._size]), self._due(BootFault.BAD_IMAGE, 0)
        magic, _, version, length, check = _HEAD.unpack(image[: _HEAD.size])
        body = image[_HEAD.size :]
        self._forget()
        if is_bad or magic != _MAGIC or len(body) != length or crc32(body) != check:
            return
        self.is_erased = False
        self.flashed += 1
        self._die()
        if not self._due(BootFault.KEEPS_OLD, 0):
            self._installed(version.rstrip(b"\0").decode("ascii"))
        self._timer = asyncio.get_running_loop().call_later(self._boot_s, self.power_cycle)

    def _cancel(self) -> None:
        self._send(bytes((_CAN, _CAN)))
        self._forget()

    def _say(self, *answers: int) -> None:
        self._send(bytes(answers))

    def _due(self, fault: BootFault, block: int) -> BootFault | None:
        for script in self._scripts:
            if script.fault is fault and script.times > 0 and script.block in {0, block, block or script.block}:
                script.times -= 1
                return fault
        return None
