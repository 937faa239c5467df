from __future__ import annotations

from itertools import product

import pytest

from fleet_server.orders.machine import OPEN, TABLE, UNPROVED
from fleet_server.orders.model import OrderEvent, OrderState
from kit.machine import IllegalTransition, step

_S, _E = OrderState, OrderEvent
PAIRS = list(product(OrderState, OrderEvent))


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_a_step_or_refused(state: OrderState, event: OrderEvent) -> None:
    if (state, event) in TABLE:
        assert step(TABLE, state, event) in OrderState
    else:
        with pytest.raises(IllegalTransition):
            step(TABLE, state, event)


def test_only_proof_or_a_waiver_leads_to_probation_and_only_probation_to_closed() -> None:
    assert {event for (_, event), after in TABLE.items() if after is _S.VERIFIED} == {_E.PROVE, _E.WAIVE}
    assert {(before, event) for (before, event), after in TABLE.items() if after is _S.CLOSED} == {
        (_S.VERIFIED, _E.PASS)
    }


def test_nothing_leaves_cancelled_and_only_the_fault_opens_what_is_closed() -> None:
    assert not [event for state, event in TABLE if state is _S.CANCELLED]
    assert [event for state, event in TABLE if state is _S.CLOSED] == [_E.RELAPSE]


def test_evidence_ends_every_unproved_order_and_every_unproved_order_can_be_reached() -> None:
    assert all((state, _E.PROVE) in TABLE for state in UNPROVED)
    reached: set[OrderState] = {_S.NEW}
    before: set[OrderState] = set()
    while reached != before:
        before = set(reached)
        reached |= {after for (state, _), after in TABLE.items() if state in reached}
    assert reached == set(OrderState)
    assert {_S.CLOSED, _S.CANCELLED} == set(OrderState) - OPEN


def test_a_pause_ends_where_it_began() -> None:
    back = {event: after for (state, event), after in TABLE.items() if state is _S.PAUSED and "resume" in event}
    paused = {state for (state, event) in TABLE if event is _E.PAUSE and state is not _S.PAUSED}
    assert set(back.values()) == paused
