"""A kiosk that floods: set aside alone, keeps its data, gets out by being quiet or by an engineer, never locked in."""

from __future__ import annotations

import pytest

from fleet_server.registry.model import KioskState, QuarantineReason
from fleet_server.registry.pki import CertificateAuthority
from fleet_server.settings import Settings, UplinkSettings
from fleet_server.uplink.limits import RateLimiter, RateLimits
from kit.clock import ManualClock
from kit.store import Database, StoreBusy
from support.ingest import LIMITS, Around, FakeFleet, Ingest, batch, make_ingest, running, sample, stored_seqs
from support.registry import make_desk
from support.waiting import wait_for
from wire.faults import Fault

KID, OTHER = "zzj-001", "zzj-002"
ALARM = (KID, "uplink", Fault.KIOSK_FLOODING)
BURST, PER_S, QUIET_S = LIMITS.burst, LIMITS.records_per_s, LIMITS.quiet_release_s
SMALLEST = RateLimits(records_per_s=10.0, burst=1_000.0, quiet_release_s=QUIET_S)
"""What `UplinkSettings` allows."""
RESEND_S, RESEND_CAP_S, WINDOW = 20.0, 120.0, 8
"""What an agent does without receipts: four new and four late batches again, 20 s apart, doubling to 120 s."""
WHOLE_BATCH = batch([sample(seq) for seq in range(1, 101)]).ljust(65_536)
CHECK_S = 10.0


def flood(first: int = 1, batches: int = 30) -> list[bytes]:
    """More than the bucket holds, at once."""
    return [batch([sample(seq) for seq in range(at, at + 100)]) for at in range(first, first + batches * 100, 100)]


async def settled(ingest: Ingest) -> None:
    """Everything that was sent is read, and every wish carried out."""
    read = ("stored", "not_accepted", "flooding")
    total = ingest.broker.taken + ingest.broker.backlog
    await wait_for(lambda: sum(map(ingest.batches, read)) == total, what="all batches")
    await wait_for(lambda: ingest.desk.is_settled, what="all wishes")


async def look(ingest: Ingest) -> None:
    """What the service does every few seconds."""
    ingest.service.check_floods()
    await settled(ingest)


async def flooded(ingest: Ingest) -> None:
    for payload in flood():
        ingest.broker.put(KID, payload)
    await settled(ingest)
    await look(ingest)


async def test_a_flood_is_set_aside_and_nobody_else_is_harmed(ingest: Ingest) -> None:
    async with running(ingest):
        for payload in flood():
            ingest.broker.put(KID, payload)
            ingest.broker.put(OTHER, batch([sample(ingest.broker.backlog)]))
        await settled(ingest)
        assert not ingest.fleet.accepts(KID)
        assert ingest.fleet.accepts(OTHER)
        assert ingest.alarms.open == {ALARM}
        receipt = await ingest.send(OTHER, batch([sample(seq) for seq in range(1, 100)]))
    assert receipt.through_seq == 99
    kept = await stored_seqs(ingest.database, 1)
    assert 0 < len(kept) <= BURST
    last = ingest.broker.receipts(KID)[-1]
    assert (last.through_seq, last.ranges) == (len(kept), []), (
        "no receipt beyond what is stored: the kiosk keeps the rest"
    )


async def test_a_kiosk_that_stops_is_taken_back_and_loses_nothing(ingest: Ingest) -> None:
    async with running(ingest):
        await flooded(ingest)
        kept = len(await stored_seqs(ingest.database, 1))
        ingest.clock.advance(QUIET_S - 1.0)
        await look(ingest)
        assert not ingest.fleet.accepts(KID), "not before the time is over"
        ingest.clock.advance(2.0)
        await look(ingest)
        assert ingest.fleet.accepts(KID)
        assert ingest.alarms.open == set()
        await look(ingest)
        receipt = await ingest.send(KID, batch([sample(seq) for seq in range(kept + 1, kept + 101)]))
    assert receipt.through_seq == kept + 100


@pytest.mark.parametrize("limits", [LIMITS, SMALLEST], ids=["usual", "smallest"])
async def test_a_kiosk_that_only_sends_again_as_it_must_gets_out(
    sqlite_fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet, limits: RateLimits
) -> None:
    """Eight batches of the largest size an agent makes, again and again: that is no flood."""
    ingest = make_ingest(sqlite_fleet_db, manual_clock, fleet, Around(limits=limits))
    async with running(ingest):
        await flooded(ingest)
        waited_s, wait_s, due_s = 0.0, RESEND_S, RESEND_S
        while not ingest.fleet.accepts(KID):
            ingest.clock.advance(CHECK_S)
            waited_s += CHECK_S
            if waited_s >= due_s:
                for _ in range(WINDOW):
                    ingest.broker.put(KID, WHOLE_BATCH)
                wait_s = min(wait_s * 2, RESEND_CAP_S)
                due_s += wait_s
            await settled(ingest)
            await look(ingest)
            assert waited_s <= QUIET_S + 300.0, "it is locked in"
        await look(ingest)
        kept = len(await stored_seqs(ingest.database, 1))
        receipt = await ingest.send(KID, batch([sample(seq) for seq in range(kept + 1, kept + 101)]))
    assert receipt.through_seq == kept + 100


async def test_a_kiosk_that_goes_on_flooding_stays_where_it_is(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    async with running(ingest):
        await flooded(ingest)
        for _ in range(15):
            ingest.clock.advance(60.0)
            for _ in range(60):
                ingest.broker.put(KID, WHOLE_BATCH)
            await settled(ingest)
            await look(ingest)
        assert not ingest.fleet.accepts(KID)
        ingest.clock.advance(QUIET_S + 1.0)
        await look(ingest)
        assert ingest.fleet.accepts(KID)


async def test_a_new_process_knows_who_is_set_aside_and_takes_it_back(ingest: Ingest) -> None:
    async with running(ingest):
        await flooded(ingest)
    second = make_ingest(ingest.database, ingest.clock, ingest.fleet)
    async with running(second):
        second.broker.put(KID, flood()[0])
        await look(second)
        assert second.batches("not_accepted") == 1
        second.clock.advance(QUIET_S + 1.0)
        await look(second)
        assert second.fleet.accepts(KID)
        assert (await second.send(KID, batch([sample(1)]))).through_seq > 0


async def test_an_engineer_lets_it_out_at_once(fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet) -> None:
    """With the real registry: set aside by the service, released through it, heard again, alarm closed."""
    registry = make_desk(fleet_db, manual_clock, CertificateAuthority.create(manual_clock.utc()), Settings())
    await registry.assets("ZZJ-001,SN-1,Hall,A,1,,,k20")
    await registry.enrols(KID)
    around = Around(registry=registry.registry, directory=registry.directory)
    ingest = make_ingest(fleet_db, manual_clock, fleet, around)
    async with running(ingest):
        for payload in flood():
            ingest.broker.put(KID, payload)
        await settled(ingest)
        kiosk = registry.directory.get(KID)
        assert kiosk is not None
        assert (kiosk.state, kiosk.quarantine) == (KioskState.QUARANTINED, QuarantineReason.FLOODING)
        assert ALARM in ingest.alarms.open
        await look(ingest)
        await registry.registry.release(KID, actor="engineer")
        await look(ingest)
        assert ingest.alarms.open == set()
        kept = len(await stored_seqs(fleet_db, kiosk.no))
        receipt = await ingest.send(KID, batch([sample(seq) for seq in range(kept + 1, kept + 101)]))
        assert receipt.through_seq == kept + 100


async def test_an_engineer_who_is_quicker_than_the_next_look_is_obeyed(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    async with running(ingest):
        for payload in flood():
            ingest.broker.put(KID, payload)
        await settled(ingest)
        await ingest.fleet.release(KID)
        await look(ingest)
        await look(ingest)
        assert ingest.fleet.accepts(KID), "the release was undone"
        assert ingest.alarms.open == set()
        kept = len(await stored_seqs(ingest.database))
        await ingest.send(KID, batch([sample(kept + 1)]))


async def test_a_kiosk_in_quarantine_for_another_reason_is_not_taken_back(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    await ingest.fleet.quarantine(KID, QuarantineReason.CLONED, "two machines")
    async with running(ingest):
        for _ in range(3):
            ingest.clock.advance(QUIET_S)
            await look(ingest)
    assert not ingest.fleet.accepts(KID)


class BusyFleet(FakeFleet):
    """A registry whose store is busy for a while."""

    refusals = 0

    async def quarantine(self, kid: str, why: QuarantineReason, reason: str) -> bool:
        if self.refusals < 2:
            self.refusals += 1
            raise StoreBusy("test")
        return await super().quarantine(kid, why, reason)


async def test_nothing_of_a_flood_is_taken_while_the_registry_is_busy(
    sqlite_fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    busy = BusyFleet(fleet.kiosks)
    ingest = make_ingest(sqlite_fleet_db, manual_clock, busy)
    async with running(ingest):
        await flooded(ingest)
    assert busy.refusals == 2
    assert not busy.accepts(KID)
    assert ingest.batches("flooding") == 1, "the rest was not even read"


async def test_a_new_stream_is_charged_once_however_many_batches_of_it_come_at_once(sqlite_ingest: Ingest) -> None:
    ingest = sqlite_ingest
    for seq in range(1, 36):
        ingest.broker.put(KID, batch([sample(seq)]))
    async with running(ingest):
        await settled(ingest)
    assert ingest.fleet.accepts(KID)
    assert await stored_seqs(ingest.database) == list(range(1, 36))


def test_a_bucket_holds_a_burst_and_fills_up_again() -> None:
    limiter = RateLimiter(LIMITS)
    assert limiter.spend(KID, int(BURST), 0, 0.0)
    assert not limiter.spend(KID, 1, 0, 0.0)
    assert limiter.spend(KID, 100, 0, 100 / PER_S)
    assert limiter.spend(KID, int(BURST), 0, 1e6)
    assert not limiter.spend(KID, int(BURST), 0, 1e6 + 1.0), "never more than a burst"
    assert limiter.spend(OTHER, int(BURST), 0, 0.0), "each kiosk has its own"


def test_what_is_sent_late_counts_half() -> None:
    limiter = RateLimiter(LIMITS)
    assert limiter.spend(KID, int(2 * BURST), int(2 * BURST), 0.0)
    assert not limiter.spend(KID, 2, 2, 0.0)


def test_what_was_refused_costs_nothing() -> None:
    limiter = RateLimiter(LIMITS)
    for _ in range(10):
        assert not limiter.spend(KID, int(BURST) + 1, 0, 0.0)
    assert limiter.spend(KID, int(BURST), 0, 0.0)


def test_quiet_is_so_long_without_running_dry() -> None:
    limiter = RateLimiter(LIMITS)
    assert not limiter.is_quiet(KID, 0.0), "nobody is quiet before it was watched"
    assert limiter.is_quiet(KID, QUIET_S)
    limiter.spend(KID, int(BURST) + 1, 0, QUIET_S)
    assert not limiter.is_quiet(KID, 2 * QUIET_S - 1.0)
    assert limiter.is_quiet(KID, 2 * QUIET_S)
    limiter.forget(KID)
    assert not limiter.is_quiet(KID, 2 * QUIET_S)


@pytest.mark.parametrize("wrong", [{"records_per_s": 9.0}, {"burst_records": 999}, {"quiet_release_s": 0.0}])
def test_settings_under_which_a_well_behaved_kiosk_is_locked_in_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        UplinkSettings.model_validate(wrong)
