"""Who is to be told, and when. Pure: cases, deliveries and a moment in, deliveries out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fleet_server.incidents.model import EventKind, Incident, IncidentEvent
from fleet_server.paging.model import CaseState, Delivery, DeliveryState, Ladder, PagingCase
from wire.faults import RANK, Severity

FLAP_HOLD: Final = timedelta(hours=1)
"""An incident that comes and goes pages once in this time."""
BACKOFF_S: Final = (5.0, 15.0, 60.0, 300.0, 900.0)
"""Between tries of one message; after the last it is given up."""
SENDING_S: Final = 60.0
"""Longer than any call: who is found sending for longer has died."""
TELLING: Final = frozenset({EventKind.OPENED, EventKind.WORSENED, EventKind.RELAPSED})
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


def planned(
    case: PagingCase, made: Sequence[Delivery], ladder: Ladder, now: datetime, new_id: Callable[[], str]
) -> list[Delivery]:
    """Deliveries that have to exist by now and do not yet."""
    if case.state is not CaseState.PAGING or (case.snoozed_until is not None and now < case.snoozed_until):
        return []
    there = {(one.step, one.turn, one.target) for one in made}
    wanted: list[tuple[int, int, str]] = []
    for number, step in enumerate(ladder.steps):
        if case.began_at + timedelta(seconds=step.after_s) <= now:
            wanted += [(number, 0, target) for target in step.targets]
    last_at = case.began_at + timedelta(seconds=ladder.steps[-1].after_s)
    # Only the newest repetition: after a night without a server nobody gets all that were missed.
    turn = int((now - last_at).total_seconds() // ladder.repeat_s) if now > last_at else 0
    if turn > 0:
        everybody = dict.fromkeys(target for step in ladder.steps for target in step.targets)
        wanted += [(len(ladder.steps) - 1, turn, target) for target in everybody]
    return [
        Delivery(new_id(), case.incident, case.occasion, step, turn, target, DeliveryState.DUE, now)
        for step, turn, target in wanted
        if (step, turn, target) not in there
    ]


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
