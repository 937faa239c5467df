"""A scanner that pretends to be a keyboard: what it scans it types, as events of Linux's input layer.

US layout. What is no ASCII is typed as Windows takes it: Alt and a number on the keypad, a GBK character's two bytes as
one number or the character's Unicode number. Written from the kernel's list of key codes, without a look at the driver.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import StrEnum

from simulators.devices.transports import Send

_EVENT = struct.Struct("@qqHHi")
_SYN, _KEY, _REPORT, _DROPPED = 0, 1, 0, 3
_LEFT_SHIFT, _LEFT_CONTROL, _LEFT_ALT, _ENTER, _TAB = 42, 29, 56, 28, 15
_KEYS = {
    "a": 30, "b": 48, "c": 46, "d": 32, "e": 18, "f": 33, "g": 34, "h": 35, "i": 23, "j": 36, "k": 37, "l": 38, "m": 50,
    "n": 49, "o": 24, "p": 25, "q": 16, "r": 19, "s": 31, "t": 20, "u": 22, "v": 47, "w": 17, "x": 45, "y": 21, "z": 44,
    "1": 2, "2": 3, "3": 4, "4": 5, "5": 6, "6": 7, "7": 8, "8": 9, "9": 10, "0": 11, "-": 12, "=": 13, "[": 26,
    "]": 27, ";": 39, "'": 40, "`": 41, "\\": 43, ",": 51, ".": 52, "/": 53, " ": 57,
}  # fmt: skip
_ABOVE = dict(zip('!@#$%^&*()_+{}:"~|<>?', "1234567890-=[];'`\\,./", strict=True))
_KEYPAD = (82, 79, 80, 81, 75, 76, 77, 71, 72, 73)
_GROUP_SEPARATOR = "\x1d"


class AltMode(StrEnum):
    """How it types what is no ASCII."""

    GBK = "gbk"
    UNICODE = "unicode"


class KeyboardScannerCore:
    """One scanner. It says nothing but what it scans, and takes nothing."""

    def __init__(self, alt_mode: AltMode = AltMode.GBK, suffix_key: int = _ENTER) -> None:
        self.alt_mode = alt_mode
        self._suffix_key = suffix_key
        self._send: Send = lambda _data: None

    def connected(self, send: Send) -> None:
        """See `Core`."""
        self._send = send

    def received(self, data: bytes) -> None:
        """See `Core`."""

    def scan(self, text: str) -> None:
        """Type a code and the suffix."""
        for character in text:
            for event in self._typed(character):
                self._send(event)
        for event in _stroke(self._suffix_key):
            self._send(event)

    def overflow(self) -> None:
        """What the kernel says when it had to drop events."""
        self._send(_EVENT.pack(0, 0, _SYN, _DROPPED, 0) + _EVENT.pack(0, 0, _SYN, _REPORT, 0))

    def _typed(self, character: str) -> Iterator[bytes]:
        if character == _GROUP_SEPARATOR:
            yield from _stroke(_KEYS["]"], _LEFT_CONTROL)
        elif character in _KEYS:
            yield from _stroke(_KEYS[character])
        elif character in _ABOVE:
            yield from _stroke(_KEYS[_ABOVE[character]], _LEFT_SHIFT)
        elif character.lower() in _KEYS:
            yield from _stroke(_KEYS[character.lower()], _LEFT_SHIFT)
        else:
            yield from self._numbered(character)

    def _numbered(self, character: str) -> Iterator[bytes]:
        if self.alt_mode is AltMode.UNICODE:
            numbers = [ord(character)]
        else:
            raw = character.encode("gb18030")
            numbers = [int.from_bytes(raw)] if len(raw) == len("甲".encode("gbk")) else list(raw)
        for number in numbers:
            yield _key(_LEFT_ALT, 1)
            for digit in str(number):
                yield from _stroke(_KEYPAD[int(digit)])
            yield _key(_LEFT_ALT, 0)


def _stroke(code: int, held: int | None = None) -> Iterator[bytes]:
    if held is not None:
        yield _key(held, 1)
    yield _key(code, 1)
    yield _key(code, 0)
    if held is not None:
        yield _key(held, 0)


def _key(code: int, value: int) -> bytes:
    return _EVENT.pack(0, 0, _KEY, code, value) + _EVENT.pack(0, 0, _SYN, _REPORT, 0)
