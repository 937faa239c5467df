"""An SDT/SAM_A identity card reader without the reader: GA/T 467-2019 frames, four documents, scripted faults.

Written from the public description of the SAM_A interface and four public status tables; it shares no line with any
driver. Cards belong to people who do not exist.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from simulators.devices.transports import Send
from simulators.people import Paper, Person

_LEAD = b"\xaa\xaa\xaa\x96\x69"
_LENGTHS_AT = len(_LEAD)
_TEXT_BYTES, _PHOTO_BYTES, _FINGER_BYTES, _ADDRESS_BYTES = 256, 1_024, 1_024, 320
_LETTERS = {
    Paper.RESIDENT: " ",
    Paper.HK_MACAO_TAIWAN: "J",
    Paper.FOREIGNER_2017: "I",
    Paper.FOREIGNER_2023: "Y",
}
_BAUDS = (115_200, 57_600, 38_400, 19_200, 9_600)
_ADDRESS_AT_MOST = 35
LICENCE = bytes.fromhex("0500 0100 C77B3301 15CD5B07 2A000000")
"""05.01-20151239-0123456789-42: area 5, year 1, and three numbers."""
_REQUESTS_KEPT = 10_000


class ReaderFault(StrEnum):
    """What can be made to go wrong with one or more answers."""

    BAD_CHECKSUM = "bad_checksum"
    WRONG_LENGTH = "wrong_length"
    LOST_LEAD = "lost_lead"
    STALE_FRAME = "stale_frame"
    STATUS = "status"
    """The answer is `value` as SW3 and nothing else."""
    CARD_REMOVED = "card_removed"
    """The card is taken off before this answer."""
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class SimulatedCard:
    """A card: somebody's document, its serial number, and what is on it besides the text."""

    person: Person
    serial: bytes = bytes(8)
    newest_address: str = ""
    has_fingerprint: bool = False
    photo: bytes = b""

    def text(self) -> bytes:
        """The 256 bytes of text."""
        area = bytearray(b"\x20\x00" * (_TEXT_BYTES // 2))
        for start, size, value in _places(self.person):
            raw = value.encode("utf-16-le")[:size]
            area[start : start + len(raw)] = raw
        return bytes(area)

    def picture(self) -> bytes:
        """The photo, as opaque as a real one."""
        return (self.photo or b"WLf\0" + random.Random(self.serial).randbytes(_PHOTO_BYTES))[:_PHOTO_BYTES]


def _day(day: date | None) -> str:
    return "长期" if day is None else f"{day:%Y%m%d}"


def _places(person: Person) -> list[tuple[int, int, str]]:
    sex, born = str(person.sex), _day(person.born)
    dates = [(188, 16, _day(person.valid_from)), (204, 16, _day(person.valid_to))]
    letter = [(248, 2, _LETTERS[person.paper])]
    if person.paper is Paper.FOREIGNER_2017:
        return [
            (0, 120, person.latin_name),
            (120, 2, sex),
            (122, 30, person.number),
            (152, 6, person.country),
            (158, 30, person.name),
            *dates,
            (220, 16, born),
            (236, 4, "01"),
            (240, 8, "1500"),
            *letter,
        ]
    common = [(0, 30, person.name), (30, 2, sex), (36, 16, born), (122, 36, person.number), *dates, *letter]
    if person.paper is Paper.FOREIGNER_2023:
        first, more = person.latin_name[:35], person.latin_name[35:]
        return [*common, (32, 4, "01"), (52, 70, first), (220, 22, more), (242, 6, person.country), (250, 6, "115")]
    common += [(52, 70, person.address), (158, 30, person.issuer)]
    if person.paper is Paper.HK_MACAO_TAIWAN:
        return [*common, (220, 18, person.pass_number), (238, 4, person.issue_count)]
    return [*common, (32, 4, person.nation)]


@dataclass(slots=True)
class _Scripted:
    fault: ReaderFault
    value: int
    after: int
    times: int


class IdCardReaderCore:
    """One reader. It answers what a module answers; `answers_find_again` is how modules differ."""

    def __init__(self, *, answers_find_again: bool = False, seed: int = 1, licence: bytes = LICENCE) -> None:
        self.licence = licence
        self.answers_find_again = answers_find_again
        self.card: SimulatedCard | None = None
        self.baud = _BAUDS[0]
        self.requests: deque[bytes] = deque(maxlen=_REQUESTS_KEPT)
        self.request_count = 0
        """Command and parameter of the latest requests."""
        self._random = random.Random(seed)
        self._send: Send = lambda _data: None
        self._buffer = bytearray()
        self._scripts: list[_Scripted] = []
        self._found = self._selected = False
        self._last = b""

    # --- what testers do ---------------------------------------------------------------------------------

    def put(self, card: SimulatedCard) -> None:
        """Lay a card on the reader."""
        self.card = card
        self._found = self._selected = False

    def lift(self) -> None:
        """Take it off."""
        self.card = None
        self._found = self._selected = False

    def script(self, fault: ReaderFault, *, value: int = 0, after: int = 0, times: int = 1) -> None:
        """Let `fault` happen to `times` answers once `after` more were given."""
        self._scripts.append(_Scripted(fault, value, after, times))

    @property
    def scripted(self) -> tuple[ReaderFault, ...]:
        """What is still to happen."""
        return tuple(script.fault for script in self._scripts)

    def repair(self) -> None:
        """Forget all scripted faults."""
        self._scripts.clear()

    # --- the line ----------------------------------------------------------------------------------------

    def connected(self, send: Send) -> None:
        """See `Core`."""
        self._send = send
        self._buffer.clear()

    def received(self, data: bytes) -> None:
        """See `Core`."""
        self._buffer += data
        while True:
            start = self._buffer.find(_LEAD)
            if start < 0:
                del self._buffer[: max(0, len(self._buffer) - len(_LEAD) + 1)]
                return
            del self._buffer[:start]
            if len(self._buffer) < _LENGTHS_AT + 2:
                return
            total = int.from_bytes(self._buffer[_LENGTHS_AT : _LENGTHS_AT + 2]) + 7
            if len(self._buffer) < total:
                return
            frame = bytes(self._buffer[:total])
            del self._buffer[:total]
            self._answer(frame)

    def _answer(self, frame: bytes) -> None:
        self.requests.append(frame[7:9])
        self.request_count += 1
        due = self._due()
        if ReaderFault.CARD_REMOVED in due:
            self.lift()
        if ReaderFault.STATUS in due:
            reply = reply_frame(due[ReaderFault.STATUS])
        elif _xor(frame[5:]) != 0:
            reply = reply_frame(0x10)
        else:
            reply = self._reply(frame[7], frame[8])
        self._last, stale = reply, self._last
        if ReaderFault.STALE_FRAME in due:
            self._send(stale or reply_frame(0x90))
        if ReaderFault.SILENCE not in due:
            self._send(_spoilt(reply, due))

    def _due(self) -> dict[ReaderFault, int]:
        due = {script.fault: script.value for script in self._scripts if script.after <= 0}
        for script in self._scripts:
            if script.after > 0:
                script.after -= 1
            else:
                script.times -= 1
        self._scripts = [script for script in self._scripts if script.times > 0]
        return due

    # --- the module --------------------------------------------------------------------------------------

    def _reply(self, command: int, parameter: int) -> bytes:  # noqa: PLR0911 - a row per command
        match command, parameter:
            case (0x10, 0xFF) | (0x11, 0xFF) | (0x61, 0xFF):
                return reply_frame(0x90)
            case 0x12, 0xFF:
                return reply_frame(0x90, self.licence)
            case 0x20, 0x01:
                return self._find()
            case 0x20, 0x02:
                self._selected = self._found
                return reply_frame(0x90, self.card.serial) if self.card and self._selected else reply_frame(0x81)
            case 0x30, (0x01 | 0x10):
                return self._base(with_finger=parameter == 0x10)  # noqa: PLR2004 - the parameter's own number
            case 0x30, 0x03:
                return self._address()
            case 0x60, number if number < len(_BAUDS):
                self.baud = _BAUDS[number]
                return reply_frame(0x90)
            case _:
                return reply_frame(0x21)

    def _find(self) -> bytes:
        if self.card is None or (self._selected and not self.answers_find_again):
            return reply_frame(0x80)
        self._found = True
        return reply_frame(0x9F, bytes(4))

    def _base(self, *, with_finger: bool) -> bytes:
        card = self.card
        if card is None or not self._selected:
            return reply_frame(0x41)
        finger = self._random.randbytes(_FINGER_BYTES) if card.has_fingerprint else b""
        parts = [card.text(), card.picture(), *([finger] if with_finger else [])]
        return reply_frame(0x90, b"".join(len(part).to_bytes(2) for part in parts) + b"".join(parts))

    def _address(self) -> bytes:
        if self.card is None or not self._selected:
            return reply_frame(0x41)
        if not self.card.newest_address:
            return reply_frame(0x91)
        return reply_frame(0x90, self.card.newest_address.ljust(_ADDRESS_BYTES // 2).encode("utf-16-le"))


def reply_frame(status: int, data: bytes = b"") -> bytes:
    """What a reader says."""
    body = (len(data) + 4).to_bytes(2) + bytes((0, 0, status)) + data
    return _LEAD + body + bytes((_xor(body),))


def _xor(body: bytes) -> int:
    total = 0
    for byte in body:
        total ^= byte
    return total


def _spoilt(reply: bytes, due: dict[ReaderFault, int]) -> bytes:
    if ReaderFault.BAD_CHECKSUM in due:
        reply = reply[:-1] + bytes((reply[-1] ^ 0x55,))
    if ReaderFault.WRONG_LENGTH in due:
        reply = reply[:5] + (int.from_bytes(reply[5:7]) + 3).to_bytes(2) + reply[7:]
    return reply[due[ReaderFault.LOST_LEAD] or 1 :] if ReaderFault.LOST_LEAD in due else reply
