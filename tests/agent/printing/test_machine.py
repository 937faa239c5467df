"""Every pair of state and event of a print job."""

from __future__ import annotations

import pytest

from agent.printing.machine import OPEN, TABLE, JobEvent, JobState
from kit.machine import IllegalTransition, pairs, step


@pytest.mark.parametrize(("state", "event"), list(pairs(JobState, JobEvent)))
def test_walk(state: JobState, event: JobEvent) -> None:
    if (state, event) in TABLE:
        assert step(TABLE, state, event) is TABLE[state, event]
    else:
        with pytest.raises(IllegalTransition):
            step(TABLE, state, event)


def test_what_may_have_left_paper_is_never_queued_again() -> None:
    back = {(state, event) for (state, event), after in TABLE.items() if after is JobState.QUEUED}
    assert back == {(JobState.PRINTING, JobEvent.RETURNED)}


def test_only_a_person_leaves_unknown() -> None:
    assert {event for state, event in TABLE if state is JobState.UNKNOWN} == {JobEvent.SEEN, JobEvent.MISSED}


def test_what_is_over_stays_over() -> None:
    over = set(JobState) - OPEN - {JobState.UNKNOWN}
    assert not [state for state, _ in TABLE if state in over]
