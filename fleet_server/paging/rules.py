"""Who is to be told, and when. Pure: cases, deliveries and a moment in, deliveries out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from fleet_server.incidents.model import EventKind, Incident, IncidentEvent
from fleet_server.paging.model import Addressee, CaseState, Delivery, DeliveryState, Ladder, OrderNews, PagingCase
from wire.faults import RANK, Severity

FLAP_HOLD: Final = timedelta(hours=1)
"""An incident that comes and goes pages once in this time."""
BACKOFF_S: Final = (5.0, 15.0, 60.0, 300.0, 900.0)
"""Between tries of one message; after the last it is given up."""
SENDING_S: Final = 60.0
"""Longer than any call: who is found sending for longer has died."""
FORECAST_STEPS: Final[Mapping[int, int]] = {75: 1, 90: 10, 100: 10}
"""So many steps of the ladder are told once that a clock passed this share of its target."""
TELLING: Final = frozenset({EventKind.OPENED, EventKind.WORSENED, EventKind.RELAPSED})
_Wanted = dict[tuple[int, int, str], tuple[str | None, DeliveryState]]
ENDING: Final = frozenset({EventKind.ACKNOWLEDGED, EventKind.RECOVERED, EventKind.CLOSED})


def occasion(event: IncidentEvent, incident: Incident, last: PagingCase | None) -> PagingCase | None:
    """The case an event opens, None when nobody is to be told because of it."""
    if event.kind not in TELLING or incident.is_hist or incident.window is not None or event.fields.get("hist"):
        return None
    if event.kind is EventKind.RELAPSED and last is not None and event.written_at - last.began_at < FLAP_HOLD:
        return None
    return PagingCase(incident.id, event.seq, incident.severity, event.written_at, snoozed_until=incident.snoozed_until)


def ladder_for(severity: Severity, ladders: Mapping[Severity, Ladder]) -> Ladder | None:
    """The ladder of this severity, or of the next one below that has one."""
    below = [one for one in ladders if RANK[one] <= RANK[severity]]
    return ladders[max(below, key=lambda one: RANK[one])] if below else None


def forecast_case(news: OrderNews, incident: Incident) -> PagingCase | None:
    """The case a line of the work orders opens, None for most."""
    told = news.forecast
    if told is None or told.percent not in FORECAST_STEPS or incident.is_hist or incident.window is not None:
        return None
    until = incident.snoozed_until
    return PagingCase(incident.id, -news.seq, incident.severity, news.at, snoozed_until=until, forecast=told)


Resolve = Callable[[str], Sequence[Addressee]]
"""Whoever stands behind a name of a ladder; nobody when the roster has a gap."""


def named(name: str) -> Sequence[Addressee]:
    """A ladder without a roster: every name is a target."""
    return (Addressee(None, (name,)),)


@dataclass(frozen=True, slots=True)
class Calendar:
    """What decides besides the ladder."""

    resolve: Resolve = named
    told_from: Callable[[datetime], datetime] = lambda at: at
    """A moment, or the end of the quiet hours it lies in."""


_PLAIN: Final = Calendar()


def planned(
    case: PagingCase,
    made: Sequence[Delivery],
    ladder: Ladder,
    now: datetime,
    new_id: Callable[[], str],
    calendar: Calendar = _PLAIN,
) -> list[Delivery]:
    """Deliveries that have to exist by now and do not yet.

    Who comes on duty while nobody has acknowledged is told at once. A gap of the roster is a delivery, too, of state
    `nobody`: then the next step is due at once. In quiet hours nothing new is told; what began in them begins when
    they end. A forecast is told once to each, without waiting and without repetition.
    """
    if case.state is not CaseState.PAGING or (case.snoozed_until is not None and now < case.snoozed_until):
        return []
    if calendar.told_from(now) > now:
        return []
    began = calendar.told_from(case.began_at)
    wanted: _Wanted = {}
    if case.forecast is not None:
        ladder = Ladder(tuple(replace(step, after_s=0.0) for step in ladder.steps), math.inf)
        ladder = replace(ladder, steps=ladder.steps[: FORECAST_STEPS[case.forecast.percent]])
    is_due = False
    for number, step in enumerate(ladder.steps):
        if not is_due and began + timedelta(seconds=step.after_s) > now:
            break
        is_due = False
        for name in step.targets:
            found = calendar.resolve(name)
            is_due = is_due or not found
            _want(wanted, (number, 0), name, found)
    turn = _repetition(ladder, began, now)
    if turn > 0:
        for name in dict.fromkeys(target for step in ladder.steps for target in step.targets):
            _want(wanted, (len(ladder.steps) - 1, turn), name, calendar.resolve(name))
    there = {(one.step, one.turn, one.target) for one in made}
    return [
        Delivery(new_id(), case.incident, case.occasion, step, turn, target, state, now, person=person)
        for (step, turn, target), (person, state) in wanted.items()
        if (step, turn, target) not in there
    ]


def _repetition(ladder: Ladder, began: datetime, now: datetime) -> int:
    """Only the newest: after a night without a server nobody gets all that were missed."""
    last_at = began + timedelta(seconds=ladder.steps[-1].after_s)
    return int((now - last_at).total_seconds() // ladder.repeat_s) if now > last_at else 0


def _want(wanted: _Wanted, place: tuple[int, int], name: str, found: Sequence[Addressee]) -> None:
    if not found:
        wanted.setdefault((*place, name), (None, DeliveryState.NOBODY))
    for addressee in found:
        for target in addressee.ways:
            wanted.setdefault((*place, target), (addressee.person, DeliveryState.DUE))


def may_send(delivery: Delivery, now: datetime) -> bool:
    """Whether it is to be sent now."""
    if delivery.state is DeliveryState.DUE:
        return delivery.due_at <= now
    touched = delivery.touched_at
    return (
        delivery.state is DeliveryState.SENDING
        and touched is not None
        and now - touched >= timedelta(seconds=SENDING_S)
    )


def taken(delivery: Delivery, now: datetime) -> Delivery:
    """About to be sent."""
    return replace(delivery, state=DeliveryState.SENDING, attempts=delivery.attempts + 1, touched_at=now)


def done(delivery: Delivery, now: datetime) -> Delivery:
    """The channel took it."""
    return replace(delivery, state=DeliveryState.HANDED_OVER, touched_at=now, note="")


def failed(delivery: Delivery, why: str, now: datetime) -> Delivery:
    """The channel did not take it: try again later, or give up."""
    note = why[:200]
    if delivery.attempts > len(BACKOFF_S):
        return replace(delivery, state=DeliveryState.FAILED, touched_at=now, note=note)
    later = now + timedelta(seconds=BACKOFF_S[delivery.attempts - 1])
    return replace(delivery, state=DeliveryState.DUE, due_at=later, touched_at=now, note=note)
