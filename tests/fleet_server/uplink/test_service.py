"""From the broker into the store and back: receipts after COMMIT only, whatever is killed, away, bad or foreign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts.ingest import AlarmRecordSink
from fleet_server.alerts.store import AlarmStore
from fleet_server.registry.model import KioskState
from fleet_server.uplink.limits import RateLimits
from fleet_server.uplink.model import Incoming, Outcome, Stream
from fleet_server.uplink.service import LINGER_S
from fleet_server.uplink.store import Prepared, StoreAway, UplinkStore
from kit.clock import ManualClock
from kit.store import Database
from support.ingest import (
    EPOCH,
    LIMITS,
    Around,
    FakeFleet,
    FussySink,
    Ingest,
    batch,
    event,
    kiosk,
    make_ingest,
    rows,
    running,
    sample,
    stored_seqs,
)
from support.waiting import wait_for
from wire.faults import Fault

KID, OTHER = "zzj-001", "zzj-002"
UNLIMITED = RateLimits(records_per_s=1e6, burst=1e6, quiet_release_s=600.0)
REJECTED = (KID, "uplink", Fault.UPLINK_REJECTED)


@dataclass(slots=True)
class Gate:
    """A sink that stops inside the transaction until it is opened, and remembers what happened in which order."""

    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    order: list[str] = field(default_factory=list)

    def prepare(self, batch: Incoming, stream: Stream) -> int | None:
        return len(batch.header.seqs)

    async def write(self, connection: AsyncConnection, parts: Sequence[int]) -> None:
        self.order.append("written")
        await self.is_open.wait()

    def committed(self, parts: Sequence[int]) -> None:
        self.order.append("committed")


class FlakyStore(UplinkStore):
    """A store that can be away."""

    is_away = False
    refusals = 0

    async def commit(self, group: Sequence[Prepared]) -> Outcome:
        if self.is_away:
            self.refusals += 1
            raise StoreAway("test")
        return await super().commit(group)


@asynccontextmanager
async def another(ingest: Ingest, around: Around | None = None) -> AsyncIterator[Ingest]:
    """A new process on the same store and the same registry."""
    async with running(make_ingest(ingest.database, ingest.clock, ingest.fleet, around)) as process:
        yield process


async def test_a_batch_is_stored_and_answered(ingest: Ingest) -> None:
    async with running(ingest):
        receipt = await ingest.send(KID, batch([sample(1), event(2)]))
    assert (receipt.epoch, receipt.through_seq, receipt.ranges) == (EPOCH, 2, [])
    assert await stored_seqs(ingest.database) == [1, 2]
    assert ingest.broker.receipts(OTHER) == []
    assert (ingest.batches("stored"), ingest.records("stored")) == (1, 2)


async def test_no_receipt_before_the_commit(fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet) -> None:
    gate = Gate()
    ingest = make_ingest(fleet_db, manual_clock, fleet, Around(sinks=[gate]))
    async with running(ingest):
        ingest.broker.put(KID, batch([sample(1)]))
        await wait_for(lambda: gate.order, what="the transaction")
        assert ingest.broker.sent == []
        gate.is_open.set()
        await wait_for(lambda: ingest.broker.sent, what="the receipt")
        assert gate.order == ["written", "committed"]
        assert await stored_seqs(fleet_db) == [1], "another connection sees what the receipt promises"


async def test_a_store_that_hangs_is_seen_in_what_waits(
    sqlite_fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    """The figures are those of the scrape; the last commit, long ago, left others."""
    gate = Gate()
    ingest = make_ingest(sqlite_fleet_db, manual_clock, fleet, Around(sinks=[gate]))

    async def shows(messages: int) -> bool:
        page = await asyncio.to_thread(ingest.metrics.render)
        return f"fleet_uplink_backlog_messages {messages}.0".encode() in page

    async with running(ingest):
        ingest.broker.put(KID, batch([sample(1)]))
        await wait_for(lambda: gate.order, what="the transaction")
        ingest.broker.put(OTHER, batch([sample(1), sample(2)]))
        await wait_for(lambda: shows(1), what="the message")
        gate.is_open.set()
        await wait_for(lambda: shows(0), what="the commit")


async def test_a_server_killed_inside_the_transaction_promised_nothing(
    fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    gate = Gate()
    ingest, payload = make_ingest(fleet_db, manual_clock, fleet, Around(sinks=[gate])), batch([sample(1), event(2)])
    async with running(ingest):
        ingest.broker.put(KID, payload)
        await wait_for(lambda: gate.order, what="the transaction")
    assert ingest.broker.sent == []
    assert await stored_seqs(fleet_db) == []
    async with another(ingest) as process:
        assert (await process.send(KID, payload)).through_seq == 2
    assert await stored_seqs(fleet_db) == [1, 2]


async def test_a_server_killed_between_commit_and_receipt_gives_it_when_asked_again(ingest: Ingest) -> None:
    payload = batch([sample(1), event(2), sample(9)])
    ingest.broker.can_send = False
    async with running(ingest):
        ingest.broker.put(KID, payload)
        await wait_for(lambda: ingest.batches("stored"), what="the commit")
    assert ingest.broker.sent == []
    assert await stored_seqs(ingest.database) == [1, 2, 9]
    async with another(ingest) as process:
        receipt = await process.send(KID, payload)
        assert (receipt.through_seq, receipt.ranges) == (2, [(9, 9)])
        assert process.records("duplicate") == 3
    assert await stored_seqs(ingest.database) == [1, 2, 9]


async def test_receipts_that_could_not_be_sent_are_counted_and_given_for_the_next_try(ingest: Ingest) -> None:
    payload = batch([sample(1)])
    async with running(ingest):
        ingest.broker.can_send = False
        ingest.broker.put(KID, payload)
        await wait_for(lambda: ingest.batches("stored"), what="the commit")
        ingest.broker.can_send = True
        assert (await ingest.send(KID, payload)).through_seq == 1
    assert await stored_seqs(ingest.database) == [1]


async def test_repetitions_in_one_group_are_stored_once_and_answered(ingest: Ingest) -> None:
    for _ in range(3):
        ingest.broker.put(KID, batch([sample(1), event(2)]))
    async with running(ingest):
        await wait_for(lambda: ingest.batches("stored") == 3, what="three batches")
        await wait_for(lambda: ingest.broker.receipts(KID), what="a receipt")
    assert await stored_seqs(ingest.database) == [1, 2]


async def test_a_rebuilt_outbox_starts_a_new_epoch(ingest: Ingest) -> None:
    async with running(ingest):
        await ingest.send(KID, batch([sample(1), sample(2)]))
        receipt = await ingest.send(KID, batch([sample(1)], epoch="rebuilt"))
    assert (receipt.epoch, receipt.through_seq) == ("rebuilt", 1)
    assert await stored_seqs(ingest.database) == [1, 1, 2]


async def test_one_bad_record_is_set_aside_with_an_alarm_and_the_rest_is_answered(ingest: Ingest) -> None:
    async with running(ingest):
        receipt = await ingest.send(KID, batch([sample(1), sample(2) | {"at": "never"}, event(3)]))
        await wait_for(lambda: ingest.desk.is_settled, what="the alarm")
    assert receipt.through_seq == 3, "the kiosk is rid of it"
    assert await stored_seqs(ingest.database) == [1, 3]
    assert [row.seq for row in await ingest.store.rejected(1)] == [2]
    assert REJECTED in ingest.alarms.open
    assert (ingest.records("stored"), ingest.records("rejected")) == (2, 1)


async def test_what_cannot_be_read_is_counted_and_named_and_holds_nobody_up(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    async with running(ingest):
        ingest.broker.put(KID, b"\x00garbage")
        ingest.broker.put(KID, b" " * 262_145)
        ingest.broker.put(KID, b'{"v":1}')
        ingest.broker.put(KID, batch([sample(1)], epoch="\x00"))
        await ingest.send(OTHER, batch([sample(1)]))
        await wait_for(lambda: ingest.desk.is_settled, what="the alarm")
    counted = {outcome: ingest.batches(outcome) for outcome in ("not_json", "too_large", "wrong_schema")}
    assert counted == {"not_json": 1, "too_large": 1, "wrong_schema": 2}
    assert ingest.alarms.open == {REJECTED}
    assert (await stored_seqs(ingest.database, 1), await stored_seqs(ingest.database, 2)) == ([], [1])


async def test_a_kiosk_of_the_future_is_named_until_it_speaks_our_version_again(sqlite_ingest: Ingest) -> None:
    ingest, alarm = sqlite_ingest, (KID, "uplink", Fault.WIRE_VERSION_UNSUPPORTED)
    async with running(ingest):
        ingest.broker.put(KID, batch([sample(1)], v=2))
        await wait_for(lambda: alarm in ingest.alarms.open, what="the alarm")
        assert ingest.batches("unsupported_version") == 1
        await ingest.send(KID, batch([sample(1)]))
        await wait_for(lambda: alarm not in ingest.alarms.open, what="the all-clear")


STRANGE_TOPICS = (
    "kiosk/v1/#/up/log",
    "kiosk/v1/+/up/log",
    "kiosk/v1/a/b/up/log",
    "kiosk/v1//up/log",
    "kiosk/v1/server/up/log",
    "kiosk/v1/fleet-main/up/log",
    "kiosk/v1/ZZJ-001/up/log",
    "kiosk/v1/zzj-001/up/log/more",
    "kiosk/v1/zzj-001/up/other",
    "kiosk/v1/zzj-001/up/presence",
    "kiosk/v2/zzj-001/up/log",
    "$SYS/broker/log",
    "",
)


async def test_nothing_is_taken_from_a_topic_that_is_not_a_kiosks_log(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    async with running(ingest):
        for name in STRANGE_TOPICS:
            ingest.broker.put(KID, batch([sample(1)]), name=name)
        await ingest.send(OTHER, batch([sample(5)]))
    assert ingest.batches("unknown_topic") == len(STRANGE_TOPICS)
    assert await rows(ingest.database, "SELECT kiosk_no, seq FROM telemetry_sample") == [(2, 5)]


async def test_a_kiosk_that_is_not_enrolled_is_not_listened_to(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    states = (KioskState.PLANNED, KioskState.REVOKED, KioskState.RETIRED, KioskState.QUARANTINED)
    strangers = [f"zzj-01{number}" for number in range(len(states))]
    ingest.fleet.kiosks |= {
        kid: kiosk(kid, no, state) for no, (kid, state) in enumerate(zip(strangers, states, strict=True), 10)
    }
    async with running(ingest):
        for stranger in (*strangers, "zzj-never-heard-of"):
            ingest.broker.put(stranger, batch([sample(1)]))
        await ingest.send(OTHER, batch([sample(5)]))
    assert ingest.batches("not_accepted") == len(strangers) + 1
    assert {name for name, _ in ingest.broker.sent} == {"kiosk/v1/zzj-002/down/receipt"}
    assert await rows(ingest.database, "SELECT kiosk_no, seq FROM telemetry_sample") == [(2, 5)]


async def test_whose_batch_it_is_says_the_topic_and_never_the_payload(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    claim = {"kid": OTHER, "kiosk_no": 2}
    async with running(ingest):
        await ingest.send(KID, batch([sample(1) | claim, event(2) | claim], kid=OTHER, kiosk_no=2))
    assert await stored_seqs(ingest.database, 1) == [1, 2]
    assert await stored_seqs(ingest.database, 2) == []


async def test_a_retained_batch_is_poison(sqlite_ingest: Ingest) -> None:
    """The broker would hand it out again after every restart of ours."""
    ingest = sqlite_ingest
    async with running(ingest):
        ingest.broker.put(KID, batch([sample(1)]), retain=True)
        await ingest.send(KID, batch([sample(2)]))
        await wait_for(lambda: ingest.desk.is_settled, what="the alarm")
    assert ingest.batches("retained") == 1
    assert await stored_seqs(ingest.database) == [2]
    assert REJECTED in ingest.alarms.open


async def test_a_record_the_store_refuses_is_isolated_and_everybody_else_is_committed(
    fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    fussy = FussySink(frozenset({2}))
    ingest = make_ingest(fleet_db, manual_clock, fleet, Around(sinks=[fussy]))
    ingest.broker.put(KID, batch([sample(1), event(2), sample(3)], void=[[4, 6]]))
    ingest.broker.put(OTHER, batch([sample(11), event(12)]))
    async with running(ingest):
        await wait_for(lambda: ingest.broker.receipts(KID) and ingest.broker.receipts(OTHER), what="receipts")
        await wait_for(lambda: ingest.desk.is_settled, what="the alarm")
    assert ingest.broker.receipts(KID)[-1].through_seq == 6, "records and voids"
    assert ingest.broker.receipts(OTHER)[-1].ranges == [(11, 12)]
    assert await stored_seqs(fleet_db, 1) == [1, 3]
    assert await stored_seqs(fleet_db, 2) == [11, 12]
    (aside,) = await ingest.store.rejected(1)
    assert (aside.seq, await ingest.store.rejected(2)) == (2, [])
    assert "refused by the store" in aside.reason
    assert '"number":2' in aside.content
    assert ingest.alarms.open == {REJECTED}


async def test_while_the_store_is_away_little_is_taken_and_afterwards_nothing_is_missing(
    fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    ingest = make_ingest(fleet_db, manual_clock, fleet, Around(store=FlakyStore, limits=UNLIMITED))
    assert isinstance(ingest.store, FlakyStore)
    batches, size = 250, 50
    async with running(ingest):
        await ingest.send(KID, batch([sample(1)]))
        ingest.store.is_away = True
        for number in range(batches):
            first = 2 + number * size
            ingest.broker.put(KID, batch([sample(seq) for seq in range(first, first + size)]))
        await wait_for(lambda: ingest.store.refusals >= 2, what="two tries")  # type: ignore[attr-defined]  # see above
        taken = ingest.broker.taken
        assert taken * size < 9_000, "the broker holds the rest"
        assert len(ingest.broker.receipts(KID)) == 1
        ingest.store.is_away = False
        last = 1 + batches * size
        await wait_for(lambda: ingest.broker.receipts(KID)[-1].through_seq == last, what="everything", timeout_s=8.0)
    assert await rows(fleet_db, "SELECT count(*), max(seq) FROM telemetry_sample") == [(last, last)]


async def test_a_new_streams_number_waits_for_the_store_too(
    sqlite_fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    class Opening(FlakyStore):
        async def open(self, headers: Sequence[object]) -> None:
            if self.is_away:
                self.refusals += 1
                raise StoreAway("test")
            await super().open(headers)  # type: ignore[arg-type]  # passed on

    ingest = make_ingest(sqlite_fleet_db, manual_clock, fleet, Around(store=Opening))
    assert isinstance(ingest.store, Opening)
    ingest.store.is_away = True
    async with running(ingest):
        ingest.broker.put(KID, batch([sample(1)]))
        await wait_for(lambda: ingest.store.refusals >= 2, what="two tries")  # type: ignore[attr-defined]  # see above
        assert ingest.broker.sent == []
        ingest.store.is_away = False
        await wait_for(lambda: ingest.broker.receipts(KID), what="the receipt")


async def test_a_service_that_is_started_again_begins_empty(
    sqlite_fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    """What was in memory when it failed is sent again by the kiosk; the wish to commit it must not survive it."""
    gate = Gate()
    ingest = make_ingest(sqlite_fleet_db, manual_clock, fleet, Around(sinks=[gate]))
    async with running(ingest):
        ingest.broker.put(KID, batch([sample(1)]))
        await wait_for(lambda: gate.order, what="the transaction")
        ingest.broker.put(KID, batch([sample(2)]))
        await wait_for(lambda: ingest.broker.taken == 2, what="the next batch to be read")
    gate.is_open.set()
    async with running(ingest):
        loop = asyncio.get_running_loop()
        lingered_s = loop.time() + 3 * LINGER_S
        await wait_for(lambda: loop.time() > lingered_s, what="the moment an old wish would be carried out")
        assert (await ingest.send(KID, batch([sample(1), sample(2)]))).through_seq == 2
    assert await stored_seqs(sqlite_fleet_db) == [1, 2]


async def worker_is_listed(ingest: Ingest) -> bool:
    return bool(await rows(ingest.database, "SELECT name FROM uplink_worker"))


async def test_a_worker_is_listed_while_it_takes_data_and_not_afterwards(ingest: Ingest) -> None:
    async with running(ingest):
        await wait_for(lambda: worker_is_listed(ingest), what="the worker")
    assert not await worker_is_listed(ingest)


async def test_streams_for_ever_are_a_flood(sqlite_ingest: Ingest) -> None:
    """Numbers of streams stay in memory and in the store, so a kiosk cannot make them without end."""
    ingest = sqlite_ingest
    assert LIMITS.burst < 40 * 100
    async with running(ingest):
        for number in range(40):
            ingest.broker.put(KID, batch([sample(1)], epoch=f"epoch-{number}"))
        outcomes = ("stored", "not_accepted", "flooding")
        await wait_for(lambda: sum(map(ingest.batches, outcomes)) == 40, what="all batches")
        await wait_for(lambda: ingest.desk.is_settled, what="quarantine")
    assert not ingest.fleet.accepts(KID)
    (streams,) = await rows(ingest.database, "SELECT count(*) FROM uplink_stream")
    assert streams[0] < 25


async def test_an_alarm_that_no_store_takes_is_isolated_like_any_other_poison(
    fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    """A NUL in a detail fails while the statement is made, before any database sees it."""
    alarm = {"kind": "alarm", "record_class": "p0", "component": "printer", "code": "paper_out", "edge": "raise"}
    made = event(2) | alarm | {"severity": "major", "detail": {"text": "a\x00b"}}
    sink = AlarmRecordSink(AlarmStore(fleet_db), manual_clock)
    ingest = make_ingest(fleet_db, manual_clock, fleet, Around(sinks=[sink]))
    ingest.broker.put(KID, batch([sample(1), made, event(3)]))
    ingest.broker.put(OTHER, batch([event(7) | alarm | {"severity": "major"}]))
    async with running(ingest):
        await wait_for(lambda: ingest.broker.receipts(KID) and ingest.broker.receipts(OTHER), what="receipts")
        await wait_for(lambda: ingest.desk.is_settled, what="the alarm")
    assert ingest.broker.receipts(KID)[-1].through_seq == 3
    assert (await stored_seqs(fleet_db, 1), await stored_seqs(fleet_db, 2)) == ([1, 3], [7])
    (aside,) = await ingest.store.rejected(1)
    assert (aside.seq, "paper_out" in aside.content) == (2, True)
    assert ingest.alarms.open == {REJECTED}
    assert [item.kid for item in await AlarmStore(fleet_db).alarms(only_open=True)] == [OTHER]
