"""What producers of records see of the uplink: they report, they do not know how it travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from wire.consumables import ConsumableStatus
from wire.envelope import Scalar
from wire.faults import FACTS, Fault, Severity
from wire.functions import FunctionStatus
from wire.presence import Activity, Component, HostFacts
from wire.uplink import RecordClass

AuditOutcome = Literal["ok", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """An alarm that is up; survives restarts because it is kept beside the records."""

    component: str
    code: str
    severity: Severity
    since: datetime
    detail: Mapping[str, Scalar] = field(default_factory=dict)


class Reporter(Protocol):
    """Takes what the fleet must learn. Calls return quickly; alarms and audit are on disk when they return."""

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        """Say how a condition stands, as often as wanted; only a change becomes a record.

        Returns:
            Whether this was a change.
        """

    async def event(
        self,
        component: str,
        name: str,
        fields: Mapping[str, Scalar] | None = None,
        *,
        record_class: RecordClass = RecordClass.P1,
    ) -> None:
        """Something happened; `name` is `noun.verb`."""

    async def telemetry(self, values: Mapping[str, float], *, component: str = "host") -> None:
        """One sample; values that are not finite are left out."""

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        """A person or process did something that must be provable."""

    def open_alarms(self) -> tuple[OpenAlarm, ...]:
        """The alarms that are up, oldest first."""


class SelfDescription(Protocol):
    """What the uplink says about this kiosk at birth and in its heartbeat."""

    def host(self) -> HostFacts:
        """The machine under the agent."""

    def components(self) -> list[Component]:
        """Devices and parts with their capabilities."""

    def activity(self) -> Activity:
        """What the kiosk is doing with patients right now."""

    def twin_version(self) -> int:
        """The desired version that was seen last; 0 when none."""

    def open_commands(self) -> list[str]:
        """Ids of commands without a final state."""

    def functions(self) -> list[FunctionStatus]:
        """What patients can do now."""

    def consumables(self) -> list[ConsumableStatus]:
        """What is left now."""


def severity_of(fault: Fault, severity: Severity | None) -> Severity:
    """The given severity, else the one the fault table says."""
    return severity if severity is not None else FACTS[fault].severity
