"""Follows presence, samples, alarms, incidents and the registry, and publishes whole changed rows to the live channel.

It works the same whether the writers live in this process or in another: every table has a change counter
taken in the writing transaction. Writers of this process also ring the bell, so nobody waits for the poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy.exc

from fleet_server.alerts.model import Alarm, view
from fleet_server.alerts.store import AlarmStore
from fleet_server.capabilities.model import Entry
from fleet_server.capabilities.rules import status_of
from fleet_server.capabilities.store import CapabilityStore
from fleet_server.incidents.model import IncidentState
from fleet_server.incidents.model import view as incident_view
from fleet_server.incidents.store import IncidentStore
from fleet_server.live.hub import Hub
from fleet_server.presence.model import Status
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.directory import Directory
from fleet_server.registry.model import Kiosk
from fleet_server.registry.ports import AlarmStatus, CapabilityStatus, PresenceStatus
from fleet_server.registry.service import kiosk_view
from fleet_server.telemetry.model import Latest
from fleet_server.telemetry.store import TelemetryStore
from kit.clock import Clock
from kit.logs import get_logger
from kit.store import StoreBusy
from wire.faults import RANK

POLL_S: Final = 0.2
SHORTEST_S: Final = 0.1
KIOSKS: Final = "kiosks"
ALARMS: Final = "alarms"
INCIDENTS: Final = "incidents"
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OverviewParts:
    """What it follows."""

    directory: Directory
    presence: PresenceStore
    telemetry: TelemetryStore
    alarms: AlarmStore
    capabilities: CapabilityStore
    incidents: IncidentStore
    hub: Hub
    clock: Clock


class Overview:
    """Implements the registry's sources of presence, telemetry, alarms and capabilities from memory."""

    name = "overview"

    def __init__(self, parts: OverviewParts) -> None:
        """Know nothing yet; `run` loads everything first."""
        self._parts = parts
        self._presence: dict[str, Status] = {}
        self._latest: dict[str, Latest] = {}
        self._alarms: dict[str, dict[str, Alarm]] = {}
        self._entries: dict[str, dict[tuple[str, str, str], Entry]] = {}
        self._able: dict[str, CapabilityStatus] = {}
        self._seen = {"presence": -1, "telemetry": -1, "alarms": -1, "capabilities": -1, "incidents": -1}
        self._dirty: set[str] = set()
        self._bell = asyncio.Event()
        parts.directory.on_change(self._registry_changed)

    def wake(self) -> None:
        """Something was written in this process."""
        self._bell.set()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        failing = False
        while True:
            try:
                await self.refresh()
                failing = False
            except (StoreBusy, sqlalchemy.exc.DBAPIError, OSError) as error:
                if not failing:
                    log.warning("overview.delayed", error=type(error).__name__)
                failing = True
            await asyncio.sleep(SHORTEST_S)
            try:
                async with asyncio.timeout(POLL_S):
                    await self._bell.wait()
            except TimeoutError:
                continue
            finally:
                self._bell.clear()

    async def refresh(self) -> None:
        """Take over what changed and publish it."""
        alarms = await self._take_changes()
        dirty, self._dirty = self._dirty, set()
        now = self._parts.clock.utc()
        rows = {}
        for kid in dirty:
            kiosk = self._parts.directory.get(kid)
            if kiosk is not None:
                presence, values, alarm = self._presence_of(kid), self._values_of(kid), self._alarm_of(kid)
                shown = kiosk_view(kiosk, presence, values, alarm, self._able.get(kid), now)
                rows[kid] = shown.model_dump(mode="json")
        if rows:
            self._parts.hub.publish(KIOSKS, rows)
        if alarms:
            shown_alarms = {
                f"{alarm.kid}/{alarm.component}/{alarm.code}": (
                    view(alarm).model_dump(mode="json") if alarm.is_open else None
                )
                for alarm in alarms
            }
            self._parts.hub.publish(ALARMS, shown_alarms)
        await self._publish_incidents()

    async def _publish_incidents(self) -> None:
        changed = await self._parts.incidents.changed_since(self._seen["incidents"])
        if changed:
            self._seen["incidents"] = max(incident.change_seq for incident in changed)
            rows = {
                incident.id: (
                    None if incident.state is IncidentState.CLOSED else incident_view(incident).model_dump(mode="json")
                )
                for incident in changed
            }
            self._parts.hub.publish(INCIDENTS, rows)

    async def presence_now(self) -> Mapping[str, PresenceStatus]:
        """See `PresenceSource`."""
        return {kid: found for kid in self._presence if (found := self._presence_of(kid)) is not None}

    async def latest_values(self) -> Mapping[str, Mapping[str, float]]:
        """See `TelemetrySource`."""
        return {kid: latest.values for kid, latest in self._latest.items()}

    async def open_alarms(self) -> Mapping[str, AlarmStatus]:
        """See `AlarmSource`."""
        return {kid: found for kid in self._alarms if (found := self._alarm_of(kid)) is not None}

    async def capabilities_now(self) -> Mapping[str, CapabilityStatus]:
        """See `CapabilitySource`."""
        return self._able

    async def _take_changes(self) -> Sequence[Alarm]:
        parts, seen = self._parts, self._seen
        for status in await parts.presence.statuses(seen["presence"]):
            self._presence[status.kid] = status
            seen["presence"] = max(seen["presence"], status.change_seq)
            self._dirty.add(status.kid)
        for latest in await parts.telemetry.latest_since(seen["telemetry"]):
            self._latest[latest.kid] = latest
            seen["telemetry"] = max(seen["telemetry"], latest.change_seq)
            self._dirty.add(latest.kid)
        await self._take_capabilities()
        alarms = await parts.alarms.changed_since(seen["alarms"])
        for alarm in alarms:
            key = f"{alarm.component}/{alarm.code}"
            of_kiosk = self._alarms.setdefault(alarm.kid, {})
            if alarm.is_open:
                of_kiosk[key] = alarm
            else:
                of_kiosk.pop(key, None)
            seen["alarms"] = max(seen["alarms"], alarm.change_seq)
            self._dirty.add(alarm.kid)
        return alarms

    async def _take_capabilities(self) -> None:
        changed = await self._parts.capabilities.changed_since(self._seen["capabilities"])
        for entry in changed:
            self._entries.setdefault(entry.kid, {})[entry.key] = entry
            self._seen["capabilities"] = max(self._seen["capabilities"], entry.change_seq)
        for kid in {entry.kid for entry in changed}:
            self._able[kid] = status_of(self._entries[kid].values())
            self._dirty.add(kid)

    def _registry_changed(self, changed: Sequence[Kiosk]) -> None:
        self._dirty.update(kiosk.kid for kiosk in changed)
        self._bell.set()

    def _presence_of(self, kid: str) -> PresenceStatus | None:
        status = self._presence.get(kid)
        if status is None:
            return None
        return PresenceStatus(
            presence=status.state,
            since=status.since,
            last_seen_at=status.last_seen_at,
            agent_version=status.agent_version,
            activity=status.activity,
            clock_offset_s=status.clock_offset_s,
        )

    def _values_of(self, kid: str) -> Mapping[str, float]:
        latest = self._latest.get(kid)
        return {} if latest is None else latest.values

    def _alarm_of(self, kid: str) -> AlarmStatus | None:
        alarms = self._alarms.get(kid)
        if not alarms:
            return None
        return AlarmStatus(len(alarms), max((alarm.severity for alarm in alarms.values()), key=lambda item: RANK[item]))
