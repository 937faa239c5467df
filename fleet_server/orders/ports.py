"""What work orders ask of others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from fleet_server.incidents.model import Incident, IncidentEvent, Member
from fleet_server.orders.model import FaultStatus, SelfTest


class Incidents(Protocol):
    """Implemented by `incidents.service`."""

    async def events_after(self, seq: int, limit: int) -> Sequence[IncidentEvent]:
        """The feed behind a number."""

    async def incident(self, identifier: str) -> Incident:
        """One incident. Raises: Refusal."""

    async def members(self, identifier: str) -> Sequence[Member]:
        """Its alarms."""


class Evidence(Protocol):
    """What kiosks said."""

    async def faults(self, kid: str) -> dict[tuple[str, str], FaultStatus]:
        """The alarms of a kiosk, by component and code."""

    async def self_tests(self, kid: str, since: datetime) -> list[SelfTest]:
        """What an engineer tried at a kiosk after a moment."""

    async def uses(self, kid: str, component: str, since: datetime) -> int:
        """How many prints or transactions went well with a component after a moment."""

    async def visit(self, kid: str, since: datetime, engineer: str) -> tuple[int, datetime] | None:
        """The first visit of an engineer after a moment: the record's number, and when it was."""
