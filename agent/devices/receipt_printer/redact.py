"""What a recording may keep of a receipt printer: commands and status; never what is printed.

Sent bytes are read as the printer reads them: everything that is no known command is text, the contents of codes and
pictures are masked with it. After a command that is not known nothing is shown until the printer is initialised. What
comes is sorted by the driver's own demultiplexer; what that takes for noise, an echo for example, is not shown.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from agent.devices.receipt_printer import frames, frames_custom
from agent.devices.receipt_printer import frames_page as page
from agent.devices.receipt_printer.frames import Answer, Asb, Block, Demultiplexer, Flow, Frame, Noise, Query, Shape
from agent.recorder.parts import NOISE, UNFINISHED, Digest, Echo, Mask, Part, Redactor, joined
from wire.profile import DeviceProfile
from wire.recording import Way

_FILL = b"x"
_DLE = 0x10
_PLAIN = re.compile(rb"[^\x10\x1b\x1c\x1d\n\0]+|\x10")
"""Everything but the beginnings of commands, line feeds and padding."""
_LEADS = frozenset((0x1B, 0x1C, 0x1D))
_REAL_TIME: Mapping[int, int] = MappingProxyType({0x04: 3, 0x05: 3, 0x14: len(page.CLEAR_BUFFERS)})
"""Second byte -> length; a printer takes these in the middle of everything, and pictures are free of them."""

# Commands of a fixed length: how many bytes follow these two.
_FIXED: Mapping[bytes, int] = MappingProxyType(
    {
        b"\x1b@": 0, b"\x1c&": 0, b"\x1c.": 0, b"\x1bE": 1, b"\x1ba": 1, b"\x1d!": 1, b"\x1cW": 1, b"\x1da": 1,
        b"\x1bd": 1, b"\x1dr": 1, b"\x1dI": 1, b"\x1dh": 1, b"\x1dw": 1, b"\x1df": 1, b"\x1dH": 1, b"\x1dV": 2,
    }
)  # fmt: skip
_PARENTHESIS, _MARK_COMMAND, _EJECTOR = b"\x1d(", b"\x1d(H", b"\x1de"
_INITIALIZE = page.INITIALIZE
_MARK_HEAD = b"\x1d(H\x06\x0000"
_QUERIES: Mapping[bytes, Query] = MappingProxyType(
    {
        query.request: query
        for query in (
            *frames.DLE_EOT.values(),
            frames.PAPER_SENSOR,
            frames_custom.FULL_STATUS,
            frames_custom.EJECTOR_STATUS,
            *(frames.information(name) for name in ("firmware", "maker", "model", "serial")),
        )
    }
)
_BLOCK_HEAD_BYTES = 2
_NOISE, _CALM = b"\xff", b"\x12"  # for a player: a byte that no printer sends, a status byte without a fault
_MARKS_KEPT = 8
Count = Callable[[bytes], int]


def _raster_bytes(head: bytes) -> int:
    return int.from_bytes(head[4:6], "little") * int.from_bytes(head[6:8], "little")


_CONTENTS: Mapping[bytes, tuple[int, str, Count]] = MappingProxyType(
    {b"\x1dk": (4, "code", lambda head: head[3]), b"\x1dv": (8, "picture", _raster_bytes)}
)
"""Commands with content: how long their head is, what the content is, and how long."""


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor:
    """What sorts the bytes of this model."""
    del profile
    return ReceiptRedactor(digest)


class ReceiptRedactor:
    """Both ways; the answers need to know the requests."""

    grain_s = 0.0

    def __init__(self, digest: Digest) -> None:
        del digest  # what is printed comes in pieces of every size; a digest of a piece would tell too much
        self._answers = _Answers()
        self._page = _Page(self._answers)

    def feed(self, way: Way, data: bytes) -> list[Part]:
        """See `Redactor`."""
        return self._page.feed(data) if way is Way.SENT else self._answers.feed(data)

    def rest(self, way: Way) -> list[Part]:
        """See `Redactor`."""
        return self._page.rest() if way is Way.SENT else self._answers.rest()


def redact(data: bytes, way: Way, digest: Digest) -> list[Part]:
    """The parts of one stream from its beginning."""
    found = ReceiptRedactor(digest)
    return joined([*found.feed(way, data), *found.rest(way)])


class _Page:
    """What is sent. Text is masked as it comes; only the head of a command is ever held."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._held = b""
        self._content = 0
        """So many bytes of a code or a picture are still to come."""
        self._kind = ""
        self._is_lost = False

    def feed(self, data: bytes) -> list[Part]:
        held = self._held + data
        parts: list[Part] = []
        while held and (count := self._take(held, parts)):
            held = held[count:]
        self._held = held
        return joined(parts)

    def rest(self) -> list[Part]:
        held, self._held, self._content = self._held, b"", 0
        return [Mask(UNFINISHED, len(held))] if held else []

    def _take(self, held: bytes, parts: list[Part]) -> int:
        """Sort the front of it; how much, 0 when more has to come."""
        if held[0] == _DLE and (count := self._real_time(held, parts)) is not None:
            return count
        if self._content:
            return self._take_content(held, parts)
        if self._is_lost and not _INITIALIZE.startswith(held[: len(_INITIALIZE)]):
            return self._mask(1, parts)
        if held[0] in _LEADS:
            return self._command(held, parts)
        plain = _PLAIN.match(held)
        if plain is not None:
            return self._mask(plain.end(), parts)
        parts.append(held[:1])
        return 1

    def _mask(self, count: int, parts: list[Part], kind: str = "text") -> int:
        parts.append(Mask(kind, count, _FILL))
        return count

    def _take_content(self, held: bytes, parts: list[Part]) -> int:
        """Content up to the next byte that may begin a real-time command."""
        at = held.find(_DLE, 1)
        count = min(self._content, len(held) if at < 0 else at)
        self._content -= count
        parts.append(Mask(self._kind, count))
        return count

    def _real_time(self, held: bytes, parts: list[Part]) -> int | None:
        """A real-time command in front; None when it is none."""
        if len(held) == 1:
            return 0
        length = _REAL_TIME.get(held[1])
        if length is None:
            return None
        if len(held) < length:
            return 0
        command = held[:length]
        if length > 3 and command != page.CLEAR_BUFFERS:  # noqa: PLR2004 - the short ones have one parameter
            return None
        parts.append(command)
        self._ask(command)
        return length

    def _ask(self, command: bytes) -> None:
        if (query := _QUERIES.get(command)) is not None:
            self._answers.expect(query)

    def _command(self, held: bytes, parts: list[Part]) -> int:
        if len(held) < 2:  # noqa: PLR2004 - a command has two bytes at least
            return 0
        name = held[:2]
        if name in _FIXED:
            return self._shown(held, 2 + _FIXED[name], parts)
        if name == _EJECTOR:
            return 0 if len(held) < 3 else self._shown(held, 4 if held[2] == 0x03 else 3, parts)  # noqa: PLR2004 - GS e 3 n
        if name == _PARENTHESIS:
            return self._parenthesis(held, parts)
        if name in _CONTENTS:
            return self._content_of(held, *_CONTENTS[name], parts)
        self._is_lost = True
        return self._mask(1, parts)

    def _shown(self, held: bytes, length: int, parts: list[Part]) -> int:
        if len(held) < length:
            return 0
        command = held[:length]
        if command == _INITIALIZE:
            self._is_lost = False
        parts.append(command)
        self._ask(command)
        return length

    def _content_of(self, held: bytes, head: int, kind: str, count: Count, parts: list[Part]) -> int:
        if len(held) < head:
            return 0
        parts.append(held[:head])
        self._content, self._kind = count(held[:head]), kind
        return head

    def _parenthesis(self, held: bytes, parts: list[Part]) -> int:
        """GS ( H with the driver's own mark, GS ( k: a QR code's content; others are masked whole."""
        head = 5
        if len(held) < head:
            return 0
        body = int.from_bytes(held[3:head], "little")
        if held.startswith(_MARK_COMMAND) and body == len(_MARK_HEAD) - head + page.PROCESS_ID_BYTES:
            length = head + body
            if len(held) < length:
                return 0
            if not held.startswith(_MARK_HEAD):
                return self._mask(length, parts, "data")
            mark = held[len(_MARK_HEAD) : length]
            self._answers.marks.append(mark)
            parts += [_MARK_HEAD, Echo("process_id", mark)]
            return length
        parts.append(held[:head])
        if held[2:3] == b"k" and body <= 4:  # noqa: PLR2004 - settings of a code, not its content
            self._content, self._kind = body, "setting"
        else:
            self._content, self._kind = body, "code"
        return head


class _Answers:
    """What comes: each byte waits until the demultiplexer says what it belonged to."""

    def __init__(self) -> None:
        self._demux = Demultiplexer()
        self._open = bytearray()
        self._flow = bytearray()
        """XON and XOFF that came in the middle of something; they are put in front of it."""
        self._text: Query | None = None
        self.marks: deque[bytes] = deque(maxlen=_MARKS_KEPT)
        """What a printer may repeat, newest last."""

    def expect(self, query: Query) -> None:
        if self._text is not None:
            self._demux.withdraw(self._text)  # the driver asks one at a time: it was answered or given up
        self._text = query if query.shape is Shape.TEXT else None
        if self._demux.pending >= frames.PENDING_LIMIT:
            self._demux.forget()
        self._demux.expect(query)

    def feed(self, data: bytes) -> list[Part]:
        parts: list[Part] = []
        for byte in data:
            self._open.append(byte)
            for frame in self._demux.feed(bytes((byte,))):
                self._sort(frame, parts)
        return joined(parts)

    def rest(self) -> list[Part]:
        count = len(self._open) + len(self._flow)
        self._open.clear()
        self._flow.clear()
        self._demux.forget()
        return [Mask(UNFINISHED, count, _NOISE)] if count else []

    def _sort(self, frame: Frame, parts: list[Part]) -> None:
        if isinstance(frame, Flow):
            self._flow.append(self._open.pop())
            if not self._open:
                parts.append(self._taken(self._flow))
            return
        parts.append(self._taken(self._flow))
        match frame:
            case Noise(count=count):
                noise = min(count, len(self._open))
                del self._open[:noise]
                parts.append(Mask(NOISE, noise, _NOISE))
            case Block(body=body):
                whole = self._taken(self._open)
                is_ours = body in self.marks
                inner = Echo("process_id", body) if is_ours else Mask("block", len(body), _FILL)
                parts += [whole[:_BLOCK_HEAD_BYTES], inner, whole[_BLOCK_HEAD_BYTES + len(body) :]]
            case Answer() | Asb():
                parts.append(self._taken(self._open))
            case _:
                parts.append(Mask("unasked", len(self._open), _CALM))
                self._open.clear()

    @staticmethod
    def _taken(held: bytearray) -> bytes:
        found = bytes(held)
        held.clear()
        return found
