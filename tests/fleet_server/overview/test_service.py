"""From what the writers wrote to what viewers see: every change once, whichever process made it, on both stores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.capabilities.model import Entry
from fleet_server.capabilities.store import CapabilityStore
from fleet_server.incidents.duty import IncidentDuty
from fleet_server.incidents.service import IncidentService
from fleet_server.incidents.store import IncidentStore
from fleet_server.incidents.topology import RegistryTopology
from fleet_server.live.hub import Hub, Subscriber
from fleet_server.overview.service import ALARMS, INCIDENTS, KIOSKS, Overview, OverviewParts
from fleet_server.presence.model import Status
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.model import PresenceState
from fleet_server.registry.pki import CertificateAuthority
from fleet_server.settings import Settings
from fleet_server.telemetry.samples import SampleSink
from fleet_server.telemetry.store import TelemetryStore
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.store import UplinkStore
from kit.clock import ManualClock
from kit.store import Database
from support.ingest import AT, Document, batch, later, sample, sender
from support.registry import Desk, make_desk
from wire.consumables import ConsumableLevel, ConsumableStatus, ConsumableUnit
from wire.faults import Severity
from wire.functions import decode_fields
from wire.uplink import Edge

KID, OTHER = "zzj-001", "zzj-002"


@dataclass(slots=True)
class Page:
    """An overview, the stores its writers use, and a viewer."""

    database: Database
    registry: Desk
    hub: Hub
    viewer: Subscriber
    overview: Overview

    def number(self, kid: str) -> int:
        found = self.registry.directory.number_of(kid)
        assert found is not None
        return found

    async def presence(self, kid: str, state: PresenceState, **more: Any) -> None:  # noqa: ANN401 - fields
        await PresenceStore(self.database).keep({self.number(kid): Status(kid, state, AT, "test", **more)}, [])

    async def samples(self, kid: str, *records: Document) -> None:
        sink = SampleSink(self.database)
        store = UplinkStore(self.database, (sink,))
        found = BatchReader().read(batch(records), sender(kid, self.number(kid), later(1.0)))
        await store.open([found.header])
        await store.commit([store.prepare(found)])
        await sink.flush()

    async def alarm(self, kid: str, edge: Edge, detail: Document | None = None) -> None:
        made = AlarmEdge(kid, "printer", "paper_out", edge, Severity.MAJOR, AT, AlarmOrigin.KIOSK, detail=detail or {})
        await AlarmStore(self.database).apply([made], AT)

    async def news(self) -> list[Document]:
        """What the viewer gets after the next look at the store."""
        await self.overview.refresh()
        return [json.loads(await self.viewer.next()) for _ in range(self.viewer.queue.qsize())]


def follows(page: Page, hub: Hub, clock: ManualClock) -> Overview:
    """Another process that follows the same store."""
    database = page.database
    stores = PresenceStore(database), TelemetryStore(database), AlarmStore(database)
    more = CapabilityStore(database), IncidentStore(database)
    return Overview(OverviewParts(page.registry.directory, *stores, *more, hub, clock))


@pytest.fixture
async def page(fleet_db: Database, manual_clock: ManualClock) -> Page:
    """Give a page with two kiosks whose snapshots were taken."""
    registry = make_desk(fleet_db, manual_clock, CertificateAuthority.create(manual_clock.utc()), Settings())
    hub, viewer = Hub((KIOSKS, ALARMS, INCIDENTS)), Subscriber()
    presence, telemetry, alarms = PresenceStore(fleet_db), TelemetryStore(fleet_db), AlarmStore(fleet_db)
    able = CapabilityStore(fleet_db)
    stores = presence, telemetry, alarms, able, IncidentStore(fleet_db)
    overview = Overview(OverviewParts(registry.directory, *stores, hub, manual_clock))
    await registry.assets("ZZJ-001,SN-1,Hall,A,1,,,k20", "ZZJ-002,SN-2,Hall,A,1,,,k20")
    page = Page(fleet_db, registry, hub, viewer, overview)
    await page.overview.refresh()
    for topic in (KIOSKS, ALARMS, INCIDENTS):
        hub.subscribe(topic, viewer, None)
    assert [(said["t"], len(said["rows"])) for said in await page.news()] == [("snap", 2), ("snap", 0), ("snap", 0)]
    return page


async def test_every_writers_change_becomes_a_row_and_is_said_once(page: Page) -> None:
    await page.presence(KID, PresenceState.ONLINE, last_seen_at=AT)
    (said,) = await page.news()
    assert [(row["kid"], row["presence"], row["last_seen_at"]) for row in said["rows"]] == [
        (KID, "online", "2026-03-02T00:00:00Z")
    ]
    await page.samples(KID, sample(1, values={"cpu_percent": 12.5}))
    (said,) = await page.news()
    assert [(row["kid"], row["cpu_percent"]) for row in said["rows"]] == [(KID, 12.5)]
    await page.alarm(OTHER, Edge.RAISE)
    kiosks, alarms = await page.news()
    assert [(row["kid"], row["alarms_open"], row["alarm_worst"]) for row in kiosks["rows"]] == [(OTHER, 1, "major")]
    assert [(row["kid"], row["code"]) for row in alarms["rows"]] == [(OTHER, "paper_out")]
    await page.alarm(OTHER, Edge.CLEAR)
    kiosks, alarms = await page.news()
    assert kiosks["rows"][0]["alarms_open"] == 0
    assert (alarms["rows"], len(alarms["gone"])) == ([], 1)
    assert await page.news() == [], "nothing changed"


async def test_functions_are_known_while_the_kiosk_is_heard(page: Page) -> None:
    fields = {"pay": "lost printer:paper_out"}
    body = {"functions": [status.model_dump(mode="json") for status in decode_fields(fields)]}
    level = ConsumableStatus(
        component="printer", consumable="paper", unit=ConsumableUnit.MM, level=ConsumableLevel.EMPTY, percent=0.0
    )
    entries = [
        Entry(KID, "kiosk", "functions", "e", 1, AT, body),
        Entry(KID, "printer", "paper", "e", 2, AT, level.model_dump(mode="json")),
    ]
    await page.presence(KID, PresenceState.ONLINE)
    await CapabilityStore(page.database).apply(entries)
    (said,) = await page.news()
    (row,) = said["rows"]
    assert [(one["function"], one["state"], one["because"]) for one in row["functions"]] == [
        ("pay", "lost", [{"component": "printer", "code": "paper_out"}])
    ]
    assert [(one["consumable"], one["level"], one["percent"]) for one in row["consumables"]] == [
        ("paper", "empty", 0.0)
    ]
    await page.presence(KID, PresenceState.OFFLINE)
    (said,) = await page.news()
    (silent,) = said["rows"][0]["functions"]
    assert (silent["state"], silent["because"][0]["code"]) == ("unknown", "kiosk_offline")
    assert (await page.overview.capabilities_now())[KID].functions[0].state == "lost", "it is kept for its return"


async def test_what_was_there_before_this_process_is_in_its_first_snapshot(
    page: Page, manual_clock: ManualClock
) -> None:
    await page.presence(KID, PresenceState.UNSTABLE)
    await page.alarm(KID, Edge.RAISE, {"n": 10**30})
    await page.alarm(OTHER, Edge.RAISE)
    hub, viewer = Hub((KIOSKS, ALARMS, INCIDENTS)), Subscriber()
    second = follows(page, hub, manual_clock)
    await second.refresh()
    for topic in (KIOSKS, ALARMS):
        hub.subscribe(topic, viewer, None)
    kiosks, alarms = [json.loads(await viewer.next()) for _ in range(2)]
    assert {row["kid"]: (row["presence"], row["alarms_open"]) for row in kiosks["rows"]}[KID] == ("unstable", 1)
    assert {row["kid"] for row in alarms["rows"]} == {KID, OTHER}, "an absurd number of one kiosk hides nobody"


async def test_an_incident_appears_changes_and_goes(page: Page) -> None:
    clock = page.registry.clock
    clock.jump_wall((AT - clock.utc()).total_seconds())
    store = IncidentStore(page.database)
    topology = RegistryTopology(page.registry.directory)
    duty = IncidentDuty(page.database, AlarmStore(page.database), store, topology, clock)
    people = IncidentService(page.database, store, clock)

    async def shown() -> list[Document]:
        while await duty.turn():
            pass
        return [said for said in await page.news() if said["topic"] == INCIDENTS]

    await page.alarm(KID, Edge.RAISE)
    ((row,),) = [said["rows"] for said in await shown()]
    assert (row["name"], row["state"], row["cause"]) == ("INC-000001", "open", "paper_out")
    await people.acknowledge(row["id"], "wang")
    ((row,),) = [said["rows"] for said in await shown()]
    assert (row["state"], row["acknowledged_by"]) == ("acknowledged", "wang")
    fresh = Hub((KIOSKS, ALARMS, INCIDENTS))
    late = Subscriber()
    await follows(page, fresh, clock).refresh()
    fresh.subscribe(INCIDENTS, late, None)
    assert [one["id"] for one in json.loads(await late.next())["rows"]] == [row["id"]]
    await page.alarm(KID, Edge.CLEAR)
    ((row,),) = [said["rows"] for said in await shown()]
    assert row["state"] == "recovered"
    clock.advance(3_600.0)
    assert [(said["rows"], said["gone"]) for said in await shown()] == [([], [row["id"]])]
