"""What the registry asks of features above it, wired in `fleet_server.app`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fleet_server.registry.model import PresenceState
from wire.consumables import ConsumableStatus
from wire.envelope import Scalar
from wire.faults import Fault, Severity
from wire.functions import FunctionStatus
from wire.presence import Activity


@dataclass(frozen=True, slots=True)
class PresenceStatus:
    """What presence knows of one kiosk."""

    presence: PresenceState
    since: datetime | None = None
    last_seen_at: datetime | None = None
    agent_version: str | None = None
    activity: Activity = Activity.UNKNOWN
    clock_offset_s: float | None = None


@dataclass(frozen=True, slots=True)
class AlarmStatus:
    """The open alarms of one kiosk."""

    count: int
    worst: Severity


@dataclass(frozen=True, slots=True)
class CapabilityStatus:
    """What patients can do at one kiosk, and what is left there, as it said last."""

    functions: Sequence[FunctionStatus] = ()
    consumables: Sequence[ConsumableStatus] = ()


class PresenceSource(Protocol):
    """Implemented by `presence`."""

    async def presence_now(self) -> Mapping[str, PresenceStatus]:
        """Every kiosk presence knows of, by kiosk id."""


class TelemetrySource(Protocol):
    """Implemented by `telemetry`."""

    async def latest_values(self) -> Mapping[str, Mapping[str, float]]:
        """The latest host sample of every kiosk: kiosk id to metric name to value."""


class AlarmSource(Protocol):
    """Implemented by `alerts`."""

    async def open_alarms(self) -> Mapping[str, AlarmStatus]:
        """Kiosks with open alarms, by kiosk id."""


class CapabilitySource(Protocol):
    """Implemented by `capabilities`."""

    async def capabilities_now(self) -> Mapping[str, CapabilityStatus]:
        """Kiosks that said what they can do, by kiosk id."""


class AlarmSink(Protocol):
    """Implemented by `alerts`: an alarm the server itself raises about a kiosk."""

    async def raise_alarm(self, kid: str, component: str, code: Fault, detail: Mapping[str, Scalar]) -> None:
        """Open the alarm; nothing happens when it is open already."""

    async def clear_alarm(self, kid: str, component: str, code: Fault) -> None:
        """Close the alarm; nothing happens when none is open."""


class NoStatus:
    """Stands in for every source while its feature does not run in this process."""

    async def presence_now(self) -> Mapping[str, PresenceStatus]:
        """Nobody was seen."""
        return {}

    async def latest_values(self) -> Mapping[str, Mapping[str, float]]:
        """Nothing was measured."""
        return {}

    async def open_alarms(self) -> Mapping[str, AlarmStatus]:
        """Nothing is open."""
        return {}

    async def capabilities_now(self) -> Mapping[str, CapabilityStatus]:
        """Nobody said anything."""
        return {}
