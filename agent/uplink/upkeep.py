"""What keeps the outbox within its limits and healthy, a bounded slice at a time."""

from __future__ import annotations

import asyncio

from agent.reporter import Reporter
from agent.uplink import retention, salvage
from agent.uplink.outbox import Outbox
from agent.uplink.spool import Spool
from agent.uplink.spool_file import P1, P2, SpoolError
from kit.logs import get_logger
from wire.envelope import Scalar
from wire.faults import Fault
from wire.uplink import RecordClass

log = get_logger(__name__)

COMPONENT = "agent.outbox"
_DROP_ROWS = 5_000
_DROP_ROUNDS = 20
_VERIFY_ROWS = 2_000
_VERIFY_AGAIN_S = 86_400.0
_CRITICAL_PERCENT = 1.0
_EASE = 0.95


class Upkeep:
    """The service beside the outbox: shared commits, ageing, limits, repair, and the alarms about them."""

    name = "outbox"

    def __init__(self, outbox: Outbox, reporter: Reporter) -> None:
        self._outbox = outbox
        self._reporter = reporter
        self._cursors = retention.Cursors()
        self._epoch = ""
        self._verified = 0
        self._verify_at_s = 0.0
        self._rebuilds_told = 0

    async def run(self) -> None:
        """Commit what is buffered every `group_s`, look after the rest every `maintain_s`."""
        settings, clock = self._outbox.settings, self._outbox.clock
        due_s = clock.monotonic()
        while True:
            await asyncio.sleep(settings.group_s)
            await self._outbox.flush()
            if clock.monotonic() >= due_s:
                due_s = clock.monotonic() + settings.maintain_s
                await self.maintain()

    async def maintain(self) -> None:
        """One round of everything."""
        outbox = self._outbox
        async with outbox.lock:
            is_good = await outbox.reopen()
            found: tuple[int, bool] | None = None
            if is_good:
                try:
                    found = await self._look_after()
                except SpoolError as error:
                    log.warning("outbox.upkeep_failed", reason=str(error))
        await self._tell(found)

    async def _look_after(self) -> tuple[int, bool]:
        """How many bad files are in quarantine, and whether the ballast is there."""
        outbox, settings = self._outbox, self._outbox.settings
        if outbox.epoch != self._epoch:
            self._epoch, self._cursors, self._verified = outbox.epoch, retention.Cursors(), 0
        now_ms, hold = outbox.kept_ms(), frozenset(outbox.hold)
        await outbox.save_age()
        await outbox.on_disk(lambda spool: retention.thin(spool, self._cursors, settings, now_ms, hold))
        await outbox.on_disk(lambda spool: retention.expire(spool, self._cursors, settings, now_ms))
        await outbox.on_disk(lambda spool: self._make_room(spool, hold))
        await outbox.on_disk(self._verify)
        keep = settings.quarantine_files
        return await outbox.on_disk(
            lambda _: (salvage.prune_quarantine(outbox.directory, keep), outbox.ballast.is_there)
        )

    def _make_room(self, spool: Spool, hold: frozenset[int]) -> None:
        """Keep the cap and the free share of the disk: oldest P2 first, then oldest P1, never P0."""
        outbox, settings = self._outbox, self._outbox.settings
        used = spool.used_bytes()
        rounds = 0
        while used > settings.cap_bytes * (_EASE if outbox.is_short else 1.0) and rounds < _DROP_ROUNDS:
            rounds += 1
            outbox.is_short = True
            if not (
                retention.drop_oldest(spool, P2, _DROP_ROWS, hold) or retention.drop_oldest(spool, P1, _DROP_ROWS, hold)
            ):
                break
            used = spool.used_bytes()
        space = self._space()
        if space is not None and space < settings.reserve_free_percent:
            outbox.is_short = True
            retention.drop_oldest(spool, P2, _DROP_ROWS, hold)
            if space < _CRITICAL_PERCENT:
                retention.drop_oldest(spool, P1, _DROP_ROWS, hold)
        elif used <= settings.cap_bytes * _EASE:
            outbox.is_short = False
        spool.shrink()
        spool.checkpoint()
        is_there = outbox.ballast.restore(settings.reserve_free_percent)
        spool.save_space(is_short=settings.ballast_bytes > 0 and not is_there)

    def _space(self) -> float | None:
        try:
            return self._outbox.probe(self._outbox.directory).free_percent
        except OSError:
            return None

    def _verify(self, spool: Spool) -> None:
        """Look at some rows; after all of them at their number, then again a day later."""
        now_s = self._outbox.clock.monotonic()
        if now_s < self._verify_at_s:
            return
        after = salvage.check_rows(spool, self._verified, _VERIFY_ROWS)
        if after is not None:
            self._verified = after
            return
        salvage.check_counts(spool)
        self._verified, self._verify_at_s = 0, now_s + _VERIFY_AGAIN_S

    async def _tell(self, found: tuple[int, bool] | None) -> None:
        """Report how the outbox stands; only changes become records."""
        outbox, reporter = self._outbox, self._reporter
        rebuilt = outbox.last_rebuild
        if rebuilt is not None and outbox.rebuild_count != self._rebuilds_told:
            self._rebuilds_told = outbox.rebuild_count
            detail: dict[str, Scalar] = {
                "reason": rebuilt.reason,
                "quarantined": rebuilt.quarantined,
                "salvaged": rebuilt.salvaged,
            }
            await reporter.event(COMPONENT, "outbox.rebuilt", detail, record_class=RecordClass.P0)
            await reporter.alarm(COMPONENT, Fault.OUTBOX_CORRUPT, is_up=True, detail=detail)
        elif found is not None:
            await reporter.alarm(COMPONENT, Fault.OUTBOX_CORRUPT, is_up=found[0] > 0)
        await reporter.alarm(COMPONENT, Fault.OUTBOX_DROPPING, is_up=outbox.is_short)
        is_ballast_gone = outbox.settings.ballast_bytes > 0 and found is not None and not found[1]
        await reporter.alarm(COMPONENT, Fault.DISK_FULL, is_up=not outbox.is_disk_good or is_ballast_gone)
