"""Nothing that an enrolled kiosk can say stops the ingest for the others: every kind of record, every nasty value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleet_server.alerts.ingest import AlarmRecordSink
from fleet_server.alerts.store import AlarmStore
from fleet_server.telemetry.chain import verify_chain
from fleet_server.telemetry.store import EventFilter, TelemetryStore
from fleet_server.uplink.limits import RateLimits
from kit.clock import ManualClock
from kit.store import Database
from support.ingest import Around, Document, FakeFleet, batch, event, make_ingest, rows, running, sample, stored_seqs
from support.waiting import wait_for

KID, OTHER = "zzj-001", "zzj-002"
UNLIMITED = RateLimits(records_per_s=1e6, burst=1e6, quiet_release_s=600.0)
ULID = "01JD0000000000000000000009"
TEXTS = (
    "",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\ufffe\uffff",
    "\U0010ffff" * 16,
    "'; DROP TABLE x; --",
    "\\u0000",
    "%s %(a)s :b ?",
)
NUMBERS = (0, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**4000, 0.0, -0.0, 5e-324, 1.7e308, True, None)
KINDS: Mapping[str, Document] = {
    "alarm": {"component": "printer", "code": "paper_out", "edge": "raise", "severity": "major"},
    "event": {"component": "agent", "name": "test.number"},
    "command_status": {"command_id": ULID, "state": "done"},
    "twin_report": {"version": 1, "desired_version_seen": 1, "desired_version_applied": 1, "state": "applied"},
    "update_progress": {"rollout_id": "r", "release": "1", "state": "downloading"},
    "audit": {"actor": "agent", "action": "door_opened", "outcome": "ok"},
    "sync": {"twin_version": 1, "agent_version": "1"},
    "telemetry": {"values": {"cpu_percent": 1.0}},
}
TEXT_FIELDS = (
    "boot",
    "state",
    "reason",
    "rollout_id",
    "release",
    "actor",
    "target",
    "agent_version",
    "component",
    "name",
    "newer",
)
NUMBER_FIELDS = (
    "mono_ms",
    "offset_s",
    "version",
    "desired_version_seen",
    "step",
    "percent",
    "span_s",
    "samples",
    "chain_n",
    "newer",
)
BAGS = ("detail", "fields", "result", "values", "newer")
MOMENTS = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1969-12-31T23:59:59Z",
    "2026-03-02T00:00:00+23:59",
)


def nasty(kind: str, fields: Document) -> Sequence[Document]:
    """Records of a kind, each with one thing that somebody might not have thought of."""
    plain = {"record_class": "p0", **fields, "kind": kind}
    made: list[Document] = [{name: text} for name in TEXT_FIELDS for text in TEXTS]
    made += [{name: number} for name in NUMBER_FIELDS for number in NUMBERS]
    made += [{bag: {"number": value}} for bag in BAGS for value in (*TEXTS, *NUMBERS)]
    made += [{bag: {text: 1}} for bag in BAGS for text in TEXTS]
    made += [{"at": moment, "since": moment} for moment in MOMENTS]
    made += [{"chain": "0" * 64, "chain_n": number} for number in (1, 2**63 - 1, 2**63)]
    base: Document = {**sample(1), "values": None}
    return [{**{key: value for key, value in base.items() if value is not None}, **plain, **each} for each in made]


def batches(kind: str, fields: Document, first: int) -> list[bytes]:
    numbered = [{**record, "seq": first + place} for place, record in enumerate(nasty(kind, fields))]
    return [batch(numbered[at : at + 400]) for at in range(0, len(numbered), 400)]


async def test_no_record_of_any_kind_stops_the_ingest(
    fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    alarms = AlarmStore(fleet_db)
    sinks = [AlarmRecordSink(alarms, manual_clock)]
    ingest = make_ingest(fleet_db, manual_clock, fleet, Around(sinks=sinks, limits=UNLIMITED))
    total = 0
    async with running(ingest):
        for kind, fields in KINDS.items():
            for payload in batches(kind, fields, total + 1):
                ingest.broker.put(KID, payload)
            total += len(nasty(kind, fields))
        ingest.broker.put(OTHER, batch([sample(1), event(2)]))
        await wait_for(lambda: ingest.broker.receipts(OTHER), what="the other kiosk's receipt", timeout_s=8.0)
        await wait_for(lambda: ingest.broker.receipts(KID)[-1].through_seq == total, what="all receipts")
    assert await stored_seqs(fleet_db, 2) == [1, 2]
    aside = await rows(fleet_db, "SELECT seq FROM uplink_rejected WHERE kiosk_no = 1")
    assert sorted([*await stored_seqs(fleet_db, 1), *(row[0] for row in aside)]) == list(range(1, total + 1))
    store = TelemetryStore(fleet_db)
    assert await store.events(EventFilter(1), 10_000)
    assert await alarms.alarms(only_open=True)
    await verify_chain(store, 1)
