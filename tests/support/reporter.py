"""A reporter that takes everything and tells nobody; tests override what they look at."""

from __future__ import annotations

from collections.abc import Mapping

from agent.reporter import AuditOutcome, OpenAlarm
from wire.envelope import Scalar
from wire.faults import Fault, Severity
from wire.uplink import RecordClass


class SilentReporter:
    """See `agent.reporter.Reporter`."""

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        """No change."""
        return False

    async def event(
        self,
        component: str,
        name: str,
        fields: Mapping[str, Scalar] | None = None,
        *,
        record_class: RecordClass = RecordClass.P1,
    ) -> None:
        """Nobody hears it."""

    async def telemetry(self, values: Mapping[str, float], *, component: str = "host") -> None:
        """Nobody hears it."""

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        """Nobody hears it."""

    def open_alarms(self) -> tuple[OpenAlarm, ...]:
        """None."""
        return ()
