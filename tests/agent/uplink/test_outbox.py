"""What the outbox promises its producers and the pump."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.errors import InvalidRecord, OutboxBusy
from agent.uplink.outbox import Settled
from kit.clock import ManualClock
from support.kiosk_outbox import SMALL, Kiosk, start_kiosk
from wire.faults import Fault
from wire.uplink import CHAIN_START, AlarmRecord, RecordClass, TelemetryRecord, chain_next, record_digest


async def test_a_batch_is_what_was_reported(kiosk: Kiosk) -> None:
    await kiosk.reporter.telemetry({"cpu_percent": 12.5, "temperature_c": float("nan")})
    await kiosk.reporter.alarm("printer", Fault.PAPER_OUT, is_up=True, detail={"tray": 1, "why": '空, "quoted"\n'})
    batch = kiosk.as_batch(await kiosk.everything(), late=True)
    assert [record.kind for record in batch.records] == ["telemetry", "alarm"]
    assert [record.seq for record in batch.records] == [1, 2]
    assert all(record.hist for record in batch.records)
    telemetry, alarm = batch.records
    assert isinstance(telemetry, TelemetryRecord)
    assert telemetry.values == {"cpu_percent": 12.5}
    assert telemetry.at == kiosk.clock.utc()
    assert telemetry.boot == kiosk.outbox.boot
    assert isinstance(alarm, AlarmRecord)
    assert alarm.detail["why"] == '空, "quoted"\n'


async def test_server_recomputes_the_same_chain(kiosk: Kiosk) -> None:
    for number in range(5):
        await kiosk.reporter.event(
            "printer", "job.done", {"n": number, "share": number / 3, "none": None}, record_class=RecordClass.P0
        )
        await kiosk.reporter.audit("engineer-1", "unlock", "ok", fields={"门": "左"})
    head = CHAIN_START
    for late in (False, True):
        head = CHAIN_START
        for position, record in enumerate(kiosk.as_batch(await kiosk.everything(), late=late).records):
            head = chain_next(head, record_digest(record.model_dump(mode="json", exclude_unset=True)))
            assert record.chain_n == position + 1
            assert record.chain == head


async def test_p0_is_in_the_file_when_append_returns(kiosk: Kiosk, tmp_path: Path) -> None:
    await kiosk.reporter.audit("engineer-1", "unlock", "ok")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (tmp_path / "outbox").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with closing(sqlite3.connect(copy / "outbox.db")) as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (1,)


async def test_only_the_edges_of_an_alarm_are_records(kiosk: Kiosk, tmp_path: Path) -> None:
    report = kiosk.reporter
    assert not await report.alarm("host", Fault.DISK_LOW, is_up=False)
    assert await report.alarm("host", Fault.DISK_LOW, is_up=True)
    assert not await report.alarm("host", Fault.DISK_LOW, is_up=True)
    await kiosk.outbox.close()
    again = await start_kiosk(tmp_path, kiosk.clock)
    assert [alarm.code for alarm in again.reporter.open_alarms()] == ["disk_low"]
    assert not await again.reporter.alarm("host", Fault.DISK_LOW, is_up=True)
    assert await again.reporter.alarm("host", Fault.DISK_LOW, is_up=False)
    assert again.reporter.open_alarms() == ()
    edges = [
        record.edge for record in again.as_batch(await again.everything()).records if isinstance(record, AlarmRecord)
    ]
    assert edges == ["raise", "clear"]
    await again.outbox.close()


async def test_numbers_are_never_used_twice(kiosk: Kiosk, tmp_path: Path) -> None:
    seen: list[int] = []
    clock = kiosk.clock
    current = kiosk
    for round_no in range(4):
        for _ in range(5):
            await current.reporter.event("host", "thing.happened")
        chunk = await current.everything()
        fresh = [row.seq for row in chunk.rows]
        assert not set(fresh) & set(seen)
        seen += fresh
        assert await current.outbox.settle(current.outbox.epoch, [(1, fresh[-1])]) is Settled.DONE
        if round_no % 2:
            await current.outbox.close()
        else:
            await current.outbox._disk.give_up()  # an end without a clean close
            await current.outbox.close()
        current = await start_kiosk(tmp_path, clock)
    await current.outbox.close()
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("event", {"component": "host", "name": "NotAnEvent"}),
        ("event", {"component": "host", "name": "a.b", "fields": {"text": "x" * 20_000}}),
        ("telemetry", {"values": {"cpu_percent": "hot"}}),
        ("telemetry", {"values": {"cpu_percent": float("inf")}}),
        ("telemetry", {"values": {"cpu_percent": 1.0}, "seq": 9}),
        ("telemetry", {"values": {"cpu_percent": 1.0}, "hist": True}),
        ("event", {"component": "host", "name": "a.b", "fields": {"text": object()}}),
        ("event", {"component": "host", "name": "a.b", "fields": {"text": "\ud800"}}),
        ("alarm", {"component": "UPPER", "code": "disk_low", "edge": "raise", "severity": "minor"}),
    ],
)
async def test_a_record_the_server_would_refuse_is_refused_here(
    kiosk: Kiosk, kind: str, fields: dict[str, object]
) -> None:
    with pytest.raises(InvalidRecord) as caught:
        await kiosk.outbox.append(RecordClass.P1, kind, fields)
    assert "xxx" not in str(caught.value)
    assert (await kiosk.everything()).is_empty


async def test_a_second_agent_is_kept_out(kiosk: Kiosk, tmp_path: Path) -> None:
    with pytest.raises(OutboxBusy):
        await start_kiosk(tmp_path, kiosk.clock)
    await kiosk.reporter.audit("engineer-1", "unlock", "ok")
    assert len((await kiosk.everything()).rows) == 1


async def test_receipts_that_are_late_double_foreign_or_forged_delete_nothing_else(kiosk: Kiosk) -> None:
    for number in range(10):
        await kiosk.reporter.event("host", "thing.happened", {"n": number})
    await kiosk.outbox.flush()
    epoch = kiosk.outbox.epoch
    assert await kiosk.outbox.settle("01ARZ3NDEKTSV4RRFFQ69G5FAV", [(1, 10)]) is Settled.OTHER_EPOCH
    assert await kiosk.outbox.settle(epoch, [(1, 2**62)]) is Settled.BEYOND
    assert await kiosk.outbox.settle(epoch, [(1, 3), (2**40, 2**41)]) is Settled.BEYOND
    assert kiosk.outbox.depth().p1 == 10
    for _ in range(3):
        assert await kiosk.outbox.settle(epoch, [(1, 4), (6, 7)]) is Settled.DONE
    assert [row.seq for row in (await kiosk.everything()).rows] == [5, 8, 9, 10]


async def test_rewind_moves_everything_to_a_new_epoch_once_an_hour(kiosk: Kiosk) -> None:
    for number in range(10):
        await kiosk.reporter.event("host", "thing.happened", {"n": number})
    await kiosk.reporter.audit("engineer-1", "unlock", "ok")
    before = kiosk.outbox.epoch
    assert await kiosk.outbox.rewind("receipt beyond our numbers")
    assert kiosk.outbox.epoch != before
    depth = kiosk.outbox.depth()
    assert (depth.p0, depth.p1) == (1, 10)
    assert not await kiosk.outbox.rewind("receipt beyond our numbers")
    await kiosk.upkeep.maintain()
    assert [alarm.code for alarm in kiosk.reporter.open_alarms()] == ["outbox_corrupt"]


async def test_depth_counts_what_is_buffered_and_stored(kiosk: Kiosk, clock: ManualClock) -> None:
    await kiosk.reporter.telemetry({"cpu_percent": 1.0})
    assert kiosk.outbox.depth().p2 == 1
    await kiosk.reporter.audit("engineer-1", "unlock", "ok")
    clock.advance(90.0)
    depth = kiosk.outbox.depth()
    assert (depth.p0, depth.p1, depth.p2) == (1, 0, 1)
    assert depth.bytes > 200
    assert depth.oldest_age_s == pytest.approx(90.0)


async def test_buffered_records_share_a_commit_at_the_row_limit(kiosk: Kiosk) -> None:
    for _ in range(SMALL.group_rows - 1):
        await kiosk.reporter.telemetry({"cpu_percent": 1.0})
    assert kiosk.outbox.sources()[0].row_count == 0
    await kiosk.reporter.telemetry({"cpu_percent": 1.0})
    assert kiosk.outbox.sources()[0].row_count == SMALL.group_rows


@pytest.mark.parametrize("count", [49, 50, 51, 123])
async def test_a_commit_of_any_size_keeps_every_record_in_order(tmp_path: Path, clock: ManualClock, count: int) -> None:
    kiosk = await start_kiosk(tmp_path / str(count), clock, SMALL.model_copy(update={"group_rows": 1_000}))
    for number in range(count):
        await kiosk.reporter.telemetry({"cpu_percent": float(number)})
    await kiosk.outbox.flush()
    records = kiosk.as_batch(await kiosk.everything()).records
    values = [record.values["cpu_percent"] for record in records if isinstance(record, TelemetryRecord)]
    assert values == list(range(count))
    assert [record.seq for record in records] == list(range(1, count + 1))
    await kiosk.outbox.close()
