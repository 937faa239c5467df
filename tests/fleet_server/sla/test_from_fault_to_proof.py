"""The whole chain with the features below at work: alarm edges, an incident, a person, evidence, and its proof."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.duty import IncidentDuty
from fleet_server.incidents.service import ALL_STATES, IncidentService
from fleet_server.incidents.store import IncidentStore
from fleet_server.sla.service import SlaService
from kit.clock import ManualClock
from kit.store import Database
from support.incident_world import Grid
from support.sla_export import seal_key
from tools.verify_sla import command
from wire.faults import Fault, Severity
from wire.uplink import Edge

EXAMPLE = Path("fleet_server/sla/contract.toml").read_text(encoding="utf-8")
START = datetime(2026, 3, 10, 16, 30, tzinfo=UTC)
KEY = seal_key()
KID = "kiosk-7"


async def led(_connection: AsyncConnection) -> None:
    """This process leads."""


class Ward:
    """Alarms that go up by hand, and the duties that follow them."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.clock, self.alarms, store = clock, AlarmStore(database), IncidentStore(database)
        self.duty = IncidentDuty(database, self.alarms, store, Grid(), clock, led)
        self.people = IncidentService(database, store, clock)

    async def jam(self, edge: Edge, at: datetime, *, hist: bool = False) -> None:
        change = AlarmEdge(
            KID, "receipt_printer", Fault.PAPER_JAM.value, edge, Severity.MAJOR, at, AlarmOrigin.KIOSK, hist
        )
        await self.alarms.apply([change], self.clock.utc())
        await self.works()

    async def works(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        while await self.duty.turn():
            pass


async def test_late_evidence_dates_the_clocks_and_the_export_proves_them(fleet_db: Database) -> None:
    clock = ManualClock(START)
    service, ward = SlaService(fleet_db, clock), Ward(fleet_db, clock)
    await service.set_contract(EXAMPLE, "lead")
    await ward.jam(Edge.RAISE, START)
    await ward.works(120)
    incident = (await ward.people.incidents(ALL_STATES, limit=5))[0]
    clock.advance(3_480)
    await ward.people.acknowledge(incident.id, "li")
    await ward.jam(Edge.RAISE, START - timedelta(minutes=20), hist=True)
    await ward.works(4 * 3_600)
    await ward.jam(Edge.CLEAR, clock.utc() - timedelta(minutes=5))
    ended = clock.utc() - timedelta(minutes=5)
    await ward.works(3_600)
    clock.advance(86_400)
    await ward.works()
    assert await service.seal(KEY, led) == ["2026-03-11"]
    with zipfile.ZipFile(io.BytesIO((await service.export("2026-03")).content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    command.verify(files, KEY.public)
    [line] = json.loads(files["report.json"])["cases"]
    assert (line["cause"], line["scope"], line["place"]) == ("paper_jam", "component", f"{KID}/receipt_printer")
    assert line["began_at"] == "2026-03-10T16:10:00Z", "as the kiosk told late"
    assert line["response_s"] == 3_600 + 20 * 60
    assert line["repair_s"] == (ended - START).total_seconds() + 20 * 60
    assert line["is_repair_breached"] is True
    kinds = [json.loads(row)["kind"] for row in files["evidence.jsonl"].splitlines()]
    assert kinds.count("alarm") == 3
