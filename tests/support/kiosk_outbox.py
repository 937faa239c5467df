"""A kiosk's outbox with reporter and upkeep, put together the way the agent does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.settings import OutboxSettings
from agent.uplink import rows
from agent.uplink.ballast import DiskProbe, disk_space
from agent.uplink.outbox import Outbox, RunIdentity
from agent.uplink.report import OutboxReporter
from agent.uplink.spool import Chunk
from agent.uplink.upkeep import Upkeep
from kit.clock import ManualClock, ServerTime, ulid
from wire.envelope import decode
from wire.uplink import Batch

SMALL = OutboxSettings(ballast_bytes=0, group_rows=20, reserve_free_percent=0.0)


@dataclass(slots=True)
class Kiosk:
    """What a test of the outbox holds in its hands."""

    outbox: Outbox
    reporter: OutboxReporter
    upkeep: Upkeep
    clock: ManualClock

    async def everything(self) -> Chunk:
        """Read all that waits on disk."""
        await self.outbox.flush()
        source = self.outbox.sources()[0]
        return await self.outbox.read(source.epoch, 0, source.last_seq, limit=100_000, max_bytes=2**30)

    def as_batch(self, chunk: Chunk, *, late: bool = False) -> Batch:
        """Read a chunk back the way the server does."""
        first = chunk.rows[0].seq if chunk.rows else 1
        return decode(Batch, rows.batch_payload(self.outbox.epoch, chunk.rows, chunk.void, late=late, first_seq=first))


async def start_kiosk(
    directory: Path,
    clock: ManualClock,
    settings: OutboxSettings = SMALL,
    *,
    host_boot: str = "host-1",
    probe: DiskProbe = disk_space,
) -> Kiosk:
    """Open an outbox below `directory`."""
    run = RunIdentity(f"{host_boot}.{ulid(clock)}", host_boot)
    outbox = Outbox(settings, directory / "outbox", run, clock, ServerTime(clock), probe)
    await outbox.open()
    reporter = OutboxReporter(outbox)
    await reporter.load()
    return Kiosk(outbox, reporter, Upkeep(outbox, reporter), clock)
