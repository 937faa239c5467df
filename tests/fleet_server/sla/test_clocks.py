"""Every clock equals an oracle that was written on its own, also where kiosks' clocks jump and kiosks restart."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from fleet_server.sla.clocks import Course, Mark, MarkKind, Pause, course, read, readings
from fleet_server.sla.contract import Contract, Exclusion, Limits, parse
from fleet_server.sla.spans import to_moment, to_us
from fleet_server.uplink.times import Clocks, RecordTimes

CONTRACT = parse('number = "1"\nhospital = "H"\nvendor = "V"\nstarts_on = 2026-01-01\n')
START = to_us(datetime(2026, 3, 1, tzinfo=UTC))
SECOND = 1_000_000
LIMIT_S = 14_400
PROVED = {"document": "d-1"}
INCIDENTS = 10_000


@dataclass
class Truth:
    """What really happened, in microseconds; nothing of it is asked of the product."""

    broke: list[int] = field(default_factory=list)
    mended: list[int] = field(default_factory=list)
    answered: int | None = None
    pauses: list[Pause] = field(default_factory=list)


class Machine:
    """A kiosk whose clock jumps and which restarts; it keeps what happens and tells it late."""

    def __init__(self, rng: random.Random, times: RecordTimes, kid: str) -> None:
        self.rng, self.times, self.kid, self.boots = rng, times, kid, 0

    def tell(self, moments: list[int]) -> list[int]:
        """The server times the product gives to records made at these moments."""
        rng = self.rng
        placed: list[int] = []
        cuts = sorted(rng.sample(range(1, len(moments)), rng.randint(0, min(2, len(moments) - 1))))
        for first, last in zip([0, *cuts], [*cuts, len(moments)], strict=True):
            boot_at = moments[first] - rng.randint(5, 90_000) * SECOND
            self.boots += 1
            fixed = rng.randrange(first, last)
            records = []
            for place in range(first, last):
                jump_us = rng.choice([0, 3_600, -3_600, 86_400, -86_400, 400 * 86_400, -400 * 86_400]) * SECOND
                records.append((moments[place], jump_us, place == fixed or rng.random() < 0.3))
            received = moments[-1] + rng.randint(0, 20 * 86_400) * SECOND
            placed += self.times.place(self.kid, self._clocks(records, boot_at), received).at_us
        return placed

    def _clocks(self, records: list[tuple[int, int, bool]], boot_at: int) -> Clocks:
        return Clocks(
            at=[to_moment(at + jump) for at, jump, _ in records],
            offset_s=[jump / SECOND if is_measured else None for _, jump, is_measured in records],
            boot=[f"boot-{self.boots}"] * len(records),
            mono_ms=[(at - boot_at) // 1_000 for at, _, _ in records],
            hist=[True] * len(records),
        )


def _truth(rng: random.Random) -> Truth:
    truth = Truth()
    at = START + rng.randint(0, 200 * 86_400 * SECOND)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        truth.broke.append(at)
        at += rng.randint(30, 30_000) * SECOND + rng.randint(0, SECOND)
        truth.mended.append(at)
        at += rng.randint(1, 80_000) * SECOND
    if rng.random() < 0.1:
        truth.mended.pop()
    if rng.random() < 0.8:
        truth.answered = truth.broke[0] + rng.randint(0, 20_000 * SECOND)
    for _ in range(rng.choice([0, 0, 1, 2, 4])):
        since = truth.broke[0] + rng.randint(-5_000, 30_000) * SECOND + rng.randint(0, SECOND)
        until = None if rng.random() < 0.05 else since + rng.randint(0, 12_000 * SECOND)
        evidence = PROVED if rng.random() < 0.8 else {"photo": ""}
        truth.pauses.append(Pause(Exclusion.HOSPITAL_REQUEST, since, until, evidence))
    return truth


def _marks(rng: random.Random, machine: Machine, truth: Truth) -> list[Mark]:
    """The same as evidence: what the server guessed first, then what the kiosk told, in any order."""
    happened = sorted(
        [(at, MarkKind.RELAPSED) for at in truth.broke[1:]] + [(at, MarkKind.RESTORED) for at in truth.mended]
    )
    moments = machine.tell([truth.broke[0], *(at for at, _ in happened)])
    guess = Mark(MarkKind.BEGAN, truth.broke[0] + rng.randint(0, 600) * SECOND)
    turns = [Mark(kind, at) for (_, kind), at in zip(happened, moments[1:], strict=True)]
    rng.shuffle(turns)
    answers = [] if truth.answered is None else [Mark(MarkKind.RESPONDED, truth.answered)]
    return [guess, *turns[:1], Mark(MarkKind.BEGAN, moments[0]), *turns[1:], *answers]


def _oracle(truth: Truth, end: int | None, now: int) -> tuple[float, float, bool, float | None]:
    """Elapsed and paused seconds, breached, and when the limit was reached: by cutting time at every edge."""
    start, stop = truth.broke[0], now if end is None else min(end, now)
    good = [(p.since_us, now if p.until_us is None else p.until_us) for p in truth.pauses if p.evidence == PROVED]
    edges = sorted({start, stop, *(edge for span in good for edge in span if start < edge < stop)})
    ran = stood = 0
    reached: float | None = None
    for left, right in pairwise(edges):
        middle = (left + right) / 2
        if any(since <= middle < until for since, until in good):
            stood += right - left
            continue
        if reached is None and ran + right - left > LIMIT_S * SECOND:
            reached = left + LIMIT_S * SECOND - ran
        ran += right - left
    return ran / SECOND, stood / SECOND, ran > LIMIT_S * SECOND, reached


def test_ten_thousand_incidents_read_like_the_oracle() -> None:
    rng = random.Random(20261124)
    times = RecordTimes()
    breached = paused = 0
    for number in range(INCIDENTS):
        truth = _truth(rng)
        found = course(_marks(rng, Machine(rng, times, f"k{number}"), truth), CONTRACT.relapse_s)
        assert found is not None
        over = truth.mended[-1] if len(truth.mended) == len(truth.broke) else None
        answers = [at for at in (truth.answered, over) if at is not None]
        now = truth.broke[-1] + rng.choice([200, 20_000, 90_000]) * SECOND
        for reading, end in zip(
            readings(found, now, Limits(), truth.pauses, CONTRACT),
            (min(answers, default=None), over),
            strict=True,
        ):
            ran, stood, is_breached, reached = _oracle(truth, end, now)
            assert abs(reading.elapsed_s - ran) <= 1, (number, truth)
            assert abs(reading.paused_s - stood) <= 1, (number, truth)
            assert reading.is_breached == is_breached or abs(ran - LIMIT_S) <= 1
            assert reading.is_running == (end is None or end > now)
            if reached is not None and reading.is_breached:
                assert reading.breach_us is not None
                assert abs(reading.breach_us - reached) <= SECOND
            breached += reading.is_breached
            paused += reading.paused_s > 0
    assert breached > INCIDENTS // 5
    assert paused > INCIDENTS // 5


def _read(
    elapsed_s: int, *pauses: Pause, stop: bool = False, contract: Contract = CONTRACT
) -> tuple[int, bool, float | None]:
    now = START + elapsed_s * SECOND
    reading = read(START, now if stop else None, now, LIMIT_S, pauses, contract)
    ahead = None if reading.breach_us is None else (reading.breach_us - START) / SECOND
    return reading.level, reading.is_breached, ahead


@pytest.mark.parametrize(
    ("elapsed_s", "level"),
    [(0, 0), (7_199, 0), (7_200, 50), (10_800, 75), (12_960, 90), (14_399, 90), (14_400, 100), (20_000, 100)],
)
def test_warnings_come_at_half_three_quarters_and_nine_tenths(elapsed_s: int, level: int) -> None:
    assert _read(elapsed_s) == (level, elapsed_s > LIMIT_S, LIMIT_S)


def test_the_forecast_knows_the_pauses() -> None:
    past = Pause(Exclusion.HOSPITAL_REQUEST, START + 100 * SECOND, START + 1_100 * SECOND, PROVED)
    assert _read(2_000, past) == (0, False, LIMIT_S + 1_000)
    still = Pause(Exclusion.HOSPITAL_REQUEST, START + 100 * SECOND, None, PROVED)
    assert _read(20_000, still) == (0, False, None), "nobody knows when a pause ends"
    late = Pause(Exclusion.HOSPITAL_REQUEST, START + 15_000 * SECOND, None, PROVED)
    assert _read(20_000, late) == (100, True, LIMIT_S), "a pause that began after the breach undoes nothing"
    assert _read(2_000, stop=True) == (0, False, None)


def test_a_pause_without_proof_is_shown_and_does_not_count() -> None:
    pause = Pause(Exclusion.AREA_LOCKED, START, START + 600 * SECOND, {})
    reading = read(START, None, START + 1_000 * SECOND, LIMIT_S, [pause], CONTRACT)
    assert (reading.elapsed_s, reading.paused_s, reading.unproved_s) == (1_000, 0, 600)


def test_a_case_that_comes_back_soon_never_stopped() -> None:
    def marks(relapse_after_s: int) -> list[Mark]:
        restored = START + 600 * SECOND
        return [
            Mark(MarkKind.BEGAN, START),
            Mark(MarkKind.RESTORED, restored),
            Mark(MarkKind.RELAPSED, restored + relapse_after_s * SECOND),
        ]

    assert course(marks(86_400), 86_400) == Course(START, None, None)
    later = course(marks(86_401), 86_400)
    assert later is not None
    assert later.restored_us == START + 600 * SECOND
    assert course([Mark(MarkKind.RESTORED, START)], 86_400) is None


def test_a_clock_over_a_change_of_summer_time_is_not_an_hour_off() -> None:
    berlin = timedelta(hours=1)
    began = to_us(datetime(2026, 3, 29, 1, 30, tzinfo=UTC) - berlin)
    reading = read(began, began + 2 * 3_600 * SECOND, began + 86_400 * SECOND, LIMIT_S, [], CONTRACT)
    assert reading.elapsed_s == 7_200
