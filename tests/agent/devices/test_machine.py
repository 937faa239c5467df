"""The table of a device's life."""

from __future__ import annotations

import pytest

from agent.devices.machine import INITIAL, TABLE, DeviceEvent, DeviceState
from kit.machine import IllegalTransition, pairs, step


@pytest.mark.parametrize(("state", "event"), list(pairs(DeviceState, DeviceEvent)))
def test_every_pair_is_a_row_or_a_bug(state: DeviceState, event: DeviceEvent) -> None:
    if (state, event) in TABLE:
        assert step(TABLE, state, event) is TABLE[state, event]
    else:
        with pytest.raises(IllegalTransition):
            step(TABLE, state, event)


def test_every_state_can_be_reached_and_left() -> None:
    reached, todo = {INITIAL}, [INITIAL]
    while todo:
        here = todo.pop()
        fresh = {after for (state, _), after in TABLE.items() if state is here} - reached
        reached |= fresh
        todo += fresh
    assert reached == set(DeviceState)


def test_a_loss_is_taken_wherever_a_link_is_open() -> None:
    for state in (DeviceState.STARTING, DeviceState.READY, DeviceState.BUSY):
        assert TABLE[state, DeviceEvent.LOST] is DeviceState.ABSENT
        assert TABLE[state, DeviceEvent.FAILED] is DeviceState.FAULTED
