"""What an edge does to an alarm, given the last that is known of it.

Edges arrive late and in any order: after an outage a kiosk sends what happens now before what happened then. So
the newest raise and the newest clear decide whether an alarm is up, and a clear is kept even when its raise has
not arrived yet. At the same moment a clear wins.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fleet_server.alerts.model import Alarm, AlarmEdge, AlarmOrigin
from wire.uplink import Edge


def apply(alarm: Alarm | None, edge: AlarmEdge, detected_at: datetime) -> Alarm | None:
    """The alarm after the edge, None when the edge changes nothing that has to be kept."""
    if edge.edge is Edge.RAISE:
        return _raised(alarm, edge, detected_at)
    return _cleared(alarm, edge, detected_at)


def _raised(alarm: Alarm | None, edge: AlarmEdge, detected_at: datetime) -> Alarm | None:
    if alarm is None:
        return _opened(edge, detected_at, None)
    is_newest = alarm.last_raised_at is None or edge.at > alarm.last_raised_at
    if alarm.cleared_at is not None and edge.at <= alarm.cleared_at:
        return _newest(replace(alarm, raised_at=edge.at), edge) if is_newest else None
    if not alarm.is_open:
        return _opened(edge, detected_at, alarm.cleared_at)
    if is_newest:
        return _newest(alarm, edge)
    return replace(alarm, raised_at=edge.at) if edge.at < alarm.raised_at else None


def _cleared(alarm: Alarm | None, edge: AlarmEdge, detected_at: datetime) -> Alarm | None:
    if alarm is None or not alarm.is_open:
        # What the server says of itself comes in order: there is no raise behind this clear.
        if edge.origin is AlarmOrigin.SERVER:
            return None
        if alarm is None:
            opened = _opened(edge, detected_at, edge.at)
            return replace(opened, is_open=False, last_raised_at=None)
    newest = alarm.last_raised_at
    splits = newest is not None and alarm.raised_at <= edge.at < newest
    raised_at = newest if splits and newest is not None else alarm.raised_at
    if alarm.cleared_at is not None and edge.at <= alarm.cleared_at:
        return replace(alarm, raised_at=raised_at) if splits else None
    is_open = newest is not None and newest > edge.at
    return replace(alarm, raised_at=raised_at, cleared_at=edge.at, is_open=is_open)


def _newest(alarm: Alarm, edge: AlarmEdge) -> Alarm:
    return replace(alarm, last_raised_at=edge.at, severity=edge.severity, origin=edge.origin, detail=edge.detail)


def _opened(edge: AlarmEdge, detected_at: datetime, cleared_at: datetime | None) -> Alarm:
    return Alarm(
        kid=edge.kid,
        component=edge.component,
        code=edge.code,
        severity=edge.severity,
        origin=edge.origin,
        is_open=True,
        raised_at=edge.at,
        detected_at=detected_at,
        cleared_at=cleared_at,
        last_raised_at=edge.at,
        detail=edge.detail,
        change_seq=0,
    )
