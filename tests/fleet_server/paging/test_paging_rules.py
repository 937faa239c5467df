"""Who is to be told and when: ladders, repetitions, flapping, backoff."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from fleet_server.incidents.model import EventKind, Incident, IncidentEvent, IncidentState, Scope
from fleet_server.paging import rules
from fleet_server.paging.model import CaseState, Delivery, DeliveryState, Ladder, PagingCase, Step
from fleet_server.settings import PagingSettings
from wire.faults import Severity

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
LADDER = Ladder((Step(0, ("duty", "mail")), Step(300, ("second",))), repeat_s=600)


def case(**changed: object) -> PagingCase:
    return PagingCase("I1", 7, Severity.MAJOR, START, **changed)  # type: ignore[arg-type] # fields by name


def incident(**changed: object) -> Incident:
    plain = Incident("I1", 1, IncidentState.OPEN, "paper_out", Scope.COMPONENT, "k/p", Severity.MAJOR, START, START)
    return replace(plain, **changed)  # type: ignore[arg-type] # fields by name


def event(kind: EventKind, at: datetime = START, seq: int = 7, **fields: bool) -> IncidentEvent:
    return IncidentEvent(seq, "I1", kind, at, at, fields=fields)


def said(now: datetime, made: list[Delivery], of: PagingCase | None = None) -> list[tuple[int, int, str]]:
    ids = itertools.count(len(made))
    fresh = rules.planned(of or case(), made, LADDER, now, lambda: f"D{next(ids)}")
    made += fresh
    return [(one.step, one.turn, one.target) for one in fresh]


def test_the_first_step_at_once_the_second_later_then_everybody_again() -> None:
    made: list[Delivery] = []
    assert said(START, made) == [(0, 0, "duty"), (0, 0, "mail")]
    assert said(START + timedelta(seconds=299), made) == []
    assert said(START + timedelta(seconds=300), made) == [(1, 0, "second")]
    assert said(START + timedelta(seconds=899), made) == []
    again = [(1, 1, "duty"), (1, 1, "mail"), (1, 1, "second")]
    assert said(START + timedelta(seconds=900), made) == again
    assert said(START + timedelta(seconds=901), made) == []


def test_a_night_without_a_server_is_made_up_for_once() -> None:
    made: list[Delivery] = []
    assert len(said(START + timedelta(hours=9), made)) == 6  # both steps, and the newest repetition
    assert said(START + timedelta(hours=9, seconds=1), made) == []


@pytest.mark.parametrize(
    "of", [case(state=CaseState.ENDED), case(snoozed_until=START + timedelta(hours=1))], ids=["ended", "snoozed"]
)
def test_nobody_is_told_of_what_is_acknowledged_or_snoozed(of: PagingCase) -> None:
    assert said(START, [], of) == []


def test_a_snooze_ends() -> None:
    of = case(snoozed_until=START + timedelta(minutes=4))
    assert said(START + timedelta(minutes=4), [], of) == [(0, 0, "duty"), (0, 0, "mail")]


@pytest.mark.parametrize(
    ("kind", "changed", "pages"),
    [
        (EventKind.OPENED, {}, True),
        (EventKind.WORSENED, {}, True),
        (EventKind.RELAPSED, {}, True),
        (EventKind.JOINED, {}, False),
        (EventKind.NOTED, {}, False),
        (EventKind.OPENED, {"is_hist": True}, False),
        (EventKind.OPENED, {"window": "w1"}, False),
    ],
)
def test_what_opens_a_case(kind: EventKind, changed: dict[str, object], pages: bool) -> None:
    assert (rules.occasion(event(kind), incident(**changed), None) is not None) is pages


def test_history_that_relapses_pages_nobody() -> None:
    assert rules.occasion(event(EventKind.RELAPSED, hist=True), incident(), None) is None


def test_what_comes_and_goes_pages_once_an_hour() -> None:
    told, last = 0, None
    for minute in range(0, 240, 2):
        found = rules.occasion(event(EventKind.RELAPSED, START + timedelta(minutes=minute)), incident(), last)
        if found is not None:
            told, last = told + 1, found
    assert told == 4


def test_a_severity_without_a_ladder_follows_the_next_below() -> None:
    ladders = {Severity.MAJOR: LADDER}
    assert rules.ladder_for(Severity.CRITICAL, ladders) is LADDER
    assert rules.ladder_for(Severity.MINOR, ladders) is None


def test_a_channel_that_never_takes_it_is_tried_with_rising_pauses_and_given_up() -> None:
    now = START
    (one, _) = rules.planned(case(), [], LADDER, now, itertools.count().__next__.__str__)[:2]
    waits = []
    while one.state is DeliveryState.DUE:
        assert rules.may_send(one, now)
        one = rules.failed(rules.taken(one, now), "no answer", now)
        if one.state is DeliveryState.DUE:
            waits.append((one.due_at - now).total_seconds())
            assert not rules.may_send(one, now)
            now = one.due_at
    assert waits == list(rules.BACKOFF_S)
    assert (one.state, one.attempts, one.note) == (DeliveryState.FAILED, len(rules.BACKOFF_S) + 1, "no answer")


def test_who_died_while_sending_is_followed_up() -> None:
    (one, _) = rules.planned(case(), [], LADDER, START, itertools.count().__next__.__str__)[:2]
    taken = rules.taken(one, START)
    assert not rules.may_send(taken, START + timedelta(seconds=rules.SENDING_S - 1))
    assert rules.may_send(taken, START + timedelta(seconds=rules.SENDING_S))


TARGET = {"kind": "webhook", "url_file": "/x"}


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"ladders": {"major": {"steps": [{"targets": ["duty"]}]}}}, "no target duty"),
        (
            {"targets": {"a": TARGET}, "ladders": {"critical": {"steps": [{"targets": ["a"]}]}}},
            "two different targets",
        ),
        (
            {
                "targets": {"a": TARGET},
                "ladders": {"major": {"steps": [{"after_s": 60, "targets": ["a"]}, {"targets": ["a"]}]}},
            },
            "order of their times",
        ),
        ({"ladders": {"major": {"steps": []}}}, "at least 1"),
        ({"targets": {"a": {"kind": "pigeon", "url_file": "/x"}}}, "webhook"),
    ],
)
def test_settings_that_would_leave_nobody_told_are_refused(document: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        PagingSettings.model_validate(document)
