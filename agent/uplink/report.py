"""The reporter that stands on the outbox; it knows which conditions are up, so that only edges become records."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import datetime

from agent.reporter import AuditOutcome, OpenAlarm, severity_of
from agent.uplink.outbox import Outbox
from agent.uplink.spool import AlarmEdge
from kit.logs import get_logger
from wire.envelope import Scalar
from wire.faults import Fault, Severity
from wire.uplink import Edge, RecordClass

log = get_logger(__name__)


class OutboxReporter:
    """See `agent.reporter.Reporter`."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._open: dict[tuple[str, str], OpenAlarm] = {}
        self._settled: set[tuple[str, str]] = set()
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Take up the alarms of the last run; call once the outbox is open."""
        for component, code, is_up, text in await self._outbox.alarms():
            if is_up:
                self._open[component, code] = _parsed(component, code, text)
            else:
                self._settled.add((component, code))

    def open_alarms(self) -> tuple[OpenAlarm, ...]:
        """See `Reporter`."""
        return tuple(sorted(self._open.values(), key=lambda alarm: alarm.since))

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        """See `Reporter`.

        In an epoch that replaced a lost one the first word about a condition is a record even when it is not up:
        the server may still believe that it is.

        Raises:
            InvalidRecord: nothing was kept.
        """
        key = (component, fault.value)
        async with self._lock:
            before = self._open.get(key)
            if is_up == (before is not None) and not (
                not is_up and self._outbox.is_rebuilt and key not in self._settled
            ):
                return False
            since = before.since if before is not None else self._outbox.clock.utc()
            rank = severity_of(fault, severity if is_up or before is None else before.severity)
            now = OpenAlarm(component, fault.value, rank, since, dict(detail or {}))
            fields = {
                "component": component,
                "code": fault.value,
                "edge": Edge.RAISE if is_up else Edge.CLEAR,
                "severity": rank,
                "since": since.isoformat(),
                "detail": dict(detail or {}),
            }
            edge = AlarmEdge(component, fault.value, is_up, _text(now))
            await self._outbox.append(RecordClass.P0, "alarm", fields, alarm=edge)
            if is_up:
                self._open[key] = now
                self._settled.discard(key)
            else:
                self._open.pop(key, None)
                self._settled.add(key)
        log.warning("alarm.raised" if is_up else "alarm.cleared", component=component, code=fault.value)
        return True

    async def event(
        self,
        component: str,
        name: str,
        fields: Mapping[str, Scalar] | None = None,
        *,
        record_class: RecordClass = RecordClass.P1,
    ) -> None:
        """See `Reporter`.

        Raises:
            InvalidRecord: nothing was kept.
        """
        await self._outbox.append(
            record_class, "event", {"component": component, "name": name, "fields": dict(fields or {})}
        )

    async def telemetry(self, values: Mapping[str, float], *, component: str = "host") -> None:
        """See `Reporter`.

        Raises:
            InvalidRecord: nothing was kept.
        """
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        if finite:
            await self._outbox.append(RecordClass.P2, "telemetry", {"component": component, "values": finite})

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        """See `Reporter`.

        Raises:
            InvalidRecord: nothing was kept.
        """
        body = {"actor": actor, "action": action, "outcome": outcome, "fields": dict(fields or {})}
        if target is not None:
            body["target"] = target
        await self._outbox.append(RecordClass.P0, "audit", body)


def _text(alarm: OpenAlarm) -> str:
    return json.dumps(
        {"severity": alarm.severity, "since": alarm.since.isoformat(), "detail": dict(alarm.detail)}, ensure_ascii=False
    )


def _parsed(component: str, code: str, text: str) -> OpenAlarm:
    document = json.loads(text)
    since = datetime.fromisoformat(document["since"])
    return OpenAlarm(component, code, Severity(document["severity"]), since, document["detail"])
