"""What was typed, from the keys that went down and up: the US layout, as scanners that pretend to be keyboards use it.

Source: the kernel's include/uapi/linux/input-event-codes.h for the numbers of the keys. What is no ASCII a scanner
types as Windows has it: Alt held down, a decimal number on the keypad. What that number means differs by model and
setting: a byte or a GBK character, or a Unicode character. Pure.
"""

from __future__ import annotations

import struct
from enum import IntEnum, StrEnum
from typing import Final

EVENT: Final = struct.Struct("@qqHHi")
"""input_event: two times, type, code, value; as long as the machine's words are."""
_DOWN, _UP = 1, 0
LOST: Final = b"\0"
"""Stands where the kernel had to drop events, so that what is around it passes for no code."""
_NUMBER_DIGITS_MAX = 7
_GBK_MAX, _UNICODE_MAX = 0xFFFF, 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)
_BYTE_MAX = 0xFF
_CONTROL_MASK = 0x1F


class EventType(IntEnum):
    """`type` of an event."""

    SYN = 0
    KEY = 1


class Syn(IntEnum):
    """`code` of a SYN event."""

    REPORT = 0
    DROPPED = 3


class AltCodes(StrEnum):
    """What a number typed with Alt means."""

    GBK = "gbk"
    """Up to 255 a byte, above that the two bytes of a GBK character."""
    UNICODE = "unicode"
    """A Unicode character, handed on as UTF-8."""


_CAPS_LOCK = 58
_SHIFTS, _CONTROLS, _ALTS = frozenset((42, 54)), frozenset((29, 97)), frozenset((56, 100))
_ROWS: tuple[tuple[int, str, str], ...] = (
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (86, "\\", "|"),  # the extra key of keyboards with 102 keys
)
_PLAIN = {first + at: low for first, lows, _ in _ROWS for at, low in enumerate(lows)}
_SHIFTED = {first + at: high for first, _, highs in _ROWS for at, high in enumerate(highs)}
_ANYWAY = {15: "\t", 28: "\r", 57: " ", 96: "\r"}
_KEYPAD_DIGITS = {82: "0", 79: "1", 80: "2", 81: "3", 75: "4", 76: "5", 77: "6", 71: "7", 72: "8", 73: "9"}
_KEYPAD = {**_KEYPAD_DIGITS, 55: "*", 74: "-", 78: "+", 83: ".", 98: "/", 117: "="}


class Typist:
    """Takes the kernel's events and gives the bytes that were typed."""

    def __init__(self, alt_codes: AltCodes = AltCodes.GBK) -> None:
        self._alt_codes = alt_codes
        self.reset()

    def reset(self) -> None:
        """Forget what is held down, half of an event and half of a number."""
        self._half = b""
        self._held: set[int] = set()
        self._number = ""
        self._is_capital = self._is_lost = False

    def feed(self, data: bytes) -> bytes:
        """What these events typed; an event may come in two pieces."""
        data = self._half + data
        whole = len(data) - len(data) % EVENT.size
        self._half = data[whole:]
        return b"".join(self._event(kind, code, value) for *_, kind, code, value in EVENT.iter_unpack(data[:whole]))

    def _event(self, kind: int, code: int, value: int) -> bytes:
        if kind == EventType.SYN and code == Syn.DROPPED:
            self._held.clear()
            self._number = ""
            self._is_lost = True
            return LOST
        if kind == EventType.SYN and code == Syn.REPORT:
            self._is_lost = False  # the report that was cut ends here
        if kind != EventType.KEY or self._is_lost:
            return b""
        if value == _DOWN:
            return self._down(code)
        return self._up(code) if value == _UP else b""  # 2: the kernel's repeats, which nobody scanned

    def _down(self, code: int) -> bytes:
        if code in _SHIFTS | _CONTROLS | _ALTS:
            self._held.add(code)
            return b""
        if code == _CAPS_LOCK:
            self._is_capital = not self._is_capital
            return b""
        if self._held & _ALTS:
            digit = _KEYPAD_DIGITS.get(code, "")
            self._number = (self._number + digit)[: _NUMBER_DIGITS_MAX + 1]
            return b""
        character = self._character(code)
        if self._held & _CONTROLS:
            return bytes((ord(character) & _CONTROL_MASK,)) if character else b""
        return character.encode("ascii")

    def _character(self, code: int) -> str:
        found = _ANYWAY.get(code) or _KEYPAD.get(code)
        if found is not None:
            return found
        is_shifted = bool(self._held & _SHIFTS)
        plain = _PLAIN.get(code, "")
        return _SHIFTED.get(code, "") if is_shifted is not (self._is_capital and plain.isalpha()) else plain

    def _up(self, code: int) -> bytes:
        self._held.discard(code)
        if code not in _ALTS or self._held & _ALTS or not self._number:
            return b""
        number, self._number = self._number, ""
        return self._composed(int(number)) if len(number) <= _NUMBER_DIGITS_MAX else LOST

    def _composed(self, number: int) -> bytes:
        if self._alt_codes is AltCodes.UNICODE:
            is_character = number <= _UNICODE_MAX and number not in _SURROGATES
            return chr(number).encode() if is_character else LOST
        if number <= _BYTE_MAX:
            return bytes((number,))
        return number.to_bytes(2) if number <= _GBK_MAX else LOST
