"""Records until the server has them: what producers append to and what the pump reads from.

P0 is on disk (FULL) when `append` returns; P1 and P2 share a commit at least every second or 100 rows. While the
disk takes nothing, P0 and P1 live in a bounded spool in memory under an epoch of their own, so that they can be
sent all the same; what was not sent by then moves to disk when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import OutboxBusy
from agent.settings import OutboxSettings
from agent.uplink import retention, rows, salvage
from agent.uplink.ballast import Ballast, DiskProbe, disk_space
from agent.uplink.keeper import Claim, Keeper
from agent.uplink.spool import AlarmEdge, Chunk, Spool, create
from agent.uplink.spool_file import P0, P1, P2, SpoolBusy, SpoolCorrupt, SpoolError, SpoolFull, SpoolUnusable, State
from kit.clock import Clock, ServerTime, ulid
from kit.logs import get_logger
from wire.presence import QueueDepth
from wire.uplink import RecordClass

log = get_logger(__name__)

T = TypeVar("T")
_LONGEST_PAUSE_MS = 86_400_000
_REBOOT_PAUSE_MS = 120_000
_REWINDS_PER_HOUR = 1
_OPEN_TRIES = 3
_HOUR_S = 3_600.0


class Settled(StrEnum):
    """What became of a receipt."""

    DONE = "done"
    OTHER_EPOCH = "other_epoch"
    BEYOND = "beyond"
    """It names numbers we never used: it is forged, or our file is an older copy."""
    NOT_NOW = "not_now"
    """The disk did not let us delete; the records will be sent again."""


@dataclass(frozen=True, slots=True)
class Source:
    """A numbered series of records that wait."""

    epoch: str
    last_seq: int
    row_count: int


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Which run of the agent on which boot of the machine."""

    boot: str
    host_boot: str


def _drop(spool: Spool, *, class_no: int, number: int) -> int:
    return retention.drop_oldest(spool, class_no, number, frozenset())


class Outbox:
    """See the module; every access to a spool goes through one lock, so failures are handled in one place."""

    def __init__(
        self,
        settings: OutboxSettings,
        directory: Path,
        run: RunIdentity,
        clock: Clock,
        server_time: ServerTime,
        probe: DiskProbe = disk_space,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.probe = probe
        self.clock = clock
        self.changed = asyncio.Event()
        """Set when there is something new to read."""
        self.hold: set[int] = set()
        """Numbers of the disk's epoch that are on their way; they are not thinned meanwhile."""
        self.is_short = False
        """Over the cap or short of disk: new telemetry is not kept."""
        self.last_rebuild: salvage.Rebuilt | None = None
        self.rebuild_count = 0
        self.ballast = Ballast(directory, settings.ballast_bytes, probe)
        self.lock = asyncio.Lock()
        self._run = run
        self._server_time = server_time
        self._disk = Keeper("outbox", self._open_disk)
        self._memory = Keeper("outbox-memory", self._open_memory)
        self._memory_sent = 0
        self._buffer: list[rows.Draft] = []
        self._writing: Sequence[rows.Draft] = ()
        self._unstored = [0, 0, 0]
        self._kept_base_ms = 0
        self._kept_from_s = clock.monotonic()
        self._rewinds: list[float] = []
        self._is_disk_good = True
        self._open_failures = 0

    @property
    def boot(self) -> str:
        """The run of the agent that records are stamped with."""
        return self._run.boot

    @property
    def is_disk_good(self) -> bool:
        """Whether records go to disk."""
        return self._is_disk_good

    @property
    def epoch(self) -> str:
        """The epoch new records get."""
        for keeper in (self._disk, self._memory):
            if keeper.is_open and keeper.state is not None:
                return keeper.state.epoch
        return "none"

    @property
    def is_rebuilt(self) -> bool:
        """Whether this epoch replaced one that was lost."""
        return self._disk.state is not None and self._disk.state.is_rebuilt

    def kept_ms(self) -> int:
        """The outbox's own age clock; it counts while we run and guesses a bounded pause while we did not."""
        return self._kept_at(self.clock.monotonic())

    def depth(self) -> QueueDepth:
        """What waits, by class."""
        counts, size = [0, 0, 0], 0
        for state in (self._disk.state, self._memory.state if self._memory.is_open else None):
            if state is not None:
                counts = [have + more for have, more in zip(counts, state.rows, strict=True)]
                size += state.bytes
        for item in (*self._buffer, *self._writing):
            counts[item.class_no] += 1
        oldest = self._disk.oldest_kept_ms
        age_s = 0.0 if oldest is None else max(0.0, (self.kept_ms() - oldest) / 1_000)
        return QueueDepth(p0=counts[P0], p1=counts[P1], p2=counts[P2], bytes=size, oldest_age_s=age_s)

    def dropped(self) -> dict[RecordClass, int]:
        """Records of this epoch that were thinned or dropped."""
        counts = list(self._unstored)
        if self._disk.state is not None:
            counts = [have + more for have, more in zip(counts, self._disk.state.dropped, strict=True)]
        return {record_class: counts[rows.CLASSES.index(record_class)] for record_class in rows.CLASSES}

    async def open(self) -> None:
        """Open the file; when the disk does not let us, start in memory and keep trying.

        Raises:
            OutboxBusy: another agent has it.
        """
        async with self.lock:
            try:
                self.note_rebuild(await self._disk.open())
            except SpoolBusy as error:
                await self._disk.close()
                raise OutboxBusy(f"{self.directory} is in use by another agent") from error
            except SpoolError as error:
                self._note_disk(error)
            state = self._disk.state
            if state is not None:
                self._set_age(state)
                await self._on_disk(lambda spool: spool.tick(self.kept_ms(), self._wall_ms()))

    async def close(self) -> None:
        """Store what is buffered and what was only in memory, and close."""
        async with self.lock:
            await self._flush()
            await self._move_to_disk(everything=True)
            for keeper in (self._disk, self._memory):
                try:
                    await keeper.close()
                except SpoolError as error:
                    log.warning("outbox.close_failed", reason=str(error))

    async def append(
        self, record_class: RecordClass, kind: str, fields: Mapping[str, Any], *, alarm: AlarmEdge | None = None
    ) -> int | None:
        """Keep a record; P0 is on disk when this returns its number, others wait for the next shared commit.

        Raises:
            InvalidRecord: nothing was kept.
        """
        now_s = self.clock.monotonic()
        stamp = rows.Stamp(self.clock.utc(), self._run.boot, int(now_s * 1_000), self._server_time.offset_s)
        item = rows.draft(record_class, kind, fields, stamp, kept_ms=self._kept_at(now_s))
        if item.class_no == P2 and self.is_short:
            self._unstored[P2] += 1
            return None
        if item.class_no == P0:
            async with self.lock:
                return await self._flush(item, alarm=alarm)
        self._buffer.append(item)
        if len(self._buffer) >= self.settings.group_rows:
            await self.flush()
        return None

    async def flush(self) -> None:
        """Commit what is buffered."""
        async with self.lock:
            await self._flush()

    def sources(self) -> tuple[Source, ...]:
        """What can be read: the disk's epoch, and memory's while it holds something."""
        keepers = [self._disk, self._memory] if self._memory.is_open else [self._disk]
        states = [keeper.state for keeper in keepers if keeper.is_open]
        return tuple(Source(state.epoch, state.last_seq, state.row_count) for state in states if state is not None)

    async def read(self, epoch: str, after: int, through: int, *, limit: int, max_bytes: int) -> Chunk:
        """The next records of an epoch; empty when the epoch is gone or the disk does not let us."""
        async with self.lock:
            if self._is_memory(epoch):
                chunk = await self._memory.do(
                    lambda spool: spool.read(after, through, limit=limit, max_bytes=max_bytes)
                )
                self._memory_sent = max(self._memory_sent, chunk.end)
                return chunk
            return await self._try_disk(
                epoch,
                lambda spool: spool.read(after, through, limit=limit, max_bytes=max_bytes),
                Chunk((), (), after),
            )

    async def late_through(self, epoch: str, age_s: float) -> int:
        """The newest number of an epoch whose record is older than `age_s`."""
        limit_ms = self.kept_ms() - int(age_s * 1_000)
        async with self.lock:
            if self._is_memory(epoch):
                return await self._memory.do(lambda spool: spool.last_before(limit_ms))
            return await self._try_disk(epoch, lambda spool: spool.last_before(limit_ms), 0)

    async def settle(self, epoch: str, ranges: Sequence[tuple[int, int]]) -> Settled:
        """Delete what the server has committed."""
        async with self.lock:
            keeper = self._memory if self._is_memory(epoch) else self._disk
            state = keeper.state
            if not keeper.is_open or state is None or state.epoch != epoch:
                return Settled.OTHER_EPOCH
            if any(last > state.last_seq for _, last in ranges):
                return Settled.BEYOND
            if keeper is self._memory:
                await keeper.do(lambda spool: spool.settle(ranges))
                return Settled.DONE
            done = await self._try_disk(epoch, lambda spool: spool.settle(ranges), None)
            return Settled.NOT_NOW if done is None else Settled.DONE

    async def rewind(self, reason: str) -> bool:
        """Give all waiting records new numbers under a new epoch; refused when done within the last hour."""
        async with self.lock:
            now = self.clock.monotonic()
            self._rewinds = [at for at in self._rewinds if now - at < _HOUR_S]
            if len(self._rewinds) >= _REWINDS_PER_HOUR:
                return False
            self._rewinds.append(now)
            try:
                await self._rebuild(reason)
            except SpoolError as error:
                self._note_disk(error)
            return True

    async def alarms(self) -> list[tuple[str, str, bool, str]]:
        """The stored standing of every condition; empty when it cannot be read."""
        async with self.lock:
            return await self._try_disk(self.epoch, lambda spool: spool.alarms(), [])

    async def on_disk(self, work: Callable[[Spool], T]) -> T:
        """Run upkeep on the disk's spool, with the same care as everything else; the caller holds the lock.

        Raises:
            SpoolError: it failed, and what could be done about it was done.
        """
        return await self._on_disk(work)

    async def reopen(self) -> bool:
        """Try the disk again after it failed, and move to it what memory held; the caller holds the lock."""
        if not self._disk.is_open:
            try:
                self.note_rebuild(await self._open_again())
            except SpoolError as error:
                self._note_disk(error)
                return False
        return await self._move_to_disk()

    def note_rebuild(self, rebuilt: salvage.Rebuilt | None) -> None:
        """Remember that a new epoch replaced a bad one."""
        if rebuilt is not None:
            self.last_rebuild = rebuilt
            self.rebuild_count += 1
            self.hold.clear()
            log.error(
                "outbox.rebuilt", reason=rebuilt.reason, quarantined=rebuilt.quarantined, salvaged=rebuilt.salvaged
            )

    async def save_age(self) -> None:
        """Let the age clock survive, and the counts of what was not even stored; the caller holds the lock."""
        unstored, self._unstored = self._unstored, [0, 0, 0]
        try:
            await self._on_disk(lambda spool: spool.tick(self.kept_ms(), self._wall_ms(), unstored))
        except SpoolError:
            self._unstored = [have + more for have, more in zip(unstored, self._unstored, strict=True)]
            raise

    async def _flush(self, item: rows.Draft | None = None, *, alarm: AlarmEdge | None = None) -> int | None:
        """Commit the buffer, and `item` with it; only the caller with the lock gets here."""
        drafts, self._buffer = self._buffer, []
        if item is not None:
            drafts.append(item)
        if not drafts:
            return None
        claim = Claim()
        self._writing = drafts

        def work(spool: Spool) -> int:
            claim.begin()
            return spool.append(drafts, durable=any(one.class_no == P0 for one in drafts), alarm=alarm)

        try:
            seq = await self._on_disk(work)
        except asyncio.CancelledError:
            if claim.revoke():
                self._buffer[:0] = drafts
            raise
        except SpoolError as error:
            self._note_disk(error)
            await self._keep_in_memory(drafts)
            seq = None
        finally:
            self._writing = ()
        self.changed.set()
        return seq

    async def _keep_in_memory(self, drafts: Sequence[rows.Draft]) -> None:
        """Bounded: telemetry is dropped, then events, and of P0 the oldest goes last of all."""
        keep = [item for item in drafts if item.class_no != P2]
        self._unstored[P2] += len(drafts) - len(keep)
        if not keep:
            return
        if not self._memory.is_open:
            self._memory_sent = 0
            self._memory.forget()
            await self._memory.open()
        state = self._memory.state
        surplus = len(keep) + (0 if state is None else state.row_count) - self.settings.memory_rows
        for class_no in (P1, P0):
            if surplus > 0:
                lost = await self._memory.do(partial(_drop, class_no=class_no, number=surplus))
                self._unstored[class_no] += lost
                surplus -= lost
        await self._memory.do(lambda spool: spool.append(keep, durable=False))

    async def _move_to_disk(self, *, everything: bool = False) -> bool:
        """Move what memory holds and was not sent; a memory epoch without rows ends. Whether the disk took it."""
        if not self._memory.is_open:
            return self._disk.is_open
        after = 0 if everything else self._memory_sent
        drafts = await self._memory.do(lambda spool: salvage.unsent(spool, after))
        try:
            if drafts:
                await self._on_disk(lambda spool: spool.append(drafts, durable=True))
        except SpoolError as error:
            self._note_disk(error)
            return False
        await self._memory.do(lambda spool: spool.settle([(after + 1, spool.state.last_seq)]))
        self._note_disk(None)
        self.changed.set()
        state = self._memory.state
        if state is not None and state.row_count == 0:
            await self._memory.close(is_clean=False)
        return True

    async def _try_disk(self, epoch: str, work: Callable[[Spool], T], otherwise: T) -> T:
        """Work that belongs to one epoch: when that ends, or the disk fails, the answer is `otherwise`."""
        state = self._disk.state
        if not self._disk.is_open or state is None or state.epoch != epoch:
            return otherwise
        try:
            return await self._on_disk(work, is_repeated=False)
        except SpoolError as error:
            if isinstance(error, SpoolFull) or not self._disk.is_open:
                self._note_disk(error)
            return otherwise

    async def _on_disk(self, work: Callable[[Spool], T], *, is_repeated: bool = True) -> T:
        """Run `work`; make room when the disk is full, start a new epoch when the file is bad."""
        try:
            return await self._disk.do(work)
        except SpoolFull as error:
            return await self._with_room(work, error)
        except SpoolCorrupt as error:
            await self._rebuild(str(error))
            if not is_repeated:
                raise
            return await self._disk.do(work)

    async def _with_room(self, work: Callable[[Spool], T], full: SpoolFull) -> T:
        """Try again with the log file's space, then with the ballast's.

        Raises:
            SpoolError: there was no room to be made.
        """
        try:
            await self._disk.do(lambda spool: spool.checkpoint())
            return await self._disk.do(work)
        except SpoolFull:
            if not await self._disk.aside(self.ballast.release):
                raise full from None
            log.warning("outbox.ballast_released", reason=str(full))
            await self._disk.do(lambda spool: spool.save_space(is_short=True))
            return await self._disk.do(work)

    async def _open_again(self) -> salvage.Rebuilt | None:
        """Open the file after it failed; one that fails for long on a disk that works is given up."""
        try:
            rebuilt = await self._disk.open()
        except SpoolFull:
            if not await self._disk.aside(self.ballast.release):
                raise
            rebuilt = await self._disk.open()
        except SpoolUnusable as error:
            self._open_failures += 1
            if self._open_failures >= _OPEN_TRIES:
                self._open_failures = 0
                await self._condemn(str(error))
            raise
        self._open_failures = 0
        return rebuilt

    async def _condemn(self, reason: str) -> None:
        self._disk.forget()
        fresh = self._fresh()
        await self._disk.aside(lambda: salvage.condemn(self.directory, fresh, reason[:64]))

    async def _rebuild(self, reason: str) -> None:
        await self._disk.give_up()
        await self._condemn(reason)
        self.note_rebuild(await self._disk.open())
        self.changed.set()

    def _open_disk(self) -> tuple[Spool, salvage.Rebuilt | None]:
        return salvage.open_spool(self.directory, self._fresh())

    def _open_memory(self) -> tuple[Spool, salvage.Rebuilt | None]:
        return create(None, State(epoch=ulid(self.clock), host_boot=self._run.host_boot)), None

    def _fresh(self) -> salvage.Fresh:
        timestamp = f"{self.clock.utc():%Y%m%dT%H%M%S}-{ulid(self.clock)[-6:]}"
        return salvage.Fresh(ulid(self.clock), self._run.host_boot, self._wall_ms(), timestamp)

    def _kept_at(self, now_s: float) -> int:
        return self._kept_base_ms + int((now_s - self._kept_from_s) * 1_000)

    def _wall_ms(self) -> int:
        return int(self.clock.utc().timestamp() * 1_000)

    def _set_age(self, state: State) -> None:
        pause_ms = min(max(self._wall_ms() - state.saved_wall_ms, 0), _LONGEST_PAUSE_MS)
        if state.host_boot != self._run.host_boot:
            pause_ms = max(pause_ms, _REBOOT_PAUSE_MS)
        self._kept_base_ms = state.kept_ms + pause_ms
        self._kept_from_s = self.clock.monotonic()

    def _is_memory(self, epoch: str) -> bool:
        state = self._memory.state
        return self._memory.is_open and state is not None and state.epoch == epoch

    def _note_disk(self, error: SpoolError | None) -> None:
        """Log the edges of the disk's health."""
        is_good = error is None
        if is_good != self._is_disk_good:
            self._is_disk_good = is_good
            if error is None:
                log.info("outbox.disk_back")
            else:
                log.error("outbox.disk_failed", kind=type(error).__name__, reason=str(error))
