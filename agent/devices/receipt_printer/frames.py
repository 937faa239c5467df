"""What an ESC/POS printer sends, told apart by its fixed bits.

Follows Epson's ESC/POS command reference (DLE EOT, GS a, GS r, GS I, GS ( H) and the manuals of TM-U220, TM-T88III
and SRP-350 for the bits. One stream carries several speakers at once: flow control, answers to real-time requests,
unasked status (ASB) and blocks. A status byte does not say which request it answers, so requests wait in a queue.
Never seen on hardware: the header 5F of printer information, which a profile can therefore change.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from enum import StrEnum

XON, XOFF = 0x11, 0x13
PENDING_LIMIT = 8
BLOCK_LIMIT = 96
_HEADERS = frozenset({0x37, 0x3D, 0x5F})
_FIXED_BITS = 0x93
_STATUS_BITS, _ASB_BITS = 0x12, 0x10
_FOLLOWING_BITS = 0x90
_ASB_BYTES = 4


class Shape(StrEnum):
    """What the answer to a request looks like."""

    STATUS = "status"
    SINGLE = "single"
    FIXED = "fixed"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Query:
    """A request that is answered exactly once; `lead` and `length` describe an answer of fixed length."""

    name: str
    request: bytes
    shape: Shape
    lead: bytes = b""
    length: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the oldest request."""

    query: Query
    body: bytes


@dataclass(frozen=True, slots=True)
class Asb:
    """Automatic status back: four bytes, sent when something changes."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Flow:
    """XON or XOFF."""

    may_send: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A block: its header, its identifier and what stands before the NUL."""

    header: int
    identifier: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Unasked:
    """A status byte nobody asked for; bytes within a picture can make a printer send one."""

    value: int


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that fit nothing."""

    count: int


Frame = Answer | Asb | Flow | Block | Unasked | Noise

DLE_EOT = {n: Query(f"dle_eot_{n}", bytes((0x10, 0x04, n)), Shape.STATUS) for n in (1, 2, 3, 4)}
PAPER_SENSOR = Query("gs_r_1", b"\x1d\x72\x01", Shape.SINGLE)
PROCESS_ID_HEADER, PROCESS_ID, CLEARED = 0x37, 0x22, 0x25
_INFORMATION = {"firmware": 65, "maker": 66, "model": 67, "serial": 68}


def information(name: str) -> Query:
    """GS I: `firmware`, `maker`, `model` or `serial`, in ASCII up to a NUL."""
    return Query(f"gs_i_{name}", bytes((0x1D, 0x49, _INFORMATION[name])), Shape.TEXT)


class Demultiplexer:
    """Takes the printer's bytes as they come and gives back whole frames; keeps at most one unfinished frame."""

    def __init__(self) -> None:
        self._pending: deque[Query] = deque()
        self._part = bytearray()
        self._open: Query | None = None  # its answer is half received
        self._in_asb = False
        self._in_block = False

    @property
    def pending(self) -> int:
        """How many requests have no answer yet."""
        return len(self._pending)

    def expect(self, query: Query) -> None:
        """Remember that `query` was sent.

        Raises:
            ValueError: eight requests are open already; a printer keeps no more.
        """
        if len(self._pending) >= PENDING_LIMIT:
            raise ValueError("too many open requests")
        self._pending.append(query)

    def withdraw(self, query: Query) -> None:
        """Wait no longer for the oldest `query`; a late answer then counts as unasked."""
        if self._open is query:
            self._start_over()
        if query in self._pending:
            self._pending.remove(query)

    def forget(self) -> None:
        """Give up all open requests and what was half received."""
        self._pending.clear()
        self._start_over()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        frames: list[Frame] = []
        for byte in data:
            self._take(byte, frames)
        return frames

    def _start_over(self) -> None:
        self._part.clear()
        self._open, self._in_asb, self._in_block = None, False, False

    def _take(self, byte: int, frames: list[Frame]) -> None:
        shape = self._open.shape if self._open else None
        if shape is Shape.FIXED:
            self._take_fixed(byte, frames)
        elif byte in {XON, XOFF} and not self._wants_any_byte():
            frames.append(Flow(byte == XON))
        elif shape is Shape.TEXT:
            self._take_text(byte, frames)
        elif self._in_asb:
            self._take_asb(byte, frames)
        elif self._in_block:
            self._take_block(byte, frames)
        else:
            self._begin(byte, frames)

    def _waiting(self, shape: Shape) -> Query | None:
        """The oldest request of this shape: a real-time answer may overtake one that waits for the paper."""
        return next((query for query in self._pending if query.shape is shape), None)

    def _wants_any_byte(self) -> bool:
        if self._open or self._in_asb or self._in_block:
            return False
        fixed = self._waiting(Shape.FIXED)
        return fixed is not None and not fixed.lead

    def _begin(self, byte: int, frames: list[Frame]) -> None:
        fixed = self._waiting(Shape.FIXED)
        if fixed is not None and (not fixed.lead or byte == fixed.lead[0]):
            self._open = fixed
            self._take_fixed(byte, frames)
        elif self._pending and self._pending[0].shape is Shape.TEXT and _begins_text(byte):
            self._open = self._pending[0]
            self._take_text(byte, frames)
        elif byte & _FIXED_BITS == _STATUS_BITS:
            self._take_single(byte, self._waiting(Shape.STATUS), frames)
        elif byte & _FIXED_BITS == _ASB_BITS:
            self._part.append(byte)
            self._in_asb = True
        elif byte in _HEADERS:
            self._part.append(byte)
            self._in_block = True
        elif not byte & _FOLLOWING_BITS and (single := self._waiting(Shape.SINGLE)) is not None:
            self._take_single(byte, single, frames)
        else:
            _add_noise(frames, 1)

    def _take_single(self, byte: int, query: Query | None, frames: list[Frame]) -> None:
        if query is None:
            frames.append(Unasked(byte))
        else:
            self._answered(query, bytes((byte,)), frames)

    def _answered(self, query: Query, body: bytes, frames: list[Frame]) -> None:
        self._pending.remove(query)
        frames.append(Answer(query, body))
        self._start_over()

    def _take_fixed(self, byte: int, frames: list[Frame]) -> None:
        query = self._open
        assert query is not None  # noqa: S101 - what `_open` is for
        at = len(self._part)
        if at < len(query.lead) and byte != query.lead[at]:
            begun = bytes(self._part)
            self._start_over()
            if begun[:1] and begun[0] & _FIXED_BITS == _ASB_BITS and at == 1:
                self._part.extend(begun)  # it was the first byte of an ASB after all
                self._in_asb = True
            else:
                _add_noise(frames, len(begun))
            self._take(byte, frames)
            return
        self._part.append(byte)
        if len(self._part) == query.length:
            self._answered(query, bytes(self._part), frames)

    def _take_text(self, byte: int, frames: list[Frame]) -> None:
        if byte == 0:
            self._answered(self._pending[0], bytes(self._part), frames)
        elif byte & 0x80 or byte < 0x20 or len(self._part) >= BLOCK_LIMIT:  # noqa: PLR2004 - not printable ASCII
            self._give_up(byte, frames)
        else:
            self._part.append(byte)

    def _take_asb(self, byte: int, frames: list[Frame]) -> None:
        if byte & _FOLLOWING_BITS:
            self._give_up(byte, frames)
            return
        self._part.append(byte)
        if len(self._part) == _ASB_BYTES:
            frames.append(Asb(bytes(self._part)))
            self._start_over()

    def _take_block(self, byte: int, frames: list[Frame]) -> None:
        if byte == 0:
            frames.append(Block(self._part[0], self._part[1] if len(self._part) > 1 else 0, bytes(self._part[2:])))
            self._start_over()
        elif byte & 0x80 or len(self._part) >= BLOCK_LIMIT:
            self._give_up(byte, frames)
        else:
            self._part.append(byte)

    def _give_up(self, byte: int, frames: list[Frame]) -> None:
        """What was begun is nothing; `byte` may begin something."""
        _add_noise(frames, len(self._part))
        self._start_over()
        self._take(byte, frames)


def _begins_text(byte: int) -> bool:
    return byte == 0 or 0x20 <= byte <= 0x7E  # noqa: PLR2004 - printable ASCII


def _add_noise(frames: list[Frame], count: int) -> None:
    if count == 0:
        return
    if frames and isinstance(last := frames[-1], Noise):
        frames[-1] = Noise(last.count + count)
    else:
        frames.append(Noise(count))


@dataclass(frozen=True, slots=True)
class Condition:
    """How the printer is; None where nothing was said."""

    offline: bool | None = None
    cover_open: bool | None = None
    feeding: bool | None = None
    paper_low: bool | None = None
    paper_out: bool | None = None
    mechanical: bool | None = None
    cutter: bool | None = None
    unrecoverable: bool | None = None
    recoverable: bool | None = None
    ticket: bool | None = None
    jammed: bool | None = None
    voltage: bool | None = None

    def after(self, newer: Condition) -> Condition:
        """This, with everything `newer` says."""
        mine = {item.name: getattr(self, item.name) for item in fields(self)}
        theirs = {item.name: getattr(newer, item.name) for item in fields(newer)}
        return Condition(**mine | {name: value for name, value in theirs.items() if value is not None})


def _has_all(value: int, bits: int) -> bool:
    return value & bits == bits


def decode_dle_eot(number: int, value: int) -> Condition:
    """The answer to DLE EOT 1 to 4."""
    match number:
        case 1:
            return Condition(offline=bool(value & 0x08))
        case 2:
            stopped = True if value & 0x20 else None
            return Condition(cover_open=bool(value & 0x04), feeding=bool(value & 0x08), paper_out=stopped)
        case 3:
            return Condition(
                mechanical=bool(value & 0x04),
                cutter=bool(value & 0x08),
                unrecoverable=bool(value & 0x20),
                recoverable=bool(value & 0x40),
            )
        case 4:
            return Condition(paper_low=_has_all(value, 0x0C), paper_out=_has_all(value, 0x60))
        case _:
            raise ValueError(f"DLE EOT knows no {number}")


def decode_asb(body: bytes) -> Condition:
    """The four bytes of GS a."""
    first, second, third, _ = body
    return Condition(
        offline=bool(first & 0x08),
        cover_open=bool(first & 0x20),
        feeding=bool(first & 0x40),
        mechanical=bool(second & 0x04),
        cutter=bool(second & 0x08),
        unrecoverable=bool(second & 0x20),
        recoverable=bool(second & 0x40),
        paper_low=_has_all(third, 0x03),
        paper_out=_has_all(third, 0x0C),
    )


def decode_answer(answer: Answer) -> Condition:
    """What the answer to a DLE EOT says; nothing for any other request."""
    for number, query in DLE_EOT.items():
        if answer.query == query:
            return decode_dle_eot(number, answer.body[0])
    return Condition()


def decode_information(body: bytes, header: int | None) -> str | None:
    """The text of an information answer without the header some models put before it; None when it is empty."""
    if header is not None and body[:1] == bytes((header,)):
        body = body[1:]
    return body.decode("ascii").strip() or None
