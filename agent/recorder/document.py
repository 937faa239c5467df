"""A frozen recording as the lines of its file."""

from __future__ import annotations

from collections.abc import Iterator

from agent.recorder.parts import Echo as EchoPart
from agent.recorder.parts import Mask, Part
from agent.recorder.recorder import Edge, Frozen
from agent.recorder.tape import Frame, Item, Note
from wire import __version__
from wire.recording import (
    Echo,
    EdgeLine,
    Entry,
    FrameLine,
    Head,
    Masked,
    NoteLine,
    Shown,
    encode_recording,
)

_DETAIL_CHARACTERS = 200


def lines_of(frozen: Frozen) -> Iterator[bytes]:
    """All lines, one after the other: the whole document is never in memory."""
    rows: list[tuple[float, Item | Edge]] = [*frozen.items, *((edge.at_s, edge) for edge in frozen.edges)]
    rows.sort(key=lambda row: row[0])
    return encode_recording(_head(frozen), (_entry(frozen, at_s, item) for at_s, item in rows))


def _head(frozen: Frozen) -> Head:
    about = frozen.about
    return Head(
        component=about.component,
        capability=about.capability,
        model=about.model,
        dialect=about.dialect,
        link=about.link,
        fault=frozen.fault,
        detail=frozen.detail[:_DETAIL_CHARACTERS],
        frozen_at=frozen.at,
        agent_version=__version__,
        skipped=frozen.skipped,
    )


def _entry(frozen: Frozen, at_s: float, item: Item | Edge) -> Entry:
    t, at = round(at_s - frozen.at_s, 5), frozen.wall(at_s)
    match item:
        case Frame():
            return FrameLine(t=t, at=at, way=item.way, parts=[_part(part) for part in item.parts])
        case Note():
            return NoteLine(t=t, at=at, word=item.word, count=item.count)
        case Edge():
            return EdgeLine(t=t, at=at, component=item.component, state=item.state, faults=list(item.faults))


def _part(part: Part) -> Shown | Masked | Echo:
    match part:
        case Mask(kind=kind, length=length, fill=fill, digest=digest):
            return Masked(kind=kind, length=length, fill=fill.hex(), digest=digest)
        case EchoPart(name=name, data=data):
            return Echo(name=name, hex=data.hex())
        case _:
            return Shown(hex=part.hex())
