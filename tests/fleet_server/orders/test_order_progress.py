"""Clocks against an oracle that counts elementary stretches; proof, pauses, waivers and relapse by their progress."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from fleet_server.errors import Refusal
from fleet_server.orders import progress
from fleet_server.orders.model import (
    EvidenceKind,
    FaultStatus,
    NewsKind,
    Order,
    OrderKind,
    OrderState,
    Pause,
    PauseReason,
    SelfTest,
    Stop,
    Target,
)
from fleet_server.sla.contract import PROOF, Exclusion
from wire.faults import Severity

AT = datetime(2026, 10, 31, 22, 0, tzinfo=UTC)
PAPER = Target("zzj-001", "printer", "paper_out", AT)


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def order(state: OrderState = OrderState.NEW, **more: Any) -> Order:  # noqa: ANN401 - fields of an order
    base = Order(
        "o", "WO-2026-000001", OrderKind.INCIDENT, state, "paper_out", "zzj-001/printer", Severity.MAJOR, None, AT, AT
    )
    return replace(base, **more)


def pause(since_s: float, until_s: float | None, *, counts: bool = True) -> Pause:
    until = None if until_s is None else AT + s(until_s)
    reason, kind = PauseReason.HOSPITAL_POWER, EvidenceKind.UPS
    return Pause("p", "o", reason, kind, "ups-1", AT + s(since_s), until, "li", None, counts)


def trial(at_s: float, test: str = "print_receipt", *, good: bool = True, no: int = 1) -> SelfTest:
    return SelfTest(no, "zzj-001", "printer", test, AT + s(at_s), good, "li")


def oracle(since: int, stop: int | None, now: int, pauses: list[tuple[int, int | None, bool]]) -> int:
    """Seconds between every two neighbouring edges, unless some pause that counts covers them."""
    end = now if stop is None else min(stop, now)
    edges = sorted({since, end, *(edge for one in pauses for edge in one[:2] if edge is not None)})
    total = 0
    for left, right in pairwise(edges):
        inside = since <= left and right <= end
        covered = any(a <= left and (b is None or right <= b) for a, b, counts in pauses if counts)
        total += right - left if inside and not covered else 0
    return total


def test_both_clocks_equal_the_oracle_in_thousands_of_cases() -> None:
    seeded = random.Random(20261124)
    for _ in range(5_000):
        since, now = seeded.randint(-9_000, 9_000), seeded.randint(-9_000, 60_000)
        stops = [seeded.choice([None, seeded.randint(-9_000, 60_000)]) for _ in range(3)]
        spans: list[tuple[int, int | None, bool]] = []
        for _ in range(seeded.randint(0, 6)):
            start = seeded.randint(-12_000, 50_000)
            spans.append((start, seeded.choice([None, start + seeded.randint(0, 20_000)]), seeded.random() < 0.8))
        made = [None if at is None else Stop(AT + s(at), "li", "x") for at in stops]
        one = order(since=AT + s(since), response=made[0], on_site=made[1], repair=made[2])
        pauses = [pause(a, b, counts=counts) for a, b, counts in spans]
        first = min((at for at in stops if at is not None), default=None)
        assert progress.response_s(one, AT + s(now), pauses) == oracle(since, first, now, spans)
        assert progress.repair_s(one, AT + s(now), pauses) == oracle(since, stops[2], now, spans)


def test_late_evidence_moves_the_beginning_and_with_it_both_clocks() -> None:
    found = progress.redate(order(), AT - s(1_800))
    assert found is not None
    assert progress.repair_s(found[0], AT + s(600)) == 2_400
    assert progress.redate(found[0], AT - s(1_800)) is None


@pytest.mark.parametrize(("elapsed_s", "level"), [(7_199, 0), (7_200, 50), (10_800, 75), (12_960, 90), (14_400, 100)])
def test_each_level_is_told_once(elapsed_s: int, level: int) -> None:
    after, news = progress.forecasts(order(), [], AT + s(elapsed_s))
    assert [line.fields["percent"] for line in news] == ([level] * 2 if level else [])
    assert progress.forecasts(after, [], AT + s(elapsed_s)) == (after, [])


def test_an_answered_order_forecasts_its_repair_only() -> None:
    one = order(OrderState.RESPONDED, response=Stop(AT, "li", "x"))
    assert [line.fields["clock"] for line in progress.forecasts(one, [], AT + s(7_200))[1]] == ["repair"]


def test_reasons_for_pauses_and_their_proof_are_the_contracts() -> None:
    assert {reason.value for reason in PauseReason} == {reason.value for reason in Exclusion}
    assert {key.value: set(kinds) for key, kinds in progress.PROOF_OF_PAUSE.items()} == {
        key.value: set(kinds) for key, kinds in PROOF.items()
    }


def test_a_persons_word_counts_only_with_a_second_person() -> None:
    asked = replace(pause(10, None), reason=PauseReason.AREA_LOCKED, evidence_kind=EvidenceKind.DOCUMENT)
    kept = progress.check_pause(order(), asked, AT + s(20))
    assert not kept.counts
    with pytest.raises(Refusal, match="another person"):
        progress.approve(kept, "li")
    assert progress.approve(kept, "wang").counts


def test_a_pause_without_its_proof_or_from_the_future_is_refused() -> None:
    for wrong in (
        replace(pause(0, None), evidence_kind=EvidenceKind.DOCUMENT),
        replace(pause(0, None), evidence=""),
        pause(30, None),
        pause(10, 5),
    ):
        with pytest.raises(Refusal):
            progress.check_pause(order(), wrong, AT + s(20))
    assert progress.check_pause(order(), pause(-500, None), AT + s(20)).since == AT


WELL = FaultStatus(is_open=False, last_raised_at=AT + s(60), cleared_at=AT + s(300))


@pytest.mark.parametrize(
    ("status", "tests", "why"),
    [
        (replace(WELL, is_open=True), [trial(400)], "still up"),
        (WELL, [], "no self-test"),
        (WELL, [trial(60)], "older than the fault"),
        (WELL, [trial(400, "status")], "does not prove"),
        (WELL, [trial(400, good=False)], "failed"),
        (WELL, [replace(trial(400), component="card")], "no self-test"),
        (WELL, [replace(trial(400), kid="zzj-002")], "no self-test"),
    ],
)
def test_what_is_no_proof_says_why(status: FaultStatus, tests: list[SelfTest], why: str) -> None:
    verdict = progress.judged(PAPER, status, tests)
    assert verdict.at is None
    assert why in verdict.why


def test_the_repair_clock_stops_at_the_first_fitting_test_after_the_last_edge() -> None:
    tests = [trial(30, no=1), trial(350, good=False, no=2), trial(400, no=3), trial(500, no=4)]
    verdict = progress.judged(PAPER, WELL, tests)
    assert (verdict.at, verdict.evidence) == (AT + s(400), "record:3")
    stop, missing = progress.proof(order(), [verdict])
    assert stop is not None
    assert not missing
    after, _ = progress.proved(order(OrderState.REPAIRED), stop, s(7_200), AT + s(9_000))
    assert progress.repair_s(after, AT + s(9_000)) == 400


def test_an_alarm_without_a_test_of_its_own_is_proved_by_going_away() -> None:
    target = Target("zzj-001", "kiosk", "kiosk_offline", AT)
    assert progress.judged(target, None, []).at is None
    assert progress.judged(target, WELL, []).at == AT + s(300)


def test_one_target_that_is_not_well_keeps_the_whole_order_open() -> None:
    good, bad = progress.judged(PAPER, WELL, [trial(400)]), progress.judged(PAPER, WELL, [])
    assert progress.proof(order(), [good, bad])[0] is None


def test_a_waiver_needs_another_person() -> None:
    one, _ = progress.ask_waiver(order(OrderState.ON_SITE), "li", "打印机已送修, 现场换上备机", AT + s(100))
    with pytest.raises(Refusal, match="another person"):
        progress.waive(one, "li", None, AT + s(200))
    after, _ = progress.waive(one, "wang", AT + s(150), AT + s(200))
    assert (after.state, progress.repair_s(after, AT + s(900))) == (OrderState.VERIFIED, 150)
    with pytest.raises(Refusal, match="nobody asked"):
        progress.waive(order(OrderState.ON_SITE), "wang", None, AT)


def test_probation_ends_by_uses_or_by_time() -> None:
    one = order(OrderState.VERIFIED, repair=Stop(AT, None, "record:1"), probation_until=AT + s(7_200))
    assert progress.passed(one, 2, 3, AT + s(60)) is None
    for uses, now_s in ((3, 60), (0, 7_200)):
        closed = progress.passed(one, uses, 3, AT + s(now_s))
        assert closed is not None
        assert closed[0].state is OrderState.CLOSED


def test_a_relapse_within_a_day_is_the_same_case_and_its_clock_never_stopped() -> None:
    closed = order(OrderState.CLOSED, repair=Stop(AT + s(600), None, "record:1"), closed_at=AT + s(900))
    found = progress.relapse(closed, AT + s(3_600))
    assert found is not None
    again, news = found
    assert (again.state, again.relapses, news[0].kind) == (OrderState.RESPONDED, 1, NewsKind.RELAPSED)
    assert progress.repair_s(again, AT + s(4_000)) == 4_000
    assert progress.relapse(closed, AT + s(600 + 86_401)) is None
    assert progress.relapse(closed, AT + s(600)) is None


def test_what_is_done_for_people_is_done_when_somebody_was_there() -> None:
    one = order(OrderState.RESPONDED, kind=OrderKind.HELP)
    with pytest.raises(Refusal, match="nobody checked in"):
        progress.claim(one, "li", AT)
    there, _ = progress.check_in(one, Stop(AT + s(90), "li", "checkin:n"))
    done, _ = progress.claim(there, "li", AT + s(400))
    stop, _ = progress.proof(done, [])
    assert stop is not None
    assert stop.at == AT + s(90)
