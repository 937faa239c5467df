from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import pytest

from kit.machine import IllegalTransition, can_step, mermaid, pairs, step


class Door(StrEnum):
    OPEN = "open"
    SHUT = "shut"
    LOCKED = "locked"


class Act(StrEnum):
    PUSH = "push"
    PULL = "pull"
    TURN = "turn"


TABLE: Final[Mapping[tuple[Door, Act], Door]] = {
    (Door.OPEN, Act.PUSH): Door.SHUT,
    (Door.SHUT, Act.PULL): Door.OPEN,
    (Door.SHUT, Act.TURN): Door.LOCKED,
    (Door.LOCKED, Act.TURN): Door.SHUT,
}


def test_pairs_are_every_state_with_every_event() -> None:
    assert len(list(pairs(Door, Act))) == 9
    assert set(TABLE) <= set(pairs(Door, Act))


@pytest.mark.parametrize(("state", "event"), list(pairs(Door, Act)))
def test_every_pair_steps_as_the_table_says_or_raises(state: Door, event: Act) -> None:
    assert can_step(TABLE, state, event) is ((state, event) in TABLE)
    if (state, event) in TABLE:
        assert step(TABLE, state, event) is TABLE[state, event]
        return
    with pytest.raises(IllegalTransition) as caught:
        step(TABLE, state, event)
    assert (caught.value.state, caught.value.event) == (state, event)
    assert str(caught.value) == f"Door '{state}' has no transition for '{event}'"


def test_a_step_leaves_the_table_alone() -> None:
    before = dict(TABLE)
    step(TABLE, Door.OPEN, Act.PUSH)
    assert before == TABLE


def test_the_diagram_has_one_line_per_row_in_the_tables_order() -> None:
    assert mermaid(TABLE, Door.SHUT) == (
        "stateDiagram-v2\n"
        "    [*] --> shut\n"
        "    open --> shut: push\n"
        "    shut --> open: pull\n"
        "    shut --> locked: turn\n"
        "    locked --> shut: turn\n"
    )
