"""Changing paper, step by step: a table, and what the printer's own sensors say about each step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kit.machine import step
from wire.envelope import Scalar
from wire.faults import Fault


class Step(StrEnum):
    """Where the engineer is. `check` and `print` are the kiosk's own doing."""

    OPEN = "open"
    TAKE_OUT = "take_out"
    PUT_IN = "put_in"
    CLOSE = "close"
    CHECK = "check"
    PRINT = "print"
    LOOK = "look"
    DONE = "done"
    STOPPED = "stopped"


class Event(StrEnum):
    """What moves on: the engineer, the sensors, the test print."""

    NEXT = "next"
    BACK = "back"
    STOP = "stop"
    SENSED = "sensed"
    NOT_SENSED = "not_sensed"
    NO_SENSOR = "no_sensor"
    PRINTED = "printed"
    NOT_PRINTED = "not_printed"
    GOOD = "good"
    BAD = "bad"


_S, _E = Step, Event
INITIAL: Final = Step.OPEN
TABLE: Final[Mapping[tuple[Step, Event], Step]] = MappingProxyType(
    {
        (_S.OPEN, _E.NEXT): _S.TAKE_OUT,
        (_S.OPEN, _E.STOP): _S.STOPPED,
        (_S.TAKE_OUT, _E.NEXT): _S.PUT_IN,
        (_S.TAKE_OUT, _E.BACK): _S.OPEN,
        (_S.TAKE_OUT, _E.STOP): _S.STOPPED,
        (_S.PUT_IN, _E.NEXT): _S.CLOSE,
        (_S.PUT_IN, _E.BACK): _S.TAKE_OUT,
        (_S.PUT_IN, _E.STOP): _S.STOPPED,
        (_S.CLOSE, _E.NEXT): _S.CHECK,
        (_S.CLOSE, _E.BACK): _S.PUT_IN,
        (_S.CLOSE, _E.STOP): _S.STOPPED,
        (_S.CHECK, _E.SENSED): _S.PRINT,
        (_S.CHECK, _E.NO_SENSOR): _S.PRINT,  # the test print is the proof then
        (_S.CHECK, _E.NOT_SENSED): _S.PUT_IN,
        (_S.PRINT, _E.PRINTED): _S.LOOK,
        (_S.PRINT, _E.NOT_PRINTED): _S.PUT_IN,
        (_S.LOOK, _E.GOOD): _S.DONE,
        (_S.LOOK, _E.BAD): _S.PUT_IN,
        (_S.LOOK, _E.STOP): _S.STOPPED,
    }
)
BY_PERSON: Final = frozenset({Event.NEXT, Event.BACK, Event.STOP, Event.GOOD, Event.BAD})
OVER: Final = frozenset({Step.DONE, Step.STOPPED})
_COVER: Final = {Step.OPEN: "open", Step.TAKE_OUT: "open", Step.PUT_IN: "open", Step.CLOSE: "closed"}
_STOPS_PRINTING: Final = (Fault.COVER_OPEN, Fault.PAPER_OUT, Fault.PAPER_JAM, Fault.PAPER_LOW)
_PAPER: Final = {
    "full": Event.SENSED,
    "unknown": Event.NO_SENSOR,
    "low": Event.NOT_SENSED,
    "out": Event.NOT_SENSED,
    "jammed": Event.NOT_SENSED,
}


def advance(now: Step, event: Event) -> Step:
    """The step after `event`. Raises: IllegalTransition."""
    return step(TABLE, now, event)


def choices(now: Step) -> list[Event]:
    """What the engineer may do at a step, in the order of the table."""
    return [event for (at, event) in TABLE if at is now and event in BY_PERSON]


def is_met(now: Step, values: Mapping[str, Scalar]) -> bool | None:
    """Whether the printer sees that the step was done; None when it cannot tell."""
    cover, wanted = values.get("cover"), _COVER.get(now)
    return cover == wanted if wanted is not None and cover in {"open", "closed"} else None


def judged(values: Mapping[str, Scalar], faults: Collection[Fault]) -> Event:
    """What the sensors say about the paper that was put in; a printer without a sensor is not believed either way."""
    if any(fault in faults for fault in _STOPS_PRINTING):
        return Event.NOT_SENSED
    return _PAPER.get(str(values.get("paper", "unknown")), Event.NO_SENSOR)
