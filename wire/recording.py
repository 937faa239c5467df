"""A flight recording: what a device and the agent said to each other before a fault, without what is a person's.

One JSON document a line. The first line is the head, the last one names the number of lines and their SHA-256, so
that a file that was cut short is noticed. docs/flight-recorder.md describes it; `kfr` is the version of the format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from wire.envelope import Code, ComponentName, Digest, Moment, ShortText, Text, WireModel, encode

FORMAT = 1
SUFFIX = ".kfr"
FILE_BYTES_MAX = 16 * 1_048_576
MASKED_BYTES_MAX = 64 * 1_048_576
NAME_PATTERN = r"^[0-9]{8}T[0-9]{6}[0-9]{3}Z-[a-z][a-z0-9_.-]{0,63}-[a-z][a-z0-9_]{1,63}\.kfr$"
Hex = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2})*$")]


class RecordingError(ValueError):
    """The bytes are no recording that can be used; the text names the line, never what stands in it."""


class Way(StrEnum):
    """Where bytes went."""

    SENT = "sent"
    """From the agent to the device."""
    CAME = "came"
    """From the device to the agent."""


class Word(StrEnum):
    """What can happen on a link besides bytes."""

    OPENED = "opened"
    OPEN_FAILED = "open_failed"
    STARTED = "started"
    """The driver finished its start."""
    CLOSED = "closed"
    LOST = "lost"
    TIMEOUT = "timeout"
    """The device did not take what was sent, or a whole exchange did not end in time."""
    DISCARDED = "discarded"
    """The driver dropped `count` bytes that it had not read; nobody knows which."""
    REFUSED = "refused"
    """It answered at a level below the protocol (HTTP status, smart card service): `count` is the number."""
    CARD = "card"
    """A card came or went: `count` is 1 or 0."""
    GAP = "gap"
    """Older entries were dropped here."""
    CLOCK = "clock"
    """The wall clock was set."""


class Shown(WireModel):
    """Bytes as they were."""

    p: Literal["shown"] = "shown"
    hex: Hex


class Masked(WireModel):
    """Bytes that are a person's, or that nobody knows: `length` of them, of which nothing is left.

    To play the recording `fill` is repeated up to `length`. Check values of the frame around it were made anew for
    that when it was recorded, and a wrong one stays wrong by the same amount. `digest` is equal for equal bytes within
    one run of the agent; its key is never stored.
    """

    p: Literal["masked"] = "masked"
    kind: Code
    length: int = Field(ge=0, le=MASKED_BYTES_MAX)
    fill: Hex = "00"
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")] | None = None


class Echo(WireModel):
    """Bytes that the host chose and the device repeats; a player puts in what its own host chose."""

    p: Literal["echo"] = "echo"
    name: Code
    hex: Hex


Part = Annotated[Shown | Masked | Echo, Field(discriminator="p")]


class Head(WireModel):
    """The first line: which device, which fault, when."""

    line: Literal["head"] = "head"
    kfr: int = Field(default=FORMAT, ge=1, le=FORMAT)
    component: ComponentName
    capability: ShortText
    model: Text = ""
    dialect: ShortText = ""
    link: ShortText = ""
    fault: Code
    detail: Text = ""
    frozen_at: Moment
    agent_version: ShortText = ""
    skipped: int = Field(default=0, ge=0, description="faults of this component since the last recording, not kept")


class FrameLine(WireModel):
    """Bytes in one direction, as one read or write of the link."""

    line: Literal["frame"] = "frame"
    t: float = Field(description="seconds before (negative) the moment of freezing, on the monotonic clock")
    at: Moment
    way: Way
    parts: list[Part]


class NoteLine(WireModel):
    """Something that happened on the link."""

    line: Literal["note"] = "note"
    t: float
    at: Moment
    word: Word
    count: int = 0


class EdgeLine(WireModel):
    """How a component of the kiosk changed, this one or another."""

    line: Literal["edge"] = "edge"
    t: float
    at: Moment
    component: ComponentName
    state: ShortText
    faults: list[Code] = Field(default_factory=list)


class EndLine(WireModel):
    """The last line."""

    line: Literal["end"] = "end"
    lines: int = Field(ge=1, description="lines before this one")
    sha256: Digest


Entry = FrameLine | NoteLine | EdgeLine
_Line = Annotated[Head | FrameLine | NoteLine | EdgeLine | EndLine, Field(discriminator="line")]


class RecordingView(WireModel):
    """One recording in a list of them."""

    name: Text
    component: ComponentName
    fault: Code
    frozen_at: Moment
    bytes: int = Field(ge=0)


class RecordingList(WireModel):
    """GET /api/v1/recordings, newest first."""

    recordings: list[RecordingView] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording."""

    head: Head
    entries: tuple[Entry, ...]


def encode_recording(head: Head, entries: Iterable[Entry]) -> Iterator[bytes]:
    """The lines of a recording, with their line ends."""
    digest, count = hashlib.sha256(), 0
    for count, document in enumerate(chain((head,), entries), 1):  # noqa: B007 - the last number is wanted
        line = encode(document) + b"\n"
        digest.update(line)
        yield line
    yield encode(EndLine(lines=count, sha256=digest.hexdigest())) + b"\n"


def decode_recording(data: bytes) -> Recording:
    """A recording out of a file.

    Raises:
        RecordingError: too large, cut short, changed, of a newer format, or no recording at all.
    """
    if len(data) > FILE_BYTES_MAX:
        raise RecordingError(f"larger than {FILE_BYTES_MAX} bytes")
    reader: TypeAdapter[Head | FrameLine | NoteLine | EdgeLine | EndLine] = TypeAdapter(_Line)
    documents = []
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            documents.append(reader.validate_json(line))
        except ValidationError:
            raise RecordingError(f"line {number} is no line of a recording of format {FORMAT}") from None
    if not documents or not isinstance(head := documents[0], Head):
        raise RecordingError("line 1 is no head")
    end = documents.pop()
    if not isinstance(end, EndLine) or end.lines != len(documents):
        raise RecordingError("cut short: the last line does not fit")
    if hashlib.sha256(b"".join(lines[:-1])).hexdigest() != end.sha256:
        raise RecordingError("changed after it was written")
    entries = tuple(item for item in documents if isinstance(item, FrameLine | NoteLine | EdgeLine))
    return Recording(head, entries)


def played(parts: Sequence[Shown | Masked | Echo]) -> bytes:
    """Bytes that stand for these parts."""
    return b"".join(filling(part) if isinstance(part, Masked) else bytes.fromhex(part.hex) for part in parts)


def filling(part: Masked) -> bytes:
    """What stands for a masked part."""
    fill = bytes.fromhex(part.fill) or b"\0"
    return (fill * (part.length // len(fill) + 1))[: part.length]
