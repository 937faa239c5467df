"""The four tables: every pair is either a row or raises, and the promises that can be read off them hold."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import pytest

from kit.machine import IllegalTransition, pairs, step
from patient_platform.payment.machine import FULFILMENT, MONEY, POSTING, REFUND
from patient_platform.payment.model import (
    Fulfilment,
    FulfilmentEvent,
    Money,
    MoneyEvent,
    Posting,
    PostingEvent,
    RefundEvent,
    RefundState,
)

TABLES = [
    (MONEY, Money, MoneyEvent, Money.CREATED),
    (POSTING, Posting, PostingEvent, Posting.NOT_READY),
    (FULFILMENT, Fulfilment, FulfilmentEvent, Fulfilment.NONE),
    (REFUND, RefundState, RefundEvent, RefundState.REQUESTED),
]


@pytest.mark.parametrize(("table", "states", "events", "first"), TABLES)
def test_every_pair_is_a_row_or_raises(
    table: Mapping[tuple[StrEnum, StrEnum], StrEnum],
    states: type[StrEnum],
    events: type[StrEnum],
    first: StrEnum,
) -> None:
    for state, event in pairs(states, events):
        if (state, event) in table:
            assert step(table, state, event) is table[state, event]
        else:
            with pytest.raises(IllegalTransition):
                step(table, state, event)


@pytest.mark.parametrize(("table", "states", "events", "first"), TABLES)
def test_every_state_can_be_reached(
    table: Mapping[tuple[StrEnum, StrEnum], StrEnum],
    states: type[StrEnum],
    events: type[StrEnum],
    first: StrEnum,
) -> None:
    reached = {first}
    while more := {after for (state, _), after in table.items() if state in reached} - reached:
        reached |= more
    assert reached == set(states)


def test_nothing_goes_from_paid_to_unpaid() -> None:
    assert not [pair for pair in MONEY if pair[0] in {Money.PAID, Money.LATE_PAID}]
    assert not [pair for pair in POSTING if pair[0] is Posting.POSTED]


def test_not_knowing_ends_by_evidence_only() -> None:
    after = {event: state for (before, event), state in MONEY.items() if before is Money.UNKNOWN}
    assert after[MoneyEvent.LOST] is Money.UNKNOWN
    assert MoneyEvent.SUBMIT not in after
    assert after[MoneyEvent.REFUSED] is Money.FAILED
    assert after[MoneyEvent.GIVE_UP] is Money.REVERSING


def test_a_payment_during_a_reversal_waits_for_the_reversals_own_answer() -> None:
    assert MONEY[Money.REVERSING, MoneyEvent.PAID] is Money.REVERSING
    assert MONEY[Money.REVERSE_UNKNOWN, MoneyEvent.PAID] is Money.REVERSE_UNKNOWN
