"""The rows of evidence from which everything is computed, and what they say together.

A row is a kind and a JSON document; its times are whole microseconds since 1970 UTC, server time of what happened.
Rows are only ever appended. Where two speak of the same kiosk, case, pause or order, the later row holds; edges and
marks add up. A month begins with rows that repeat what was in force at its beginning (`in_force`), so a month needs
no row of the one before it. `tools/verify_sla` reads the same rows and shares no code with this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from fleet_server.sla.clocks import Mark, MarkKind, Pause
from fleet_server.sla.contract import Contract
from fleet_server.sla.spans import Span

Body = Mapping[str, Any]  # Any: a JSON document


class Kind(StrEnum):
    """What a row is about."""

    CONTRACT = "contract"
    KIOSK = "kiosk"
    WATCH = "watch"
    """A stretch in which the server watched without a gap."""
    PRESENCE = "presence"
    FUNCTIONS = "functions"
    """What a kiosk said of its patient functions, and until when it said the same again and again."""
    ALARM = "alarm"
    CASE = "case"
    MARK = "mark"
    PAUSE = "pause"
    ORDER = "order"
    PART = "part"


Row = tuple[Kind, Body]
_LATEST: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        Kind.KIOSK: ("kiosks", "kid"),
        Kind.CASE: ("cases", "id"),
        Kind.PAUSE: ("pauses", "id"),
        Kind.ORDER: ("orders", "id"),
        Kind.PART: ("parts", "id"),
    }
)
"""Kinds of which the latest row holds: where it is kept, and by which field."""
_TIMED: Final[Mapping[Kind, str]] = MappingProxyType(
    {Kind.WATCH: "until_us", Kind.PRESENCE: "since_us", Kind.FUNCTIONS: "at_us", Kind.PART: "at_us"}
)
"""Kinds that matter for the time they are about."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a kiosk said of its functions from `at_us` to `until_us`."""

    at_us: int
    until_us: int
    is_timed: bool
    """Whether the time rests on evidence, and not on the kiosk's word or on the moment of receipt."""
    states: Mapping[str, str]


@dataclass(slots=True)
class Facts:
    """What the rows say together."""

    contract: Contract | None = None
    kiosks: dict[str, Body] = field(default_factory=dict)
    watch: list[Span] = field(default_factory=list)
    presence: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    functions: dict[str, list[Said]] = field(default_factory=dict)
    cases: dict[str, Body] = field(default_factory=dict)
    marks: dict[str, list[Body]] = field(default_factory=dict)
    pauses: dict[str, Body] = field(default_factory=dict)
    orders: dict[str, Body] = field(default_factory=dict)
    parts: dict[str, Body] = field(default_factory=dict)

    def add(self, kind: str, body: Body) -> None:
        """Take up one more row; kinds of a newer release are evidence, and say nothing here."""
        if kind == Kind.CONTRACT:
            self.contract = Contract.model_validate(body)
        elif kind in _LATEST:
            table, key = _LATEST[Kind(kind)]
            getattr(self, table)[body[key]] = body
        elif kind == Kind.WATCH:
            self.watch.append((body["since_us"], body["until_us"]))
        elif kind == Kind.PRESENCE:
            self.presence.setdefault(body["kid"], []).append((body["since_us"], body["state"]))
        elif kind == Kind.FUNCTIONS:
            said = Said(body["at_us"], body["until_us"], body["is_timed"], body["states"])
            self.functions.setdefault(body["kid"], []).append(said)
        elif kind == Kind.MARK:
            self.marks.setdefault(body["case"], []).append(body)

    def marks_of(self, case: str) -> list[Mark]:
        """The marks of a case: an order proves its repair itself, and then nothing else ends the case."""
        found = self.marks.get(case, ())
        has_order = any(order["case"] == case and not order["is_void"] for order in self.orders.values())
        ends = {MarkKind.RESTORED, MarkKind.RELAPSED}
        return [
            Mark(MarkKind(body["kind"]), body["at_us"])
            for body in found
            if not has_order or body["source"] == "order" or body["kind"] not in ends
        ]

    def pauses_by_case(self) -> dict[str, list[Pause]]:
        """The pauses of each case."""
        found: dict[str, list[Pause]] = {}
        for body in self.pauses.values():
            pause = Pause(body["reason"], body["since_us"], body["until_us"], body["evidence"])
            found.setdefault(body["case"], []).append(pause)
        return found


def fold(rows: Iterable[Row]) -> Facts:
    """What rows say together, in their order."""
    facts = Facts()
    for kind, body in rows:
        facts.add(kind, body)
    return facts


def in_force(rows: Iterable[Row], at_us: int) -> Iterator[Row]:
    """The rows that still matter from a moment on, in an order in which they say the same."""
    latest: dict[tuple[str, str], Row] = {}
    later: list[Row] = []
    marks: dict[str, list[Row]] = {}
    for kind, body in rows:
        if kind in _TIMED:
            _sort(latest, later, (kind, body), at_us)
        elif kind is Kind.MARK:
            marks.setdefault(body["case"], []).append((kind, body))
        elif kind is Kind.CONTRACT or kind in _LATEST:
            latest[kind, "" if kind is Kind.CONTRACT else body[_LATEST[kind][1]]] = (kind, body)
    closed = {body["id"] for kind, body in latest.values() if kind is Kind.CASE and _is_closed(body, at_us)}
    for kind, body in latest.values():
        case = body["id"] if kind is Kind.CASE else body.get("case")
        if case not in closed:
            yield kind, body
            if kind is Kind.CASE:
                yield from marks.get(body["id"], ())
    yield from later


def _sort(latest: dict[tuple[str, str], Row], later: list[Row], row: Row, at_us: int) -> None:
    """Keep what is about the time after a moment, and of each kiosk what it was at that moment."""
    kind, body = row
    field_name = _TIMED[kind]
    if body[field_name] > at_us:
        later.append(row)
    elif kind in {Kind.PRESENCE, Kind.FUNCTIONS}:
        known = latest.get((kind, body["kid"]))
        if known is None or body[field_name] >= known[1][field_name]:
            latest[kind, body["kid"]] = row


def _is_closed(case: Body, at_us: int) -> bool:
    return case["closed_us"] is not None and case["closed_us"] < at_us
