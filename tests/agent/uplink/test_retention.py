"""What ageing does to records: averages keep their weight, nothing dear goes, the wall clock decides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.uplink.session_numbers import BLOCK, SessionNumbers
from kit.clock import ManualClock
from support.kiosk_outbox import Kiosk, start_kiosk
from wire.presence import SESSION_LIMIT
from wire.uplink import RecordClass, TelemetryRecord

HOUR, DAY = 3_600.0, 86_400.0


async def sample(kiosk: Kiosk, values: dict[str, float], *, count: int = 1, every_s: float = 30.0) -> None:
    for _ in range(count):
        await kiosk.reporter.telemetry(values)
        kiosk.clock.advance(every_s)
    await kiosk.outbox.flush()


async def telemetry(kiosk: Kiosk) -> list[TelemetryRecord]:
    batch = kiosk.as_batch(await kiosk.everything())
    return [record for record in batch.records if isinstance(record, TelemetryRecord)]


async def test_an_hour_later_a_minute_is_one_row_with_the_mean(kiosk: Kiosk) -> None:
    for value in (10.0, 20.0, 30.0, 40.0):
        await sample(kiosk, {"cpu_percent": value, "load_1m": 1.0}, every_s=15.0)
    kiosk.clock.advance(HOUR + 120.0)
    await kiosk.upkeep.maintain()
    (row,) = await telemetry(kiosk)
    assert row.values == {"cpu_percent": pytest.approx(25.0), "load_1m": pytest.approx(1.0)}
    assert (row.samples, row.span_s) == (4, 60.0)
    assert kiosk.outbox.dropped()[RecordClass.P2] == 4


async def test_a_day_later_five_minutes_are_one_row_and_weights_survive(kiosk: Kiosk) -> None:
    await sample(kiosk, {"cpu_percent": 10.0}, count=6, every_s=10.0)
    await sample(kiosk, {"cpu_percent": 40.0}, count=1, every_s=60.0)
    kiosk.clock.advance(HOUR + 120.0)
    await kiosk.upkeep.maintain()
    assert len(await telemetry(kiosk)) == 2
    kiosk.clock.advance(DAY)
    await kiosk.upkeep.maintain()
    (row,) = await telemetry(kiosk)
    assert row.samples == 7
    assert row.values["cpu_percent"] == pytest.approx((6 * 10.0 + 40.0) / 7)


async def test_components_are_not_mixed(kiosk: Kiosk) -> None:
    await kiosk.reporter.telemetry({"cpu_percent": 1.0})
    await kiosk.reporter.telemetry({"temperature_c": 50.0}, component="printer")
    kiosk.clock.advance(2 * HOUR)
    await kiosk.outbox.flush()
    await kiosk.upkeep.maintain()
    assert sorted(row.component for row in await telemetry(kiosk)) == ["host", "printer"]


async def test_rows_on_their_way_are_not_averaged(kiosk: Kiosk) -> None:
    await sample(kiosk, {"cpu_percent": 1.0}, count=4, every_s=10.0)
    kiosk.outbox.hold = {1, 2}
    kiosk.clock.advance(2 * HOUR)
    await kiosk.upkeep.maintain()
    assert {row.seq for row in await telemetry(kiosk)} >= {1, 2}


async def test_each_class_ends_in_its_time_and_p0_never(kiosk: Kiosk) -> None:
    await kiosk.reporter.audit("engineer-1", "visit", "ok")
    await kiosk.reporter.event("host", "thing.happened")
    await sample(kiosk, {"cpu_percent": 1.0})
    for day in range(1, 16):
        kiosk.clock.advance(DAY)
        await kiosk.upkeep.maintain()
        depth = kiosk.outbox.depth()
        assert depth.p0 == 1
        assert depth.p1 == (1 if day < 7 else 0), day
        assert depth.p2 == (1 if day < 14 else 0), day


@pytest.mark.parametrize("jump_s", [400 * DAY, -400 * DAY, 20 * 365 * DAY, -56 * 365 * DAY])
async def test_a_wrong_wall_clock_deletes_nothing(kiosk: Kiosk, tmp_path: Path, jump_s: float) -> None:
    await kiosk.reporter.event("host", "thing.happened")
    await sample(kiosk, {"cpu_percent": 1.0})
    kiosk.clock.jump_wall(jump_s)
    await kiosk.upkeep.maintain()
    assert (kiosk.outbox.depth().p1, kiosk.outbox.depth().p2) == (1, 1)
    await kiosk.outbox.close()
    kiosk.clock.jump_wall(-2 * jump_s)
    again = await start_kiosk(tmp_path, kiosk.clock)
    await again.upkeep.maintain()
    assert (again.outbox.depth().p1, again.outbox.depth().p2) == (1, 1)
    await again.outbox.close()


async def test_records_of_before_a_reboot_are_backlog(kiosk: Kiosk, tmp_path: Path) -> None:
    await kiosk.reporter.audit("engineer-1", "visit", "ok")
    await kiosk.outbox.close()
    again = await start_kiosk(tmp_path, kiosk.clock, host_boot="host-2")
    assert await again.outbox.late_through(again.outbox.epoch, 60.0) == 1
    await again.outbox.close()


def test_session_numbers_rise_over_crashes_losses_and_a_new_disk(tmp_path: Path) -> None:
    clock = ManualClock()
    path = tmp_path / "session"
    last = 0
    for round_no in range(12):
        numbers = SessionNumbers(path, clock)
        numbers.load()
        numbers.reserve()
        for _ in range(30):
            number = numbers.take()
            assert number > last
            last = number
        clock.advance(60.0)
        if round_no % 4 == 1:
            path.unlink()
        elif round_no % 4 == 3:
            path.write_bytes(path.read_bytes()[:3])


def test_session_numbers_go_on_when_the_disk_takes_no_promise(tmp_path: Path) -> None:
    numbers = SessionNumbers(tmp_path / "missing" / "session", ManualClock())
    numbers.load()
    with pytest.raises(OSError, match="session"):
        numbers.reserve()
    taken = [numbers.take() for _ in range(3 * BLOCK)]
    assert taken == sorted(set(taken))
    assert taken[-1] < SESSION_LIMIT
