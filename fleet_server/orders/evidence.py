"""What kiosks said, read from the uplink's rows each time: nothing is remembered that could be lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

from fleet_server.alerts.store import AlarmStore
from fleet_server.orders.model import FaultStatus, SelfTest
from fleet_server.registry.directory import Directory
from fleet_server.telemetry.model import Event
from fleet_server.telemetry.store import EventFilter, TelemetryStore
from wire.transaction import TRANSACTION_ENDED

_PAGE: Final = 500
_PAGES: Final = 20
_GOOD: Final = frozenset({"paid", "refunded", "reversed"})


class UplinkEvidence:
    """Implements `ports.Evidence`."""

    def __init__(self, alarms: AlarmStore, telemetry: TelemetryStore, directory: Directory) -> None:
        """Read from these."""
        self._alarms = alarms
        self._telemetry = telemetry
        self._directory = directory

    async def faults(self, kid: str) -> dict[tuple[str, str], FaultStatus]:
        """See `Evidence`."""
        found = await self._alarms.alarms(only_open=False, kid=kid)
        return {
            (one.component, one.code): FaultStatus(one.is_open, one.last_raised_at, one.cleared_at) for one in found
        }

    async def self_tests(self, kid: str, since: datetime) -> list[SelfTest]:
        """See `Evidence`."""
        found: list[SelfTest] = []
        async for row, body in self._records(kid, "audit", "maintenance_test", since):
            said = body.get("fields", {})
            outcome, component, test = said.get("outcome"), said.get("component"), said.get("test")
            is_passed = outcome == "passed"
            found.append(
                SelfTest(row.no, kid, str(component), str(test), row.at, is_passed, str(body.get("actor", "")))
            )
        return found

    async def uses(self, kid: str, component: str, since: datetime) -> int:
        """See `Evidence`."""
        prints = transactions = 0
        async for row, body in self._records(kid, "event", None, since):
            said = body.get("fields", {})
            if row.name == "print.ended" and row.component == component:
                prints += said.get("state") == "printed"
            elif row.name == TRANSACTION_ENDED:
                transactions += said.get("outcome") in _GOOD
        return prints if "printer" in component else transactions

    async def visit(self, kid: str, since: datetime, engineer: str) -> tuple[int, datetime] | None:
        """See `Evidence`."""
        found: tuple[int, datetime] | None = None
        async for row, body in self._records(kid, "audit", "maintenance_open", since):
            if body.get("outcome") == "ok" and body.get("actor") == engineer:
                found = row.no, row.at  # the newest comes first, so the last one kept is the first visit
        return found

    async def _records(
        self, kid: str, kind: str, name: str | None, since: datetime
    ) -> AsyncIterator[tuple[Event, dict[str, Any]]]:  # Any: a JSON document
        number = self._directory.number_of(kid)
        if number is None:
            return
        before: tuple[datetime, int] | None = None
        after = since + timedelta(microseconds=1)
        for _ in range(_PAGES):
            rows = await self._telemetry.events(EventFilter(number, kind, after, None, before), _PAGE)
            for row in rows:
                if name is None or row.name == name:
                    yield row, json.loads(row.body)
            if len(rows) < _PAGE:
                return
            before = rows[-1].at, rows[-1].no
