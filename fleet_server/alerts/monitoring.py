"""What Alertmanager tells us becomes alarms of the server itself.

Its messages are those of its webhook, version 4. An alert that names a code of the catalogue (`fault`) and a
`component` is an edge. A message with the heartbeat, an alert that always fires, is the whole truth: what it does not
name is over, also when the message that would have said so was lost with a restart of Alertmanager.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fleet_server.alerts.catalogue import RAISED_BY_MONITORING
from fleet_server.alerts.model import Alarm, AlarmEdge, AlarmOrigin
from wire.faults import FACTS
from wire.uplink import Edge

SERVER: Final = "server"
HEARTBEAT: Final = "heartbeat"
_COMPONENT: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_CODES: Final = {fault.value: fault for fault in RAISED_BY_MONITORING}
_Label = Annotated[str, Field(max_length=2_000)]


class MonitoringAlert(BaseModel):
    """One alert of a message; more fields come, and newer releases add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["firing", "resolved"]
    labels: dict[_Label, _Label] = Field(max_length=100)
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")


class MonitoringReport(BaseModel):
    """One message of Alertmanager's webhook."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["4"]
    truncated: int = Field(default=0, ge=0, alias="truncatedAlerts")
    alerts: list[MonitoringAlert] = Field(max_length=1_000)


class MonitoringAnswer(BaseModel):
    """What became of a message; for whoever looks at Alertmanager's log."""

    raised: int
    cleared: int
    ignored: int
    """Alerts that name no code which monitoring may raise, or no component."""


def edges_of(report: MonitoringReport, alarms: Iterable[Alarm], now: datetime) -> tuple[list[AlarmEdge], int]:
    """The edges of a message, and how many alerts are none; `alarms` are those that are up."""
    firing: dict[tuple[str, str], datetime] = {}
    resolved: dict[tuple[str, str], datetime] = {}
    ignored, is_whole = 0, False
    for alert in report.alerts:
        code, component = alert.labels.get("fault", ""), alert.labels.get("component", "").lower()
        if code == HEARTBEAT:
            is_whole = alert.status == "firing" and not report.truncated
        elif code not in _CODES or not _COMPONENT.fullmatch(component):
            ignored += 1
        elif alert.status == "firing":
            firing[component, code] = min(alert.starts_at, firing.get((component, code), now))
        else:
            resolved[component, code] = min(alert.ends_at, now)
    if is_whole:
        for alarm in alarms:
            key = alarm.component, alarm.code
            if alarm.kid == SERVER and alarm.code in _CODES and key not in firing:
                resolved.setdefault(key, now)
    edges = [_edge(*key, Edge.CLEAR, at) for key, at in sorted(resolved.items()) if key not in firing]
    return edges + [_edge(*key, Edge.RAISE, at) for key, at in sorted(firing.items())], ignored


def _edge(component: str, code: str, edge: Edge, at: datetime) -> AlarmEdge:
    return AlarmEdge(SERVER, component, code, edge, FACTS[_CODES[code]].severity, at, AlarmOrigin.SERVER)
