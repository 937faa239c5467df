"""Pure rules of work orders: the two clocks, proof, pauses, waivers, probation and relapse.

Clocks run from the evidence of the fault to the evidence of its stop, minus the pauses that count, clipped to that
stretch and merged. Only server time is used; a kiosk's own clock never enters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from fleet_server.alerts.catalogue import entry_of
from fleet_server.errors import Refusal
from fleet_server.orders.machine import OPEN, TABLE, UNPROVED
from fleet_server.orders.model import (
    SERVICE,
    Clock,
    EvidenceKind,
    FaultStatus,
    News,
    NewsKind,
    Order,
    OrderEvent,
    OrderKind,
    OrderState,
    Pause,
    PauseReason,
    SelfTest,
    Stop,
    Target,
)
from kit.machine import can_step, step

TARGET_S: Final = 14_400
"""7x24x4: respond and repair within four hours."""
LEVELS: Final = (50, 75, 90, 100)
RELAPSE: Final = timedelta(hours=24)
_K = EvidenceKind
PROOF_OF_PAUSE: Final[Mapping[PauseReason, frozenset[EvidenceKind]]] = MappingProxyType(
    {
        PauseReason.HOSPITAL_POWER: frozenset({_K.INCIDENT, _K.ALARM, _K.UPS}),
        PauseReason.HOSPITAL_NETWORK: frozenset({_K.INCIDENT, _K.ALARM, _K.PROBE}),
        PauseReason.HOSPITAL_SYSTEM: frozenset({_K.INCIDENT, _K.ALARM, _K.PROBE}),
        PauseReason.OUTSIDE_SYSTEM: frozenset({_K.INCIDENT, _K.ALARM, _K.PROBE}),
        PauseReason.AREA_LOCKED: frozenset({_K.PHOTO, _K.DOCUMENT}),
        PauseReason.HOSPITAL_REQUEST: frozenset({_K.DOCUMENT}),
        PauseReason.FORCE_MAJEURE: frozenset({_K.DOCUMENT}),
    }
)
NEEDS_SECOND: Final = frozenset({PauseReason.AREA_LOCKED, PauseReason.HOSPITAL_REQUEST, PauseReason.FORCE_MAJEURE})
"""What rests on a person's word counts only when another person stands for it."""
_PRINTS: Final = frozenset({"print_receipt", "print_page"})
_STATUS: Final = "status"


def number_of(year: int, count: int) -> str:
    """What people call an order."""
    return f"WO-{year}-{count:06d}"


# --- clocks -----------------------------------------------------------------------------------------------------------


def standing(pauses: Iterable[Pause], since: datetime, until: datetime) -> timedelta:
    """How long the pauses that count cover of a stretch, overlaps once."""
    spans = sorted((max(pause.since, since), min(pause.until or until, until)) for pause in pauses if pause.counts)
    total, reached = timedelta(0), since
    for start, end in spans:
        total += max(timedelta(0), end - max(start, reached))
        reached = max(reached, end)
    return total


def _running(since: datetime, stop: Stop | None, now: datetime, pauses: Iterable[Pause]) -> float:
    until = max(since, now if stop is None else min(stop.at, now))
    return (until - since - standing(pauses, since, until)).total_seconds()


def response_s(order: Order, now: datetime, pauses: Iterable[Pause] = ()) -> float:
    """What the response clock shows; a repair is an answer too."""
    stops = [stop for stop in (order.response, order.on_site, order.repair) if stop is not None]
    return _running(order.since, min(stops, key=lambda stop: stop.at, default=None), now, pauses)


def repair_s(order: Order, now: datetime, pauses: Iterable[Pause] = ()) -> float:
    """What the repair clock shows."""
    return _running(order.since, order.repair, now, pauses)


def level_of(elapsed_s: float, target_s: float = TARGET_S) -> int:
    """The highest level in percent that is passed, 0 below the first."""
    return max((level for level in LEVELS if elapsed_s * 100 >= target_s * level), default=0)


def forecasts(order: Order, pauses: Sequence[Pause], now: datetime) -> tuple[Order, list[News]]:
    """The order with the levels its clocks passed since the last look, and the news of it."""
    if order.state not in UNPROVED or order.kind is OrderKind.PREVENTIVE:
        return order, []
    news: list[News] = []
    response, repair = level_of(response_s(order, now, pauses)), level_of(repair_s(order, now, pauses))
    if response > order.response_level and order.response is None and order.on_site is None:
        news.append(_forecast(Clock.RESPONSE, response, now))
    if repair > order.repair_level:
        news.append(_forecast(Clock.REPAIR, repair, now))
    if not news:
        return order, []
    response, repair = max(response, order.response_level), max(repair, order.repair_level)
    return replace(order, response_level=response, repair_level=repair), news


def _forecast(clock: Clock, level: int, now: datetime) -> News:
    return News(NewsKind.FORECAST, now, fields={"clock": clock.value, "percent": level, "target_s": TARGET_S})


# --- what people do ---------------------------------------------------------------------------------------------------


def moved(order: Order, event: OrderEvent) -> OrderState:
    """The state after an event. Raises: Refusal: not in this state."""
    if not can_step(TABLE, order.state, event):
        raise Refusal("order_state", f"an order that is {order.state.value} cannot {event.value}")
    return step(TABLE, order.state, event)


def assign(order: Order, to: str, by: str, now: datetime) -> tuple[Order, list[News]]:
    """Give it to a person. Raises: Refusal."""
    changed = replace(order, state=moved(order, OrderEvent.ASSIGN), assignee=to)
    return changed, [News(NewsKind.ASSIGNED, now, by, {"to": to})]


def respond(order: Order, stop: Stop) -> tuple[Order, list[News]]:
    """A named person takes it; the first one stops the clock. Raises: Refusal."""
    if order.response is not None:
        raise Refusal("order_responded", f"{order.response.by} has answered this order already")
    stop = replace(stop, at=max(stop.at, order.since))
    changed = replace(order, state=moved(order, OrderEvent.RESPOND), response=stop, assignee=order.assignee or stop.by)
    return changed, [News(NewsKind.RESPONDED, stop.at, stop.by, {"evidence": stop.evidence})]


def check_in(order: Order, stop: Stop) -> tuple[Order, list[News]]:
    """Somebody stands before the kiosk: that is an answer too. Raises: Refusal."""
    changed = replace(
        order,
        state=moved(order, OrderEvent.CHECK_IN),
        on_site=order.on_site or stop,
        response=order.response or stop,
        assignee=order.assignee or stop.by,
    )
    return changed, [News(NewsKind.CHECKED_IN, stop.at, stop.by, {"evidence": stop.evidence})]


def claim(order: Order, by: str, now: datetime) -> tuple[Order, list[News]]:
    """The engineer says that it is repaired; no clock stops. Raises: Refusal."""
    if order.kind in SERVICE and order.on_site is None:
        raise Refusal("visit_missing", "nobody checked in at the kiosk: scan its code, or open maintenance there")
    changed = replace(order, state=moved(order, OrderEvent.CLAIM), claimed_at=now, claimed_by=by)
    return changed, [News(NewsKind.CLAIMED, now, by)]


def cancel(order: Order, by: str, reason: str, now: datetime) -> tuple[Order, list[News]]:
    """It should not be there. Raises: Refusal."""
    changed = replace(order, state=moved(order, OrderEvent.CANCEL), closed_at=now)
    return changed, [News(NewsKind.CANCELLED, now, by, {"reason": reason})]


def ask_waiver(order: Order, by: str, reason: str, now: datetime) -> tuple[Order, list[News]]:
    """Ask that a second person lets it pass without the kiosk's own word. Raises: Refusal."""
    moved(order, OrderEvent.WAIVE)
    changed = replace(order, waiver_by=by, waiver_reason=reason)
    return changed, [News(NewsKind.WAIVER_ASKED, now, by, {"reason": reason})]


def waive(order: Order, by: str, cleared_at: datetime | None, now: datetime) -> tuple[Order, list[News]]:
    """A second person lets it pass; where the fault is seen to be gone, the clock stopped then. Raises: Refusal."""
    if order.waiver_by is None:
        raise Refusal("waiver_missing", "nobody asked for a waiver of this order")
    if order.waiver_by == by:
        raise Refusal("same_person", "a waiver is given by another person than the one who asks for it", status=403)
    at = now if cleared_at is None else max(order.since, min(cleared_at, now))
    stop = Stop(at, by, "waiver")
    changed = replace(order, state=moved(order, OrderEvent.WAIVE), repair=stop)
    fields = {"asked_by": order.waiver_by, "reason": order.waiver_reason}
    return changed, [News(NewsKind.WAIVED, stop.at, by, fields)]


# --- pauses -----------------------------------------------------------------------------------------------------------


def check_pause(order: Order, pause: Pause, now: datetime) -> Pause:
    """The pause as it is kept: inside the case, proved as its reason asks. Raises: Refusal."""
    if order.state not in UNPROVED:
        raise Refusal("order_state", f"an order that is {order.state.value} has no clock to stop")
    if pause.evidence_kind not in PROOF_OF_PAUSE[pause.reason] or not pause.evidence:
        wanted = ", ".join(sorted(PROOF_OF_PAUSE[pause.reason]))
        raise Refusal("pause_unproved", f"{pause.reason.value} is proved by: {wanted}", status=422)
    if pause.since > now or (pause.until is not None and not pause.since < pause.until <= now):
        raise Refusal("pause_span", "a pause begins in the past, and ends after it began", status=422)
    since = max(pause.since, order.since)
    return replace(pause, since=since, counts=pause.reason not in NEEDS_SECOND)


def approve(pause: Pause, by: str) -> Pause:
    """A second person stands for it. Raises: Refusal."""
    if pause.counts:
        raise Refusal("pause_decided", "this pause counts already")
    if pause.by == by:
        raise Refusal("same_person", "a pause is approved by another person than the one who asks for it", status=403)
    return replace(pause, approved_by=by, counts=True)


def stage(order: Order) -> OrderEvent:
    """Where an order goes on after a pause."""
    if order.claimed_at is not None:
        return OrderEvent.RESUME_REPAIRED
    if order.on_site is not None:
        return OrderEvent.RESUME_ON_SITE
    if order.response is not None:
        return OrderEvent.RESUME_RESPONDED
    return OrderEvent.RESUME_NEW if order.assignee is None else OrderEvent.RESUME_ASSIGNED


# --- proof ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence says of one target: the proof, or why there is none."""

    at: datetime | None
    evidence: str
    why: str = ""


def fits(code: str, test: str) -> bool:
    """Whether passing this test says anything about that fault."""
    wanted = _wanted(code)
    if wanted is None:
        return False
    return test in _PRINTS if wanted == "printer" else test != _STATUS


def needs_test(code: str) -> bool:
    """Whether only a self-test proves that this fault is repaired."""
    return _wanted(code) is not None


def _wanted(code: str) -> str | None:
    """The kind of self-test; what a person wrote down without a code is proved by any test of the component."""
    return entry_of(code).self_test if code else "device"


def judged(target: Target, status: FaultStatus | None, tests: Sequence[SelfTest]) -> Verdict:
    """Whether a target is proved to be well: its own test after the last fault edge, or its alarm going away."""
    fault_at = target.since
    if status is not None and status.last_raised_at is not None:
        fault_at = max(fault_at, status.last_raised_at)
    name = f"{target.kid}/{target.component}/{target.code}"
    if status is not None and status.is_open:
        return Verdict(None, "", f"{name}: the fault is still up")
    if not needs_test(target.code):
        if status is None or status.cleared_at is None:
            return Verdict(None, "", f"{name}: the kiosk has not said that it is well")
        return Verdict(status.cleared_at, f"alarm:{name}")
    own = [one for one in tests if (one.kid, one.component) == (target.kid, target.component)]
    later = [one for one in own if one.at > fault_at]
    good = [one for one in later if one.is_passed and fits(target.code, one.test)]
    if good:
        first = min(good, key=lambda one: (one.at, one.no))
        return Verdict(first.at, f"record:{first.no}")
    return Verdict(None, "", f"{name}: {_lack(own, later)}")


def _lack(own: Sequence[SelfTest], later: Sequence[SelfTest]) -> str:
    """Why tests of a component prove nothing."""
    if not own:
        return "no self-test of this component has arrived"
    if not later:
        return "its self-test is older than the fault"
    if any(one.is_passed for one in later):
        return "what was tested does not prove this repair"
    return "its self-test failed"


def proof(order: Order, verdicts: Sequence[Verdict]) -> tuple[Stop | None, list[str]]:
    """The stop of the repair clock, when every target is well; else what is missing."""
    if order.kind in SERVICE and order.incident is None:
        if order.claimed_at is None or order.on_site is None:
            return None, ["nobody who checked in at the kiosk says that it is done"]
        return Stop(order.on_site.at, order.on_site.by, order.on_site.evidence), []
    missing = [verdict.why for verdict in verdicts if verdict.at is None]
    if missing or not verdicts:
        return None, missing or ["this order names nothing that could be tested"]
    last = max(verdicts, key=lambda verdict: (verdict.at or order.since, verdict.evidence))
    return Stop(max(order.since, last.at or order.since), None, last.evidence), []


def proved(order: Order, stop: Stop, probation: timedelta, now: datetime) -> tuple[Order, list[News]]:
    """The kiosk's own word stopped the clock; patients have the last one. Raises: Refusal."""
    changed = replace(order, state=moved(order, OrderEvent.PROVE), repair=stop, probation_until=now + probation)
    return changed, [News(NewsKind.PROVED, stop.at, stop.by, {"evidence": stop.evidence})]


def passed(order: Order, uses: int, needed: int, now: datetime) -> tuple[Order, list[News]] | None:
    """Closed, when probation is over: so many real uses went well, or its time is over; None while it goes on."""
    if order.state is not OrderState.VERIFIED:
        return None
    if order.kind not in SERVICE and uses < needed and (order.probation_until is None or now < order.probation_until):
        return None
    changed = replace(order, state=moved(order, OrderEvent.PASS), closed_at=now)
    return changed, [News(NewsKind.CLOSED, now, fields={"uses": uses, "needed": needed})]


def relapse(order: Order, at: datetime) -> tuple[Order, list[News]] | None:
    """The fault is back within a day: the same case, and its clock never stopped; None when that is another case."""
    if order.repair is None or order.kind in SERVICE or not can_step(TABLE, order.state, OrderEvent.RELAPSE):
        return None
    if not order.repair.at < at <= order.repair.at + RELAPSE:
        return None
    changed = replace(
        order,
        state=moved(order, OrderEvent.RELAPSE),
        repair=None,
        claimed_at=None,
        claimed_by=None,
        waiver_by=None,
        waiver_reason=None,
        probation_until=None,
        closed_at=None,
        fault_at=at,
        relapses=order.relapses + 1,
    )
    return changed, [News(NewsKind.RELAPSED, at, fields={"repaired_at": order.repair.at.isoformat()})]


def redate(order: Order, since: datetime) -> tuple[Order, list[News]] | None:
    """Late evidence moves the beginning; None when it says the same."""
    if since == order.since or order.state not in OPEN:
        return None
    fields = {"before": order.since.isoformat()}
    return replace(order, since=since), [News(NewsKind.REDATED, since, fields=fields)]
