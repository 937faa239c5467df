"""What a light kiosk sends of the time it was offline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from simulators.fleet.backlog import BURST_S, Absence, Backlog, length
from simulators.fleet.queue import MemoryOutbox
from wire.uplink import EventRecord, TelemetryRecord

ENDED = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HOURS_8 = 8 * 3_600.0


def _backlog(seconds: float = HOURS_8, first_seq: int = 1) -> Backlog:
    return Backlog(Absence(ENDED, seconds, "boot-1", 0.5), first_seq, lambda uptime_s: {"uptime_s": uptime_s})


def test_eight_hours_are_2880_samples_and_some_events() -> None:
    backlog = _backlog(first_seq=7)
    backlog.due(0.0, per_s=10_000.0, room=1)
    records = backlog.due(1.0, per_s=10_000.0, room=10_000)
    assert backlog.remaining == 0
    assert [record.seq for record in records] == list(range(7, 7 + length(HOURS_8)))
    assert sum(isinstance(record, TelemetryRecord) for record in records) == 2_880
    assert sum(isinstance(record, EventRecord) for record in records) == 96
    assert all(record.hist for record in records)
    assert records[0].at == ENDED - timedelta(seconds=HOURS_8)
    assert [record.at for record in records] == sorted(record.at for record in records)
    assert records[-1].at < ENDED


def test_the_rate_is_kept_and_a_pause_is_not_made_up_for() -> None:
    backlog = _backlog()
    assert backlog.due(0.0, per_s=20.0, room=1_000) == []
    assert len(backlog.due(1.0, per_s=20.0, room=1_000)) == 20
    assert len(backlog.due(100.0, per_s=20.0, room=1_000)) == 20 * BURST_S


def test_no_more_than_there_is_room_for() -> None:
    backlog = _backlog()
    backlog.due(0.0, per_s=20.0, room=1_000)
    assert len(backlog.due(1.0, per_s=20.0, room=3)) == 3
    assert backlog.due(2.0, per_s=20.0, room=-5) == []


def test_reserved_numbers_are_not_given_again() -> None:
    outbox = MemoryOutbox("an-epoch")
    assert outbox.reserve(10) == 1
    assert outbox.next_seq() == 11
