"""Every pair of the table of paper changes, and what sensors say."""

from __future__ import annotations

import pytest

from agent.maintenance.wizard import BY_PERSON, INITIAL, OVER, TABLE, Event, Step, advance, choices, is_met, judged
from kit.machine import IllegalTransition, mermaid, pairs
from support.tree import ROOT
from wire.envelope import Scalar
from wire.faults import Fault


@pytest.mark.parametrize(("now", "event"), list(pairs(Step, Event)))
def test_a_pair_is_in_the_table_or_a_bug(now: Step, event: Event) -> None:
    if (now, event) in TABLE:
        assert advance(now, event) is TABLE[now, event]
    else:
        with pytest.raises(IllegalTransition):
            advance(now, event)


def test_every_step_is_reached_and_left() -> None:
    assert {INITIAL, *TABLE.values()} == set(Step)
    assert {now for now, _ in TABLE} == set(Step) - OVER
    for now in Step:
        by_kiosk = {event for at, event in TABLE if at is now} - BY_PERSON
        assert bool(by_kiosk) is (now in {Step.CHECK, Step.PRINT})
        assert not (by_kiosk and choices(now))


def test_the_documents_diagram_is_the_table() -> None:
    assert mermaid(TABLE, INITIAL) in (ROOT / "docs/maintenance.md").read_text(encoding="utf-8")


def test_paper_that_was_not_proven_is_never_done() -> None:
    assert [pair for pair, after in TABLE.items() if after is Step.DONE] == [(Step.LOOK, Event.GOOD)]
    assert [pair for pair, after in TABLE.items() if after is Step.LOOK] == [(Step.PRINT, Event.PRINTED)]


@pytest.mark.parametrize(
    ("now", "values", "met"),
    [
        (Step.OPEN, {"cover": "open"}, True),
        (Step.OPEN, {"cover": "closed"}, False),
        (Step.CLOSE, {"cover": "closed"}, True),
        (Step.PUT_IN, {"cover": "unknown"}, None),
        (Step.OPEN, {}, None),
        (Step.LOOK, {"cover": "closed"}, None),
    ],
)
def test_a_step_the_printer_sees(now: Step, values: dict[str, Scalar], met: bool | None) -> None:
    assert is_met(now, values) is met


@pytest.mark.parametrize(
    ("values", "faults", "verdict"),
    [
        ({"paper": "full"}, [], Event.SENSED),
        ({"paper": "unknown"}, [], Event.NO_SENSOR),
        ({}, [], Event.NO_SENSOR),
        ({"paper": "a word of tomorrow"}, [], Event.NO_SENSOR),
        ({"paper": "low"}, [], Event.NOT_SENSED),
        ({"paper": "out"}, [], Event.NOT_SENSED),
        ({"paper": "full"}, [Fault.COVER_OPEN], Event.NOT_SENSED),
        ({"paper": "unknown"}, [Fault.PAPER_OUT], Event.NOT_SENSED),
        ({"paper": "full"}, [Fault.HEAD_HOT], Event.SENSED),
    ],
)
def test_what_the_sensors_say(values: dict[str, Scalar], faults: list[Fault], verdict: Event) -> None:
    assert judged(values, faults) is verdict
