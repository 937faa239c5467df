"""From the tables of the features below to sealed days, reports and exports, on both stores."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.errors import Refusal
from fleet_server.incidents.store import METADATA
from fleet_server.sla.contract import parse
from fleet_server.sla.documents import Format
from fleet_server.sla.duty import SlaDuty
from fleet_server.sla.seal import Seal, SealedRow
from fleet_server.sla.service import SlaService
from fleet_server.sla.sources import repeated
from fleet_server.sla.store import SlaStore
from kit.clock import ManualClock
from kit.store import Database, LeaseLost
from support.sla_export import seal_key
from tools.verify_sla import command

EXAMPLE = Path("fleet_server/sla/contract.toml").read_text(encoding="utf-8")
START = datetime(2026, 2, 28, 16, 30, tzinfo=UTC)
"""Half past midnight of the first of March, in the hospital."""
HOUR = timedelta(hours=1)
KEY = seal_key()


async def led(_connection: AsyncConnection) -> None:
    """This process leads."""


async def lost(_connection: AsyncConnection) -> None:
    raise LeaseLost("duties")


class World:
    """Writes what the features below would have written."""

    def __init__(self, database: Database) -> None:
        self.database, self.seq = database, 0

    async def put(self, table: str, **values: object) -> None:
        async with self.database.write() as connection:
            await connection.execute(METADATA.tables[table].insert().values(**values))

    async def kiosk(self, number: int, at: datetime) -> None:
        kid = f"k-{number}"
        place = {"place": "一层", "area": "门诊大厅", "floor": "1", "profile": "demo"}
        registered = {"state": "enrolled", "state_since": at, "change_seq": number, "asset_no": f"A{number}"}
        await self.put("registry_kiosk", no=number, kid=kid, **place, **registered)
        part = {"name": "receipt_printer", "kind": "receipt_printer", "model": "acme-p80", "firmware": "1.2"}
        birth = {"components": [part]}
        await self.put(
            "presence_kiosk",
            kiosk_no=number,
            kid=kid,
            state="online",
            since=at,
            reason="connected",
            session=1,
            activity="idle",
            queue_rows=0,
            birth=birth,
            offline_alarm=False,
            unstable_alarm=False,
            change_seq=number,
        )
        await self.presence(number, "online", at)

    async def presence(self, number: int, state: str, at: datetime) -> None:
        await self.put("presence_edge", kiosk_no=number, state=state, since=at, detected_at=at, reason="test")

    async def functions(self, number: int, at: datetime, received: datetime, **states: str) -> None:
        self.seq += 1
        body = json.dumps({"kind": "event", "name": "functions.changed", "component": "kiosk", "fields": states})
        times = {"at": at, "kiosk_at": at, "received_at": received}
        if self.database.dialect == "sqlite":
            micros = {name: int(moment.timestamp() * 1_000_000) for name, moment in times.items()}
            times = micros  # type: ignore[assignment]  # what this store keeps
        names = {"record_class": "P1", "kind": "event", "component": "kiosk", "name": "functions.changed"}
        values = {"kiosk_no": number, "stream_no": number, "seq": self.seq, "basis": 0, "hist": False, "body": body}
        async with self.database.write() as connection:
            columns = {**times, **names, **values}
            marks = ", ".join(f":{name}" for name in columns)
            insert = f"INSERT INTO telemetry_event ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names of ours
            await connection.execute(text(insert), columns)

    async def order(self, number: int, incident: str | None, since: datetime, *events: tuple[str, datetime]) -> None:
        name = f"order-{number}"
        row = {"state": "closed", "cause": "paper_jam", "place": "k-1/receipt_printer", "severity": "major"}
        rest = {"text": "", "relapses": 0, "response_level": 0, "repair_level": 0, "version": 1, "opened_at": since}
        kind = "incident" if incident else "preventive"
        serial = f"WO-2026-{number:06d}"
        await self.put("orders_order", id=name, number=serial, kind=kind, incident=incident, since=since, **row, **rest)
        target = {"kid": "k-1", "component": "receipt_printer", "code": "paper_jam"}
        await self.put("orders_target", order=name, since=since, **target)
        for place, (what, at) in enumerate(events):
            line = {"seq": number * 100 + place, "order": name, "kind": what, "by": "li", "fields": {}}
            await self.put("orders_event", at=at, written_at=at, **line)

    async def pause(self, number: int, since: datetime, until: datetime, *, counts: bool) -> None:
        proof = {"reason": "area_locked", "evidence_kind": "photo", "evidence": f"photo-{number}", "by": "li"}
        times = {"since": since, "until": until}
        await self.put("orders_pause", id=f"pause-{number}", order="order-1", counts=counts, **proof, **times)

    async def incident(self, number: int, since: datetime, *events: tuple[str, datetime]) -> None:
        name = f"incident-{number}"
        row = {"cause": "paper_jam", "scope": "component", "scope_name": "k-1/receipt_printer", "severity": "major"}
        rest = {"flaps": 0, "is_hist": False, "version": 1, "change_seq": number * 100, "state": "recovered"}
        await self.put(
            "incidents_incident", id=name, number=number, since=since, detected_at=since + HOUR, **row, **rest
        )
        member = {"kid": "k-1", "component": "receipt_printer", "code": "paper_jam", "part": "cause"}
        await self.put("incidents_member", incident=name, severity="major", since=since, **member)
        for place, (kind, at) in enumerate(events):
            await self.put(
                "incidents_event",
                seq=number * 100 + place,
                incident=name,
                kind=kind,
                at=at,
                written_at=at,
                by="li",
                fields={},
            )
        await self._feed_ends(number * 100 + len(events))

    async def _feed_ends(self, seq: int) -> None:
        async with self.database.write() as connection:
            await connection.execute(METADATA.tables["incidents_cursor"].update().values(next_seq=seq))

    async def redate(self, number: int, since: datetime) -> None:
        """Late evidence moves a beginning, and nothing is told."""
        incident = METADATA.tables["incidents_incident"]
        async with self.database.write() as connection:
            changed = incident.update().where(incident.c.id == f"incident-{number}")
            await connection.execute(changed.values(since=since, change_seq=number * 100 + 50))
        await self._feed_ends(number * 100 + 51)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def service(fleet_db: Database, clock: ManualClock) -> SlaService:
    return SlaService(fleet_db, clock)


async def _lived(world: World, service: SlaService, clock: ManualClock) -> None:
    await service.set_contract(EXAMPLE, "lead")
    await world.kiosk(1, START)
    await world.functions(1, START, START, pay="available", print_report="available")
    broke = START + 2 * HOUR
    await world.functions(1, broke, broke + 8 * HOUR, pay="available", print_report="lost receipt_printer:paper_jam")
    await world.functions(1, broke + 5 * HOUR, broke + 8 * HOUR, pay="available", print_report="available")
    events = (("opened", broke), ("acknowledged", broke + HOUR), ("recovered", broke + 5 * HOUR))
    await world.incident(1, broke, *events)
    async with world.database.write() as connection:
        for hour in range(24):
            await service._store.watch(connection, START + hour * HOUR)
    clock.advance(24 * 3_600)


async def test_a_day_is_sealed_once_and_its_export_proves_itself(
    fleet_db: Database, service: SlaService, clock: ManualClock
) -> None:
    await _lived(World(fleet_db), service, clock)
    assert await service.seal(KEY, led) == ["2026-03-01"]
    assert await service.seal(KEY, led) == []
    made = await service.export("2026-03")
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    found = command.verify(files, KEY.public)
    report = json.loads(files["report.json"])
    assert found["days"] == 1
    line = report["cases"][0]
    assert (line["response_s"], line["repair_s"], line["is_repair_breached"]) == (3_600, 5 * 3_600, True)
    assert report["breaches"][0]["penalty_fen"] == 100_000
    assert report["models"] == [
        {**report["models"][0], "model": "acme-p80", "firmware": "1.2", "units": 1, "failures": 1, "mttr_s": 18_000}
    ]
    assert next(item for item in report["functions"] if item["name"] == "print_report")["down_s"] == 5 * 3_600


async def test_an_order_proves_the_repair_pauses_the_clocks_and_names_its_parts(
    fleet_db: Database, service: SlaService, clock: ManualClock
) -> None:
    world = World(fleet_db)
    await _lived(world, service, clock)
    broke = START + 2 * HOUR
    ended = broke + 7 * HOUR
    await world.order(1, "incident-1", broke, ("opened", broke), ("responded", broke + HOUR / 2), ("proved", ended))
    await world.pause(1, broke + HOUR, broke + 3 * HOUR, counts=True)
    await world.pause(2, broke + 3 * HOUR, broke + 4 * HOUR, counts=False)
    serials = {"serial_out": "A1", "serial_in": "B1", "by": "li"}
    part = {"id": "part-1", "kid": "k-1", "component": "receipt_printer", "part": "切刀", "at": ended}
    await world.put("orders_part", order="order-1", **part, **serials)
    await world.order(2, None, broke, ("opened", broke), ("responded", broke + HOUR), ("waived", broke + 6 * HOUR))
    assert await service.seal(KEY, led) == ["2026-03-01"]
    with zipfile.ZipFile(io.BytesIO((await service.export("2026-03")).content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    report = command.verify(files, KEY.public)["report"]
    case, prevented = sorted(report["cases"], key=lambda line: line["is_preventive"])
    assert (case["response_s"], case["repair_s"]) == (1_800, 5 * 3_600), "seven hours but for a proved pause of two"
    assert (case["paused_s"], case["unproved_s"]) == (7_200, 3_600)
    assert (prevented["is_preventive"], prevented["repair_s"]) == (True, 6 * 3_600)
    assert [line["number"] for line in report["breaches"]] == [1]
    assert [(line["order"], line["serial_in"]) for line in report["parts"]] == [("WO-2026-000001", "B1")]
    assert [line["is_proved"] for line in report["pauses"]] == [True, False]


async def test_what_is_not_sealed_yet_is_in_the_report_and_not_in_the_export(
    fleet_db: Database, service: SlaService, clock: ManualClock
) -> None:
    await _lived(World(fleet_db), service, clock)
    before = await service.report("2026-03")
    assert before.evidence_head is None
    assert [line.repair_s for line in before.cases] == [5 * 3_600]
    with pytest.raises(Refusal, match="no day"):
        await service.export("2026-03")
    await service.seal(KEY, led)
    after = await service.report("2026-03")
    assert after.evidence_head is not None
    changed = {"evidence_rows", "evidence_head"}
    assert after.model_dump(exclude=changed) == before.model_dump(exclude=changed)
    assert (await service.file("2026-03", Format.CSV)).name == "sla-2026-03.csv"


async def test_a_month_begins_with_what_was_in_force(
    fleet_db: Database, service: SlaService, clock: ManualClock
) -> None:
    world = World(fleet_db)
    await _lived(world, service, clock)
    await world.incident(2, START + 20 * HOUR, ("opened", START + 20 * HOUR))
    assert await service.seal(KEY, led) == ["2026-03-01"]
    clock.advance(31 * 86_400)
    sealed = await service.seal(KEY, led)
    assert (sealed[0], sealed[-1], len(sealed)) == ("2026-03-02", "2026-04-01", 31)
    made = await service.export("2026-04")
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    found = command.verify(files, KEY.public)
    assert [case["number"] for case in found["report"]["cases"]] == [2], "still open; the other one is over"
    assert [kiosk["name"] for kiosk in found["report"]["kiosks"]] == ["k-1"]
    assert found["report"]["summary"]["cases"] == 0
    march = await service.report("2026-03")
    assert [case.number for case in march.cases] == [1, 2]
    assert march.summary.availability_ppm is not None


async def test_a_beginning_that_moves_silently_moves_the_clocks(
    fleet_db: Database, service: SlaService, clock: ManualClock
) -> None:
    world = World(fleet_db)
    await _lived(world, service, clock)
    assert await service.seal(KEY, led) == ["2026-03-01"]
    assert [case.repair_s for case in (await service.report("2026-03")).cases] == [5 * 3_600]
    await world.redate(1, START + HOUR)
    assert [case.repair_s for case in (await service.report("2026-03")).cases] == [6 * 3_600]
    clock.advance(86_400)
    await service.seal(KEY, led)
    clock.advance(86_400)
    await service.seal(KEY, led)
    report = await service.report("2026-03")
    assert [case.repair_s for case in report.cases] == [6 * 3_600]


class TornStore(SlaStore):
    """Dies the moment before the commit."""

    async def append(
        self, connection: AsyncConnection, rows: Sequence[SealedRow], seals: Sequence[Seal], cursors: Mapping[str, int]
    ) -> None:
        await super().append(connection, rows, seals, cursors)
        raise OSError("the power went")


async def test_a_day_that_fails_is_sealed_whole_the_next_time(
    fleet_db: Database, service: SlaService, clock: ManualClock
) -> None:
    await _lived(World(fleet_db), service, clock)
    service._store = TornStore(fleet_db)
    with pytest.raises(OSError, match="power"):
        await service.seal(KEY, led)
    assert await service.seals("2026-01-01", "2026-12-31") == []
    later = SlaService(fleet_db, clock)
    assert await later.seal(KEY, led) == ["2026-03-01"]
    with zipfile.ZipFile(io.BytesIO((await later.export("2026-03")).content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert command.verify(files, KEY.public)["report"]["summary"]["cases"] == 1


async def test_the_watch_has_a_gap_where_nobody_beat(
    service: SlaService, clock: ManualClock, fleet_db: Database
) -> None:
    for pause_s in (60, 60, 179, 600, 60):
        await service.watch(led)
        clock.advance(pause_s)
    await service.watch(led)
    async with fleet_db.read() as connection:
        rows = (await connection.execute(METADATA.tables["sla_watch"].select())).all()
    assert [(row.until - row.since).total_seconds() for row in rows] == [299, 60]


async def test_who_lost_the_lead_writes_nothing(
    service: SlaService, clock: ManualClock, fleet_db: Database, tmp_path: Path
) -> None:
    clock.advance(86_400)
    for work in (service.watch(lost), service.seal(KEY, lost), SlaDuty(service, tmp_path / "k", lost).beat()):
        with pytest.raises(LeaseLost):
            await work
    assert await service.seals("2026-01-01", "2026-12-31") == []
    await SlaDuty(service, tmp_path / "k", led).beat()
    assert [seal.day for seal in await service.seals("2026-01-01", "2026-12-31")] == ["2026-03-01"]


def test_equal_statements_within_their_time_are_one() -> None:
    def said(minute: int, state: str = "available") -> Mapping[str, Any]:
        return {"at_us": minute * 60_000_000, "is_timed": True, "states": {"pay": state}}

    found = repeated([said(60), said(0), said(120), said(130, "lost"), said(140, "lost"), said(300, "lost")])
    spans = [(item["at_us"] // 60_000_000, item["until_us"] // 60_000_000, item["records"]) for item in found]
    assert spans == [(0, 120, 3), (130, 140, 2), (300, 300, 1)]


async def test_a_wrong_contract_is_refused(service: SlaService) -> None:
    with pytest.raises(Refusal, match="starts_on"):
        await service.set_contract('number = "1"', "lead")
    with pytest.raises(Refusal):
        await service.contract()
    await service.set_contract(EXAMPLE, "lead")
    found, _, by = await service.contract()
    assert (found, by) == (parse(EXAMPLE), "lead")
