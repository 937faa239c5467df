"""A frozen recording as the lines of its file."""

from __future__ import annotations

from agent.recorder.parts import Echo as EchoPart
from agent.recorder.parts import Mask, Part
from agent.recorder.recorder import Edge, Frozen
from agent.recorder.tape import Frame, Item
from wire import __version__
from wire.recording import (
    Echo,
    EdgeLine,
    Entry,
    FrameLine,
    Head,
    Masked,
    NoteLine,
    Recording,
    Shown,
    encode_recording,
)

_DETAIL_CHARACTERS = 200


def lines_of(frozen: Frozen) -> list[bytes]:
    """All lines."""
    return list(encode_recording(document_of(frozen)))


def document_of(frozen: Frozen) -> Recording:
    """The recording as what its file says."""
    about = frozen.about
    head = Head(
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
    entries: list[Entry] = [_entry(frozen, at_s, item) for at_s, item in frozen.items]
    entries += [_edge(frozen, edge) for edge in frozen.edges]
    return Recording(head, tuple(sorted(entries, key=lambda entry: entry.t)))


def _entry(frozen: Frozen, at_s: float, item: Item) -> Entry:
    t, at = round(at_s - frozen.at_s, 5), frozen.wall(at_s)
    if isinstance(item, Frame):
        return FrameLine(t=t, at=at, way=item.way, parts=[_part(part) for part in item.parts])
    return NoteLine(t=t, at=at, word=item.word, count=item.count)


def _edge(frozen: Frozen, edge: Edge) -> EdgeLine:
    t = round(edge.at_s - frozen.at_s, 5)
    return EdgeLine(
        t=t, at=frozen.wall(edge.at_s), component=edge.component, state=edge.state, faults=list(edge.faults)
    )


def _part(part: Part) -> Shown | Masked | Echo:
    match part:
        case Mask(kind=kind, length=length, fill=fill, digest=digest):
            return Masked(kind=kind, length=length, fill=fill.hex(), digest=digest)
        case EchoPart(name=name, data=data):
            return Echo(name=name, hex=data.hex())
        case _:
            return Shown(hex=part.hex())
