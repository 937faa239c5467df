"""What is sent when, against a server in memory; the clock is moved by hand."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.settings import OutboxSettings, UplinkSettings
from agent.uplink.pump import Pump
from kit.clock import ManualClock
from kit.mqtt import NotConnected
from support.kiosk_outbox import SMALL, Kiosk, start_kiosk
from support.uplink_server import UplinkServer
from wire.envelope import encode
from wire.uplink import EventRecord, Receipt, RecordClass

TOPIC = "kiosk/v1/kiosk-001/up/log"
SETTINGS = UplinkSettings(batch_records=10, window_batches=2, backfill_per_s=20.0)
pytestmark = pytest.mark.timeout(60)


@dataclass(slots=True)
class Wire:
    """A link to the server in memory; receipts wait in `answers` until they are delivered."""

    server: UplinkServer
    answers: list[bytes] = field(default_factory=list)
    is_down: bool = False
    sent: int = 0

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, timeout_s: float = 10.0) -> None:
        assert topic == TOPIC
        assert qos == 1
        assert timeout_s > 0
        if self.is_down:
            raise NotConnected("down")
        self.sent += 1
        answer = self.server.take(payload)
        if answer is not None:
            self.answers.append(answer)


@dataclass(slots=True)
class Rig:
    """Kiosk, pump, wire and server."""

    kiosk: Kiosk
    pump: Pump
    wire: Wire

    @property
    def server(self) -> UplinkServer:
        return self.wire.server

    async def deliver(self) -> None:
        """Bring the waiting receipts to the kiosk."""
        while self.wire.answers:
            await self.pump.take_receipt(self.wire.answers.pop(0))

    async def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, send, deliver."""
        self.kiosk.clock.advance(seconds)
        await self.kiosk.outbox.flush()
        await self.pump.step()
        await self.deliver()

    async def drain(self, *, turns: int = 500, seconds: float = 1.0) -> None:
        """Turn until nothing waits."""
        for _ in range(turns):
            await self.turn(seconds)
            if self.kiosk.outbox.depth().p0 + self.kiosk.outbox.depth().p1 + self.kiosk.outbox.depth().p2 == 0:
                return
        raise AssertionError(f"still waiting: {self.kiosk.outbox.depth()}")

    def open(self, rate: float | None = None) -> None:
        self.pump.open_gate(TOPIC, self.wire, rate)


async def make_rig(
    directory: Path, clock: ManualClock, outbox: OutboxSettings = SMALL, settings: UplinkSettings = SETTINGS
) -> Rig:
    kiosk = await start_kiosk(directory, clock, outbox)
    pump = Pump(kiosk.outbox, kiosk.reporter, settings, clock, random.Random(1))
    return Rig(kiosk, pump, Wire(UplinkServer()))


@pytest.fixture
async def rig(tmp_path: Path, clock: ManualClock) -> object:
    made = await make_rig(tmp_path, clock)
    yield made
    await made.kiosk.outbox.close()


async def events(rig: Rig, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        await rig.kiosk.reporter.event("host", "thing.happened", {"n": number})
    await rig.kiosk.outbox.flush()


def numbers(rig: Rig) -> list[int]:
    return [int(record.fields["n"] or 0) for record in rig.server.records if isinstance(record, EventRecord)]


async def test_nothing_leaves_while_the_gate_is_closed(rig: Rig) -> None:
    await events(rig, 5)
    await rig.turn()
    assert rig.wire.sent == 0
    rig.open()
    await rig.turn()
    assert numbers(rig) == [0, 1, 2, 3, 4]
    assert rig.kiosk.outbox.depth().p1 == 0
    rig.pump.close_gate()
    await events(rig, 5, 5)
    await rig.turn()
    assert len(numbers(rig)) == 5


async def test_only_a_receipt_deletes(rig: Rig) -> None:
    rig.open()
    await events(rig, 5)
    await rig.pump.step()
    assert rig.wire.sent == 1
    assert rig.kiosk.outbox.depth().p1 == 5
    await rig.deliver()
    assert rig.kiosk.outbox.depth().p1 == 0
    assert rig.pump.in_flight == 0


async def test_live_goes_before_the_backlog_which_is_flagged_and_paced(rig: Rig) -> None:
    await events(rig, 100)
    rig.kiosk.clock.advance(3_600.0)
    rig.open()
    await events(rig, 3, 1_000)
    await rig.turn()
    assert numbers(rig)[:3] == [1_000, 1_001, 1_002]
    assert not any(record.hist for record in rig.server.batches[0].records)
    for _ in range(4):
        await rig.turn(1.0)
    late = [record for batch in rig.server.batches[1:] for record in batch.records]
    assert late
    assert all(record.hist for record in late)
    assert len(late) <= SETTINGS.batch_records + 5 * SETTINGS.backfill_per_s
    await events(rig, 1, 2_000)
    before = len(rig.server.batches)
    await rig.turn()
    assert [record.hist for record in rig.server.batches[before].records] == [False]
    await rig.drain()
    assert sorted(numbers(rig)) == [*range(100), 1_000, 1_001, 1_002, 2_000]
    assert rig.server.duplicates == 0


async def test_the_server_sets_the_pace(rig: Rig) -> None:
    await events(rig, 100)
    rig.kiosk.clock.advance(3_600.0)
    rig.open(2.0)
    for _ in range(21):
        await rig.turn(1.0)
    assert len(numbers(rig)) <= SETTINGS.batch_records + 2 * 21
    rig.open(1_000.0)
    await rig.drain(turns=10)


async def test_window_holds_back_and_receipts_let_more_go(rig: Rig) -> None:
    rig.open()
    await events(rig, 50)
    await rig.pump.step()
    assert rig.wire.sent == SETTINGS.window_batches
    await rig.pump.step()
    assert rig.wire.sent == SETTINGS.window_batches
    await rig.deliver()
    await rig.pump.step()
    assert rig.wire.sent == 2 * SETTINGS.window_batches


async def test_a_batch_without_receipt_is_sent_again_less_and_less_often(rig: Rig) -> None:
    rig.open()
    await events(rig, 5)
    sent_at: list[float] = []
    for second in range(400):
        before = rig.wire.sent
        rig.wire.answers.clear()
        await rig.pump.step()
        if rig.wire.sent > before:
            sent_at.append(second)
        rig.kiosk.clock.advance(1.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent_at)]
    assert 18 <= gaps[0] <= 25
    assert 36 <= gaps[1] <= 49
    assert all(gap <= 145 for gap in gaps)
    assert len(sent_at) <= 7
    await rig.pump.step()
    assert rig.server.duplicates == 5 * (rig.wire.sent - 1)


async def test_a_receipt_that_comes_twice_or_late_is_harmless(rig: Rig) -> None:
    rig.open()
    await events(rig, 5)
    await rig.pump.step()
    kept = list(rig.wire.answers)
    await rig.deliver()
    await events(rig, 5, 5)
    for payload in kept * 3:
        await rig.pump.take_receipt(payload)
    assert rig.kiosk.outbox.depth().p1 == 5
    await rig.drain()
    assert numbers(rig) == list(range(10))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"{}",
        b'{"v":2,"epoch":"x","through_seq":1}',
        b'{"epoch":"x","through_seq":-1}',
        b'{"epoch":"x","through_seq":9223372036854775808}',
        b'{"epoch":"x","through_seq":1,"ranges":[[3]]}',
        b"[" * 100_000,
    ],
)
async def test_a_receipt_that_makes_no_sense_is_refused(rig: Rig, payload: bytes) -> None:
    await events(rig, 5)
    await rig.pump.take_receipt(payload)
    assert rig.kiosk.outbox.depth().p1 == 5


async def test_a_receipt_of_another_epoch_deletes_nothing(rig: Rig) -> None:
    await events(rig, 5)
    await rig.pump.take_receipt(encode(Receipt(epoch="01ARZ3NDEKTSV4RRFFQ69G5FAV", through_seq=5)))
    assert rig.kiosk.outbox.depth().p1 == 5


@pytest.mark.parametrize(("through", "ranges"), [(2**62, []), (0, [(1, 2**62)]), (5, [(100, 200)])])
async def test_a_receipt_beyond_our_numbers_starts_an_epoch_and_loses_nothing(
    rig: Rig, through: int, ranges: list[tuple[int, int]]
) -> None:
    rig.open()
    await events(rig, 5)
    epoch = rig.kiosk.outbox.epoch
    forged = encode(Receipt(epoch=epoch, through_seq=through, ranges=ranges))
    for _ in range(3):
        await rig.pump.take_receipt(forged)
    assert rig.kiosk.outbox.epoch != epoch
    assert rig.kiosk.outbox.depth().p1 == 5
    after = rig.kiosk.outbox.epoch
    await rig.pump.take_receipt(encode(Receipt(epoch=after, through_seq=2**62)))
    assert rig.kiosk.outbox.epoch == after
    assert rig.kiosk.outbox.depth().p1 == 5
    await rig.drain()
    assert sorted(numbers(rig)) == list(range(5))


async def test_reversed_ranges_delete_nothing(rig: Rig) -> None:
    await events(rig, 5)
    await rig.pump.take_receipt(encode(Receipt(epoch=rig.kiosk.outbox.epoch, through_seq=0, ranges=[(5, 1)])))
    assert rig.kiosk.outbox.depth().p1 == 5


async def test_one_poisonous_record_does_not_hold_up_the_rest(rig: Rig) -> None:
    rig.open()
    await events(rig, 30)
    rig.server.refuses.add((rig.kiosk.outbox.epoch, 7))
    for second in range(3_000):
        await rig.turn(1.0)
        if second % 20 == 0:
            await events(rig, 1, 100 + second)
    assert rig.kiosk.outbox.depth().p1 == 1
    assert 6 not in numbers(rig)
    assert set(range(30)) - {6} <= set(numbers(rig))
    assert [alarm.code for alarm in rig.kiosk.reporter.open_alarms()] == ["uplink_rejected"]
    rig.server.refuses.clear()
    rig.kiosk.clock.advance(3_600.0)
    await rig.drain()
    await rig.drain()
    assert 6 in numbers(rig)
    assert rig.kiosk.reporter.open_alarms() == ()


async def test_a_server_that_answers_nobody_is_no_reason_to_cut_batches(rig: Rig) -> None:
    rig.open()
    await events(rig, 10)
    for _ in range(2_000):
        await rig.pump.step()
        rig.wire.answers.clear()
        rig.kiosk.clock.advance(1.0)
    assert {len(batch.records) for batch in rig.server.batches} == {10}
    assert rig.pump.state.parked == {}


async def test_broken_links_lose_and_double_nothing(rig: Rig) -> None:
    random_numbers = random.Random(7)
    produced = 0
    for _ in range(300):
        rig.wire.is_down = random_numbers.random() < 0.3
        if random_numbers.random() < 0.2:
            rig.pump.close_gate()
        elif random_numbers.random() < 0.5:
            rig.open()
        count = random_numbers.randrange(4)
        await events(rig, count, produced)
        produced += count
        rig.kiosk.clock.advance(random_numbers.choice([0.1, 1.0, 30.0, 200.0]))
        await rig.pump.step()
        if random_numbers.random() < 0.3:
            rig.wire.answers.clear()
        await rig.deliver()
    rig.wire.is_down = False
    rig.open()
    await rig.drain(seconds=30.0)
    assert sorted(numbers(rig)) == list(range(produced))


async def test_weeks_without_network_stay_within_bounds_and_drain(tmp_path: Path, clock: ManualClock) -> None:
    rig = await make_rig(tmp_path, clock)
    for hour in range(15 * 24):
        for _ in range(6):
            await rig.kiosk.reporter.telemetry({"cpu_percent": float(hour % 100)})
            clock.advance(600.0)
        if hour % 24 == 0:
            await rig.kiosk.reporter.audit("engineer-1", "visit", "ok", fields={"n": hour // 24})
            await rig.kiosk.reporter.event("host", "day.began", {"n": hour // 24})
        await rig.kiosk.upkeep.maintain()
    depth = rig.kiosk.outbox.depth()
    assert depth.p0 == 15
    assert depth.p1 == 7
    dropped = rig.kiosk.outbox.dropped()
    assert dropped[RecordClass.P0] == 0
    assert dropped[RecordClass.P1] == 8
    rig.open()
    await rig.drain(turns=2_000)
    ledger = rig.server.ledgers[rig.kiosk.outbox.epoch]
    assert ledger.receipt("x").ranges == []
    assert rig.server.check_chain(rig.kiosk.outbox.epoch) == 15
    await rig.kiosk.outbox.close()


async def test_void_numbers_are_told_so_that_the_server_waits_for_nothing(tmp_path: Path, clock: ManualClock) -> None:
    rig = await make_rig(tmp_path, clock)
    await events(rig, 5)
    await rig.kiosk.outbox._disk.give_up()  # an end without a clean close leaves promised numbers unused
    await rig.kiosk.outbox.close()
    rig = await make_rig(tmp_path, clock)
    await events(rig, 5, 5)
    rig.open()
    await rig.drain()
    receipt = rig.server.ledgers[rig.kiosk.outbox.epoch].receipt("x")
    assert receipt.ranges == []
    assert receipt.through_seq > 1_000
    assert sorted(numbers(rig)) == list(range(10))
    await rig.kiosk.outbox.close()
