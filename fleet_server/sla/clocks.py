"""The two clocks of a case: response and repair, at any hour of any day, from evidence alone.

Every time here is server time of the evidence (`uplink.times`), not of its arrival, and never a kiosk's own clock.
What is learned later re-dates a case: of two statements on when it began, the one that was written later holds.
A stop counts only where nothing broke again within the contract's time for that. A pause counts only with a reason
and a kind of evidence that the contract names; without, it is shown as unproved and the clock runs on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fleet_server.sla.contract import Contract, Limits
from fleet_server.sla.spans import SECOND_US, Span, to_s, total, union, within


class MarkKind(StrEnum):
    """What a piece of evidence says about a case."""

    BEGAN = "began"
    RESPONDED = "responded"
    RESTORED = "restored"
    RELAPSED = "relapsed"


@dataclass(frozen=True, slots=True)
class Mark:
    """One piece of evidence; `at_us` is when it happened."""

    kind: MarkKind
    at_us: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch in which the clocks of a case stand still, if it is proved."""

    reason: str
    since_us: int
    until_us: int | None
    evidence: Mapping[str, object] = field(default_factory=dict)
    """Kind of evidence to what it refers to."""


@dataclass(frozen=True, slots=True)
class Course:
    """When a case began, was answered and was over."""

    began_us: int
    responded_us: int | None
    restored_us: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one clock shows at a moment."""

    limit_s: int
    elapsed_s: int
    paused_s: int
    unproved_s: int
    """Paused without proof; part of `elapsed_s`."""
    is_running: bool
    is_breached: bool
    level: int
    """The highest warning level in percent that is passed; 0 below the first, 100 at the limit."""
    breach_us: int | None
    """When the limit was or will be reached if no further pause comes; None when it stopped in time or stands still."""


def course(marks: Iterable[Mark], relapse_s: int) -> Course | None:
    """What the marks of a case say together, in the order they were written in; None while none says when it began."""
    began_us: int | None = None
    responded: list[int] = []
    turns: list[tuple[int, int]] = []
    for mark in marks:
        match mark.kind:
            case MarkKind.BEGAN:
                began_us = mark.at_us
            case MarkKind.RESPONDED:
                responded.append(mark.at_us)
            case MarkKind.RESTORED | MarkKind.RELAPSED:
                turns.append((mark.at_us, int(mark.kind is MarkKind.RESTORED)))
    if began_us is None:
        return None
    restored_us: int | None = None
    for at_us, is_restored in sorted(turns):
        if restored_us is None:
            restored_us = at_us if is_restored else None
        elif not is_restored and at_us - restored_us <= relapse_s * SECOND_US:
            restored_us = None
    response_us = max(began_us, min(responded)) if responded else restored_us
    if response_us is not None and restored_us is not None:
        response_us = min(response_us, max(restored_us, began_us))
    return Course(began_us, response_us, None if restored_us is None else max(restored_us, began_us))


def read(
    began_us: int, stop_us: int | None, now_us: int, limit_s: int, pauses: Sequence[Pause], contract: Contract
) -> Reading:
    """What a clock shows at `now_us` that began and, where it did, stopped."""
    end_us = max(began_us, now_us if stop_us is None else min(stop_us, now_us))
    is_running = stop_us is None or stop_us > now_us
    outer = [(began_us, end_us)] if end_us > began_us else []
    proved = union(_span(pause, now_us) for pause in pauses if contract.proves(pause.reason, pause.evidence))
    claimed = union(_span(pause, now_us) for pause in pauses)
    paused = within(proved, outer)
    elapsed_us = end_us - began_us - total(paused)
    unproved_us = total(within(claimed, outer)) - total(paused)
    limit_us = limit_s * SECOND_US
    breach_us: int | None = _reached(began_us, limit_us, proved)
    if elapsed_us <= limit_us and (not is_running or _stands(pauses, now_us, contract)):
        breach_us = None
    return Reading(
        limit_s=limit_s,
        elapsed_s=to_s(elapsed_us),
        paused_s=to_s(total(paused)),
        unproved_s=to_s(unproved_us),
        is_running=is_running,
        is_breached=elapsed_us > limit_us,
        level=_level(elapsed_us, limit_us, contract.warn_percent),
        breach_us=breach_us,
    )


def readings(
    of: Course, now_us: int, limits: Limits, pauses: Sequence[Pause], contract: Contract
) -> tuple[Reading, Reading]:
    """The response clock and the repair clock of a case."""
    response = read(of.began_us, of.responded_us, now_us, limits.response_s, pauses, contract)
    return response, read(of.began_us, of.restored_us, now_us, limits.repair_s, pauses, contract)


def _span(pause: Pause, now_us: int) -> Span:
    return pause.since_us, now_us if pause.until_us is None else pause.until_us


def _stands(pauses: Sequence[Pause], now_us: int, contract: Contract) -> bool:
    return any(
        pause.until_us is None and pause.since_us <= now_us and contract.proves(pause.reason, pause.evidence)
        for pause in pauses
    )


def _reached(began_us: int, limit_us: int, pauses: Sequence[Span]) -> int:
    """When a clock that stands still in the pauses reaches its limit."""
    reached_us = began_us + limit_us
    for since, until in pauses:
        start = max(since, began_us)
        if until <= began_us:
            continue
        if start >= reached_us:
            break
        reached_us += until - start
    return reached_us


def _level(elapsed_us: int, limit_us: int, levels: Sequence[int]) -> int:
    if elapsed_us >= limit_us:
        return 100
    return max((level for level in levels if elapsed_us * 100 >= limit_us * level), default=0)
