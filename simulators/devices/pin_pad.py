"""An encrypting PIN pad without the pad: GZ-B framing, 3DES with a test key, ISO 9564 blocks of format 0.

The key is a test key and public; the PIN leaves the simulated pad only inside the block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

TEST_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
_OK, _BAD, _TIMEOUT, _NO_KEY, _UNKNOWN = 0x04, 0x15, 0x80, 0xA4, 0xE0
_STATUS, _ENTER, _CANCEL = 0x30, 0x35, 0x36
_KEY, _ERASE, _ABORT = b"\x2a", b"\x08", b"\x1b"
_HALF = 8


class PadFault(StrEnum):
    """What can be made to go wrong."""

    SILENT = "silent"
    MASTER_KEY_INVALID = "master_key_invalid"
    CLEAR_DIGITS = "clear_digits"
    BAD_CHECK = "bad_check"
    NOISE = "noise"


def block_of(pin: str, account: str) -> bytes:
    """The clear block of format 0: PIN field XOR account field."""
    pin_field = bytes.fromhex(f"0{len(pin):x}{pin}".ljust(16, "F"))
    account_field = bytes.fromhex(account.rjust(16, "0"))
    return bytes(a ^ b for a, b in zip(pin_field, account_field, strict=True))


def encrypt(block: bytes, key: bytes = TEST_KEY) -> bytes:
    """Encrypt one block with a double-length key."""
    worker = Cipher(TripleDES(key + key[:_HALF]), modes.ECB()).encryptor()  # noqa: S305 - one block, as the standard has it
    return worker.update(block) + worker.finalize()


def decrypt(block: bytes, key: bytes = TEST_KEY) -> bytes:
    """What an acquirer's security module would see."""
    worker = Cipher(TripleDES(key + key[:_HALF]), modes.ECB()).decryptor()  # noqa: S305 - see above
    return worker.update(block) + worker.finalize()


@dataclass(slots=True)
class PinPadCore:
    """State of the pad. `press` is the patient's finger."""

    up: set[PadFault] = field(default_factory=set)
    is_entering: bool = False
    _account: str = ""
    _limits: tuple[int, int] = (4, 6)
    _pin: str = field(default="", repr=False)
    _buffer: bytes = field(default=b"", repr=False)
    _send: Callable[[bytes], None] = field(default=lambda _: None, repr=False)

    def connected(self, send: Callable[[bytes], None]) -> None:
        """See `transports.Core`."""
        self._send, self._buffer = send, b""

    def received(self, data: bytes) -> None:
        """See `transports.Core`."""
        self._buffer += data
        while len(self._buffer) >= 2 and len(self._buffer) >= self._buffer[1] + 3:  # noqa: PLR2004 - head and check
            size = self._buffer[1] + 3
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if PadFault.SILENT not in self.up:
                self._obey(frame[2], frame[3:-1])

    def press(self, keys: str) -> None:
        """Press digits, `C` to erase, `X` to cancel, `E` for enter."""
        for key in keys if self.is_entering else "":
            match key:
                case "C":
                    self._pin = ""
                    self._answer(_OK, _ERASE)
                case "X":
                    self._end()
                    self._answer(_OK, _ABORT)
                case "E":
                    self._finish()
                case _ if len(self._pin) < self._limits[1]:
                    self._pin += key
                    self._answer(_OK, key.encode() if PadFault.CLEAR_DIGITS in self.up else _KEY)
                case _:
                    continue

    def let_time_pass(self) -> None:
        """End the entry as the pad's own timer does."""
        self._end()
        self._answer(_TIMEOUT)

    def _finish(self) -> None:
        if len(self._pin) >= self._limits[0]:
            block = encrypt(block_of(self._pin, self._account))
            self._end()
            self._answer(_OK, block)

    def _end(self) -> None:
        self._pin, self.is_entering = "", False

    def _obey(self, command: int, data: bytes) -> None:
        is_keyless = PadFault.MASTER_KEY_INVALID in self.up
        match command:
            case 0x30:
                self._answer(_NO_KEY if is_keyless else _OK)
            case 0x35 if is_keyless or len(data) != 9:  # noqa: PLR2004 - limits, time, account
                self._answer(_NO_KEY if is_keyless else _BAD)
            case 0x35:
                self._limits, self._account = (data[0], data[1]), data[3:].hex()
                self._pin, self.is_entering = "", True
            case 0x36:
                if self.is_entering:
                    self._end()
                    self._answer(_OK, _ABORT)
            case _:
                self._answer(_UNKNOWN)

    def _answer(self, status: int, data: bytes = b"") -> None:
        body, check = bytes((1 + len(data), status)) + data, 0
        for byte in body:
            check ^= byte
        if PadFault.BAD_CHECK in self.up:
            check ^= 0x55
        noise = b"\x00\x02\xff" if PadFault.NOISE in self.up else b""
        self._send(noise + b"\x02" + body + bytes((check,)))
