"""The evidence chain of class P0 records: an edit, a gap, a forged or a missing row is found and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from fleet_server.telemetry.chain import ChainProver, verify_chain, verify_stream
from fleet_server.telemetry.evidence import EvidenceSink
from fleet_server.telemetry.model import ChainState
from fleet_server.telemetry.store import TelemetryStore
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.store import UplinkStore
from kit.clock import ManualClock
from kit.store import Database, StoreBusy
from support.ingest import EPOCH, Document, batch, chain_of, chained, event, rows, sender
from support.registry import FakeAlarms
from wire.envelope import Scalar
from wire.faults import Fault
from wire.uplink import CHAIN_START

KID = "zzj-001"
ALARM = (KID, "evidence", Fault.EVIDENCE_CHAIN_BROKEN)


class Names:
    def name_of(self, number: int) -> str | None:
        return f"zzj-{number:03}"


@dataclass(slots=True)
class BusyAlarms(FakeAlarms):
    """Alarms whose store is busy the first time."""

    refusals: int = 1
    details: list[Mapping[str, Scalar]] = field(default_factory=list)

    async def raise_alarm(self, kid: str, component: str, code: Fault, detail: Mapping[str, Scalar]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreBusy("test")
        self.details.append(detail)
        self.open.add((kid, component, code))


@dataclass(slots=True)
class Archive:
    """What the server keeps of kiosks' evidence, and who proves it."""

    database: Database
    store: TelemetryStore
    alarms: BusyAlarms
    prover: ChainProver
    clock: ManualClock

    async def take(self, *records: Document, epoch: str = EPOCH, tells: bool = True) -> None:
        """Store records of kiosk 1, and tell the prover as the ingest does."""
        sink = EvidenceSink(self.database)
        if tells:
            sink.on_chained(self.prover.look_at)
        store = UplinkStore(self.database, (sink,))
        found = BatchReader().read(batch(records, epoch=epoch), sender())
        await store.open([found.header])
        await store.commit([store.prepare(found)])

    async def state(self, stream_no: int = 1) -> ChainState:
        found = await self.store.chain(stream_no)
        assert found is not None
        return found

    async def do(self, statement: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(text(statement))


def new_archive(database: Database, clock: ManualClock, alarms: BusyAlarms | None = None) -> Archive:
    store, alarms = TelemetryStore(database), alarms or BusyAlarms(refusals=0)
    return Archive(database, store, alarms, ChainProver(store, alarms, Names(), clock), clock)


@pytest.fixture
def archive(fleet_db: Database, manual_clock: ManualClock) -> Archive:
    return new_archive(fleet_db, manual_clock)


async def test_a_chain_is_proved_as_it_grows(archive: Archive) -> None:
    links = chain_of(7)
    await archive.take(*links[:3], event(100))
    await archive.prover.prove()
    assert (await archive.state()).proved_n == 3
    await archive.take(*links[3:])
    await archive.prover.prove()
    state = await archive.state()
    assert (state.proved_n, state.head, state.broken_n) == (7, links[-1]["chain"], None)
    (report,) = await verify_chain(archive.store, 1)
    assert (report.is_sound, report.proved_n, report.newest_n) == (True, 7, 7)
    assert archive.alarms.open == set()


async def test_what_lies_behind_a_gap_waits_for_it(archive: Archive) -> None:
    links = chain_of(6)
    await archive.take(*links[:2], *links[4:])
    await archive.prover.prove()
    assert (await archive.state()).proved_n == 2
    report = await verify_stream(archive.store, 1, 1)
    assert (report.is_sound, report.proved_n, report.newest_n) == (True, 2, 6)
    await archive.take(*links[2:4])
    await archive.prover.prove()
    assert (await archive.state()).proved_n == 6


async def test_more_records_than_are_read_at_once(archive: Archive) -> None:
    links = chain_of(1_100)
    for start in range(0, 1_100, 400):
        await archive.take(*links[start : start + 400])
    await archive.prover.prove()
    assert (await archive.state()).proved_n == 1_100
    assert (await verify_stream(archive.store, 1, 1)).proved_n == 1_100


async def test_a_record_that_does_not_follow_is_kept_and_named_in_an_alarm(archive: Archive) -> None:
    links = chain_of(5)
    forged = chained(3, 3, "f" * 64)
    await archive.take(*links[:2], forged, *links[3:])
    await archive.prover.prove()
    state = await archive.state()
    assert (state.proved_n, state.broken_n, state.broken_seq) == (2, 3, 3)
    assert archive.alarms.open == {ALARM}
    assert archive.alarms.details == [
        {"stream": 1, "chain_n": 3, "seq": 3, "reason": "the record does not follow from the one before it"}
    ]
    kept = await rows(archive.database, "SELECT count(*) FROM telemetry_event")
    assert kept == [(5,)], "evidence of a break is evidence"


async def test_a_chain_that_does_not_begin_at_its_beginning_is_broken(archive: Archive) -> None:
    await archive.take(chained(1, 1, "0" * 63 + "1"))
    await archive.prover.prove()
    assert (await archive.state()).broken_n == 1
    assert ALARM in archive.alarms.open


async def test_every_epoch_has_a_chain_of_its_own(archive: Archive) -> None:
    await archive.take(*chain_of(2))
    await archive.take(*chain_of(3), epoch="rebuilt")
    await archive.take(chained(1, 1, "f" * 64), epoch="forged")
    await archive.prover.prove()
    reports = await verify_chain(archive.store, 1)
    assert [(report.proved_n, report.is_sound) for report in reports] == [(2, True), (3, True), (0, False)]


EDITS: Sequence[tuple[str, int]] = (
    ("UPDATE telemetry_event SET body = replace(body, 'door_opened', 'door_closed') WHERE seq = 3", 3),
    ("UPDATE telemetry_event SET digest = repeat_digest WHERE seq = 3".replace("repeat_digest", f"'{'a' * 64}'"), 3),
    ("UPDATE telemetry_event SET chain_n = 4 WHERE seq = 5", 4),
)


@pytest.mark.parametrize(("statement", "broken_n"), EDITS, ids=["body", "digest", "number"])
async def test_an_edit_in_the_store_is_found_even_where_it_was_proved_before(
    archive: Archive, statement: str, broken_n: int
) -> None:
    await archive.take(*chain_of(5))
    await archive.prover.prove()
    assert (await archive.state()).proved_n == 5
    await archive.do(statement)
    report = await verify_stream(archive.store, 1, 1)
    assert not report.is_sound
    assert report.bad is not None
    assert report.bad.chain_n == broken_n


async def test_a_row_that_was_deleted_leaves_a_gap_that_everybody_sees(archive: Archive) -> None:
    await archive.take(*chain_of(5))
    await archive.prover.prove()
    await archive.do("DELETE FROM telemetry_event WHERE seq = 2")
    report = await verify_stream(archive.store, 1, 1)
    assert (report.proved_n, report.newest_n) == (1, 5), "the store claims five and can prove one"


async def test_an_alarm_store_that_is_busy_does_not_silence_the_break(
    fleet_db: Database, manual_clock: ManualClock
) -> None:
    archive = new_archive(fleet_db, manual_clock, BusyAlarms(refusals=1))
    await archive.take(chained(1, 1, "f" * 64))
    with pytest.raises(StoreBusy):
        await archive.prover.prove()
    assert archive.alarms.open == set()
    await archive.prover.prove()
    assert archive.alarms.open == {ALARM}


async def test_a_broken_chain_is_reported_once_and_not_proved_any_further(archive: Archive) -> None:
    links = chain_of(4)
    await archive.take(chained(1, 1, "f" * 64), *links[1:3])
    await archive.prover.prove()
    await archive.take(links[3])
    await archive.prover.prove()
    assert len(archive.alarms.details) == 1
    assert (await archive.state()).proved_n == 0


async def test_what_a_killed_process_left_unproved_is_found(archive: Archive) -> None:
    await archive.take(*chain_of(2), tells=False)
    await archive.take(chained(1, 1, CHAIN_START), epoch="second", tells=False)
    await archive.prover.prove()
    assert [(await archive.state(number)).proved_n for number in (1, 2)] == [2, 1]
    await archive.take(*chain_of(3), epoch="third", tells=False)
    await archive.prover.prove()
    assert await archive.store.chain(3) is None, "not every second"
    archive.clock.advance(601.0)
    await archive.prover.prove()
    assert (await archive.state(3)).proved_n == 3


async def test_two_processes_prove_one_chain(archive: Archive) -> None:
    links, other = chain_of(6), new_archive(archive.database, archive.clock)
    await archive.take(*links[:2])
    await other.take(*links[2:4])
    await other.prover.prove()
    await archive.prover.prove()
    assert (await archive.state()).proved_n == 4
    stale = ChainState(1, 1, 0, CHAIN_START, 1, links[0]["chain"])
    assert not await archive.store.keep_chain(stale, 0, archive.clock.utc())
    assert not await archive.store.keep_chain(stale, None, archive.clock.utc())
    assert (await archive.state()).proved_n == 4


async def test_a_record_that_claims_half_a_chain_is_no_link(archive: Archive) -> None:
    await archive.take(event(1, chain="0" * 64), event(2, chain_n=1), *chain_of(1, first_seq=3))
    await archive.prover.prove()
    assert (await archive.state()).proved_n == 1
