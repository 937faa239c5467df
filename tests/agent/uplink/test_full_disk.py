"""A disk that takes nothing: the ballast, then memory, then back again; nothing dear is lost (fault matrix F-11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.settings import OutboxSettings
from agent.uplink import rows
from agent.uplink.ballast import Ballast, DiskSpace
from agent.uplink.outbox import Settled
from kit.clock import ManualClock
from support.kiosk_outbox import Kiosk, start_kiosk
from support.small_disk import SmallDisk
from support.uplink_server import UplinkServer
from wire.uplink import EventRecord, RecordClass

KIB = 1_024
SETTINGS = OutboxSettings(
    ballast_bytes=1_024 * KIB, group_rows=20, reserve_free_percent=0.0, memory_rows=50, cap_bytes=64 * 1_024 * KIB
)
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with SmallDisk(size_bytes=6 * 1_024 * KIB) as made:
        yield made


async def p0(kiosk: Kiosk, number: int) -> int | None:
    fields = {"component": "printer", "name": "job.done", "fields": {"n": number, "text": "x" * 500}}
    return await kiosk.outbox.append(RecordClass.P0, "event", fields)


async def collected(kiosk: Kiosk, server: UplinkServer) -> list[int]:
    """Hand everything to a server the way the pump does, receipts included; the numbers it got."""
    await kiosk.outbox.flush()
    for source in kiosk.outbox.sources():
        chunk = await kiosk.outbox.read(source.epoch, 0, source.last_seq, limit=100_000, max_bytes=2**30)
        if chunk.is_empty:
            continue
        payload = rows.batch_payload(source.epoch, chunk.rows, chunk.void, late=False, first_seq=1)
        server.take(payload)
        ledger = server.ledgers[source.epoch].receipt(source.epoch)
        ranges = [(1, ledger.through_seq)] if ledger.through_seq else []
        assert await kiosk.outbox.settle(source.epoch, [*ranges, *ledger.ranges]) is Settled.DONE
    return sorted(
        int(record.fields["n"] or 0)
        for record in server.records
        if isinstance(record, EventRecord) and "n" in record.fields
    )


async def test_the_ballast_lets_dear_records_go_on_and_comes_back(disk: SmallDisk, clock: ManualClock) -> None:
    kiosk = await start_kiosk(disk.path, clock, SETTINGS)
    await kiosk.upkeep.maintain()
    ballast = disk.path / "outbox" / "ballast"
    assert ballast.stat().st_blocks * 512 >= SETTINGS.ballast_bytes
    disk.fill()
    stored = [await p0(kiosk, number) for number in range(300)]
    assert all(seq is not None for seq in stored)
    assert not ballast.exists()
    await kiosk.upkeep.maintain()
    assert [alarm.code for alarm in kiosk.reporter.open_alarms()] == ["disk_full"]
    assert await collected(kiosk, UplinkServer()) == list(range(300))
    assert kiosk.outbox.depth().p0 == 0
    disk.free()
    await kiosk.upkeep.maintain()
    assert ballast.exists()
    assert kiosk.reporter.open_alarms() == ()
    await kiosk.outbox.close()


async def test_with_the_ballast_gone_too_records_leave_from_memory(disk: SmallDisk, clock: ManualClock) -> None:
    kiosk = await start_kiosk(disk.path, clock, SETTINGS)
    await kiosk.upkeep.maintain()
    disk.fill()
    (disk.path / "outbox" / "ballast").unlink()
    disk.fill()
    number = 0
    while await p0(kiosk, number) is not None:
        number += 1
    for more in range(1, 11):
        assert await p0(kiosk, number + more) is None
    assert not kiosk.outbox.is_disk_good
    assert len(kiosk.outbox.sources()) == 2
    await kiosk.upkeep.maintain()
    assert "disk_full" in [alarm.code for alarm in kiosk.reporter.open_alarms()]
    server = UplinkServer()
    memory = kiosk.outbox.sources()[1]
    chunk = await kiosk.outbox.read(memory.epoch, 0, memory.last_seq, limit=5, max_bytes=2**30)
    assert len(chunk.rows) == 5
    disk.free()
    await kiosk.upkeep.maintain()
    assert kiosk.outbox.is_disk_good
    assert await collected(kiosk, server) == list(range(number + 11))
    assert server.duplicates == 0
    await kiosk.upkeep.maintain()
    await kiosk.upkeep.maintain()
    assert len(kiosk.outbox.sources()) == 1
    assert kiosk.reporter.open_alarms() == ()
    await kiosk.outbox.close()


async def test_memory_is_bounded_and_what_it_drops_is_counted(disk: SmallDisk, clock: ManualClock) -> None:
    kiosk = await start_kiosk(disk.path, clock, SETTINGS.model_copy(update={"ballast_bytes": 0}))
    disk.fill()
    number = 0
    while await p0(kiosk, number) is not None:
        number += 1
    for more in range(200):
        await p0(kiosk, 10_000 + more)
        await kiosk.reporter.event("host", "thing.happened")
        await kiosk.reporter.telemetry({"cpu_percent": 1.0})
    await kiosk.outbox.flush()
    memory = kiosk.outbox.sources()[1]
    assert memory.row_count <= SETTINGS.memory_rows
    dropped = kiosk.outbox.dropped()
    assert dropped[RecordClass.P2] == 200
    assert dropped[RecordClass.P1] + dropped[RecordClass.P0] >= 300
    disk.free()
    await kiosk.upkeep.maintain()
    got = await collected(kiosk, UplinkServer())
    assert got[:number] == list(range(number))
    assert got[-1] == 10_199
    await kiosk.outbox.close()


async def test_starts_on_a_full_disk_and_recovers(disk: SmallDisk, clock: ManualClock) -> None:
    disk.fill()
    kiosk = await start_kiosk(disk.path, clock, SETTINGS)
    for number in range(10):
        await p0(kiosk, number)
    server = UplinkServer()
    disk.free()
    await kiosk.upkeep.maintain()
    assert kiosk.outbox.is_disk_good
    assert await collected(kiosk, server) == list(range(10))
    await kiosk.outbox.close()


async def test_a_stop_while_the_disk_is_full_keeps_what_was_on_disk(disk: SmallDisk, clock: ManualClock) -> None:
    kiosk = await start_kiosk(disk.path, clock, SETTINGS.model_copy(update={"ballast_bytes": 0}))
    for number in range(10):
        await p0(kiosk, number)
    disk.fill()
    while await p0(kiosk, 0) is not None:
        pass
    await kiosk.outbox.close()
    disk.free()
    again = await start_kiosk(disk.path, clock, SETTINGS)
    assert (await collected(again, UplinkServer()))[-9:] == list(range(1, 10))
    await again.outbox.close()


@pytest.mark.parametrize(("free", "is_short"), [(3.0, True), (20.0, False)])
async def test_a_disk_that_runs_short_costs_telemetry_first(
    tmp_path: Path, clock: ManualClock, free: float, is_short: bool
) -> None:
    space = {"free": 50.0}
    kiosk = await start_kiosk(
        tmp_path,
        clock,
        OutboxSettings(ballast_bytes=0, reserve_free_percent=5.0),
        probe=lambda _: DiskSpace(int(space["free"] * 1_000), 100_000),
    )
    await p0(kiosk, 1)
    await kiosk.reporter.event("host", "thing.happened")
    await kiosk.reporter.telemetry({"cpu_percent": 1.0})
    await kiosk.outbox.flush()
    space["free"] = free
    await kiosk.upkeep.maintain()
    await kiosk.reporter.telemetry({"cpu_percent": 1.0})
    depth = kiosk.outbox.depth()
    assert depth.p1 == 1
    assert depth.p2 == (0 if is_short else 2)
    codes = [alarm.code for alarm in kiosk.reporter.open_alarms()]
    assert codes == (["outbox_dropping"] if is_short else [])
    space["free"] = 50.0
    await kiosk.upkeep.maintain()
    assert kiosk.reporter.open_alarms() == ()
    await kiosk.outbox.close()


async def test_the_cap_drops_oldest_telemetry_then_events_never_p0(tmp_path: Path, clock: ManualClock) -> None:
    settings = OutboxSettings(ballast_bytes=0, reserve_free_percent=0.0, cap_bytes=1_048_576, group_rows=100)
    kiosk = await start_kiosk(tmp_path, clock, settings)
    for number in range(400):
        await p0(kiosk, number)
    for _ in range(2_000):
        await kiosk.reporter.telemetry({f"metric_{index}": 1.5 for index in range(30)})
        await kiosk.reporter.event("host", "thing.happened", {"text": "y" * 300})
    await kiosk.outbox.flush()
    await kiosk.upkeep.maintain()
    depth = kiosk.outbox.depth()
    assert depth.p0 >= 400
    assert depth.p2 == 0
    assert depth.p1 < 2_000 or depth.bytes < settings.cap_bytes
    assert kiosk.outbox.dropped()[RecordClass.P0] == 0
    assert kiosk.outbox.dropped()[RecordClass.P2] >= 2_000
    assert (tmp_path / "outbox" / "outbox.db").stat().st_size < 4 * settings.cap_bytes
    await kiosk.outbox.close()


def test_ballast_waits_for_ample_space(tmp_path: Path) -> None:
    space = {"free": 10}
    ballast = Ballast(tmp_path, 100_000, lambda _: DiskSpace(space["free"], 1_000_000))
    assert not ballast.restore(5.0)
    space["free"] = 240_000
    assert not ballast.restore(5.0)
    space["free"] = 260_000
    assert ballast.restore(5.0)
    assert ballast.release()
    assert not ballast.release()
