"""State machines are tables: (state, event) -> state. A pair that is absent is a bug and raises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class IllegalTransition(Exception):
    """The table has no row for this pair; the text names both."""

    def __init__(self, state: StrEnum, event: StrEnum) -> None:
        super().__init__(f"{type(state).__name__} {state.value!r} has no transition for {event.value!r}")
        self.state = state
        self.event = event


def step(table: Mapping[tuple[S, E], S], state: S, event: E) -> S:
    """The state after `event`.

    Raises:
        IllegalTransition: the table has no such row.
    """
    try:
        return table[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def can_step(table: Mapping[tuple[S, E], S], state: S, event: E) -> bool:
    """Whether the table has a row for this pair."""
    return (state, event) in table


def pairs(states: type[S], events: type[E]) -> Iterator[tuple[S, E]]:
    """Every pair there could be, for a test that walks them all."""
    return ((state, event) for state in states for event in events)


def mermaid(table: Mapping[tuple[S, E], S], initial: S) -> str:
    """The table as a Mermaid state diagram, in the table's order."""
    lines = ["stateDiagram-v2", f"    [*] --> {initial.value}"]
    lines += [f"    {state.value} --> {after.value}: {event.value}" for (state, event), after in table.items()]
    return "\n".join(lines) + "\n"
