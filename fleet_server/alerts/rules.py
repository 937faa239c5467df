"""What an edge does to an alarm, given the last that is known of it. Late and repeated edges change nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fleet_server.alerts.model import Alarm, AlarmEdge
from wire.uplink import Edge


def apply(alarm: Alarm | None, edge: AlarmEdge, detected_at: datetime) -> Alarm | None:
    """The alarm after the edge, None when the edge changes nothing.

    A clear of an alarm nobody raised is nothing; an edge older than the last one is history: it may only
    back-date the beginning of an alarm that is still open.
    """
    if alarm is None:
        return _opened(edge, detected_at) if edge.edge is Edge.RAISE else None
    if edge.edge is Edge.RAISE:
        if alarm.is_open:
            return replace(alarm, raised_at=edge.at) if edge.at < alarm.raised_at else None
        if alarm.cleared_at is not None and edge.at <= alarm.cleared_at:
            return None
        return _opened(edge, detected_at)
    if not alarm.is_open or edge.at < alarm.raised_at:
        return None
    return replace(alarm, is_open=False, cleared_at=edge.at)


def _opened(edge: AlarmEdge, detected_at: datetime) -> Alarm:
    return Alarm(
        kid=edge.kid,
        component=edge.component,
        code=edge.code,
        severity=edge.severity,
        origin=edge.origin,
        is_open=True,
        raised_at=edge.at,
        detected_at=detected_at,
        cleared_at=None,
        detail=edge.detail,
        change_seq=0,
    )
