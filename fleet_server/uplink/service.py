"""Takes batches off the broker, commits them in groups, and sends receipts after each COMMIT.

Two steps overlap: while one group is on its way into the store, the next is read and validated. Nothing is
acknowledged to a kiosk before it is durable; what cannot be committed is simply sent again by the kiosk. While the
store is away nothing more is taken from the broker, so the memory stays bounded and the broker holds the rest back.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import sqlalchemy.exc

from fleet_server.registry.model import Kiosk, QuarantineReason
from fleet_server.uplink import metrics as figures
from fleet_server.uplink.committer import RETRY_BASE_S, RETRY_CAP_S, Committer
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.desk import Desk
from fleet_server.uplink.limits import RateLimiter
from fleet_server.uplink.model import Header, Incoming, Outcome, Sender, to_us
from fleet_server.uplink.store import Key, Prepared, StoreAway, UplinkStore, WorkerStore, key_of
from kit.clock import Clock
from kit.logs import get_logger
from kit.metrics import Metrics
from kit.mqtt import Message, MqttError
from kit.store import StoreBusy
from kit.supervise import Backoff, TaskGroup
from wire.envelope import WireError, WireFault, encode
from wire.faults import Fault
from wire.topics import Channel, UnknownTopic, parse, topic
from wire.uplink import Receipt

GROUP_RECORDS: Final = 4_000
TAKE_MESSAGES: Final = 40
YIELD_RECORDS: Final = 200
"""So much is read before others may run: about two milliseconds of work."""
LINGER_S: Final = 0.03
LINGER_BELOW: Final = 200
"""A smaller group waits this little for company before it is committed."""
RECEIPTS_WAITING: Final = 5_000
"""Receipts the broker has not acknowledged; beyond that none are sent, and kiosks send again."""
WORKER_S: Final = 5.0
FLOOD_CHECK_S: Final = 10.0
BYTES_A_RECORD: Final = 400
"""Batches of a kiosk that is set aside are not read; their records are estimated."""
STREAM_COST: Final = 100
"""A new stream costs a kiosk as much as so many records: numbers of streams are for ever."""
GC_THRESHOLDS: Final = (50_000, 20, 20)
log = get_logger(__name__)


class Broker(Protocol):
    """The part of the MQTT connection that is used."""

    @property
    def is_connected(self) -> bool:
        """Whether batches can come in."""

    @property
    def backlog(self) -> int:
        """Messages received and not yet taken."""

    async def messages(self, limit: int = 1_000) -> list[Message]:
        """Wait for messages and take them."""

    def publish_soon(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> asyncio.Future[None]:
        """Hand a message to the network."""


class Fleet(Protocol):
    """The part of the registry that is asked for every message."""

    def get(self, kid: str) -> Kiosk | None:
        """The kiosk as last read."""

    def accepts(self, kid: str) -> bool:
        """Whether this kiosk's messages are taken."""

    @property
    def kiosks(self) -> Mapping[str, Kiosk]:
        """Every kiosk, by id."""


@dataclass(frozen=True, slots=True)
class UplinkParts:
    """What the service works with."""

    broker: Broker
    fleet: Fleet
    store: UplinkStore
    workers: WorkerStore
    worker: str
    limiter: RateLimiter
    desk: Desk
    metrics: Metrics
    clock: Clock
    overlaps: bool
    """Read on while a group is written; not on SQLite, whose writing thread would fight for the interpreter.

    There a group is committed when all messages in hand are read, so that it is as large as the traffic allows."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message whose sender is known and listened to."""

    sender: Sender
    payload: bytes

    def read(self, reader: BatchReader) -> Incoming:
        """Understand it. Raises: WireError."""
        return reader.read(self.payload, self.sender)


class UplinkService:
    """The ingest of one process."""

    name = "uplink"

    def __init__(self, parts: UplinkParts) -> None:
        """Connect the parts; nothing runs yet."""
        self._parts = parts
        self._reader = BatchReader()
        self._committer = Committer(parts.store, parts.desk, parts.metrics)
        self._waiting: list[Prepared] = []
        self._waiting_records = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._unsettled = 0
        self._aside: dict[str, int] = {}
        self._listed: set[str] = set()
        self._charged: set[Key] = set()
        self._backoff = Backoff(base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S)
        # Read by the scrape itself: a committer that hangs would leave the last good figures standing.
        parts.metrics.gauge(figures.BACKLOG).set_function(lambda: float(parts.broker.backlog))
        parts.metrics.gauge(figures.WAITING).set_function(lambda: float(self._waiting_records))

    async def run(self) -> None:
        """Take, commit, acknowledge until cancelled."""
        _spare_the_collector()
        self._waiting, self._waiting_records = [], 0
        self._work.clear()
        self._idle.set()
        await self._insist(self._parts.store.load)
        async with TaskGroup() as group:
            for name, work in (
                ("read", self._read()),
                ("commit", self._commit()),
                ("desk", self._parts.desk.run()),
                ("worker", self._report()),
                ("floods", self._watch_floods()),
            ):
                group.create_task(work, name=f"uplink-{name}")

    # -- reading ---------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            messages = await self._parts.broker.messages(TAKE_MESSAGES)
            strangers: list[tuple[_Letter, Header]] = []
            since_yield = 0
            for message in messages:
                letter = self._letter(message)
                batch = None if letter is None else self._understand(letter)
                if letter is None or batch is None:
                    continue
                if not self._parts.store.knows(batch.header):
                    strangers.append((letter, batch.header))
                    continue
                await self._hand_on(letter, batch)
                since_yield += batch.header.size
                if since_yield >= YIELD_RECORDS:
                    since_yield = 0
                    await self._let_others_run()
            await self._introduce(strangers)
            self._hurry()

    def _hurry(self) -> None:
        """Have what is waiting committed."""
        if self._waiting:
            self._work.set()

    async def _introduce(self, strangers: Sequence[tuple[_Letter, Header]]) -> None:
        """Give new streams their numbers, all in one go, and take their batches up again."""
        if strangers:
            await self._insist(lambda: self._parts.store.open([header for _, header in strangers]))
        self._charged.clear()
        for letter, _ in strangers:
            await self._hand_on(letter, letter.read(self._reader))
            await self._let_others_run()

    async def _let_others_run(self) -> None:
        await asyncio.sleep(0)
        if not self._parts.overlaps:
            await self._idle.wait()

    async def _hand_on(self, letter: _Letter, batch: Incoming) -> None:
        prepared = self._parts.store.prepare(batch, partial(letter.read, self._reader))
        while self._waiting_records >= GROUP_RECORDS:
            self._hurry()
            self._room.clear()
            await self._room.wait()
        self._waiting.append(prepared)
        self._waiting_records += prepared.header.size
        if self._parts.overlaps:
            self._hurry()

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something in the store, however long that takes."""
        while True:
            try:
                await work()
            except StoreAway as away:
                log.warning("streams.delayed", reason=str(away))
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()
                return

    def _letter(self, message: Message) -> _Letter | None:
        """A fresh batch of a kiosk that is listened to; None for everything else, which is counted."""
        parts = self._parts
        try:
            address = parse(message.topic)
        except UnknownTopic:
            self._count("unknown_topic")
            return None
        kid = address.kid
        if address.channel is not Channel.LOG:
            self._count("unknown_topic")
            return None
        if message.retain:
            self._count("retained")
            parts.desk.complain(kid, Fault.UPLINK_REJECTED, "a retained batch")
            return None
        kiosk = parts.fleet.get(kid)
        if kiosk is None or not parts.fleet.accepts(kid) or kid in self._aside:
            self._count("not_accepted")
            if kid in self._aside or (kiosk is not None and kiosk.quarantine is QuarantineReason.FLOODING):
                records = len(message.payload) // BYTES_A_RECORD + 1
                parts.limiter.spend(kid, records, records, parts.clock.monotonic())  # it sends the same again
            return None
        return _Letter(Sender(kid, kiosk.no, to_us(parts.clock.utc())), message.payload)

    def _understand(self, letter: _Letter) -> Incoming | None:
        """A batch that may be stored; None for one that may not, which is counted and named."""
        parts, kid = self._parts, letter.sender.kid
        try:
            batch = letter.read(self._reader)
        except WireError as error:
            self._count(error.fault.value)
            is_newer = error.fault is WireFault.UNSUPPORTED_VERSION
            fault = Fault.WIRE_VERSION_UNSUPPORTED if is_newer else Fault.UPLINK_REJECTED
            parts.desk.complain(kid, fault, f"{error.fault.value}: {error.detail}")
            return None
        header = batch.header
        if header.spoiled:
            parts.metrics.counter(figures.RECORDS, outcome="spoiled").inc(header.spoiled)
            parts.desk.complain(kid, Fault.UPLINK_REJECTED, f"{header.spoiled} records without a sequence number")
        cost = header.size + self._stream_cost(header)
        if not parts.limiter.spend(kid, cost, header.late, parts.clock.monotonic()):
            self._count("flooding")
            self._set_aside(kid)
            parts.desk.set_aside(kid, f"{header.size} records more than it may send")
            return None
        return batch

    def _stream_cost(self, header: Header) -> int:
        """What a stream without a number costs, once."""
        if self._parts.store.knows(header) or key_of(header) in self._charged:
            return 0
        self._charged.add(key_of(header))
        return STREAM_COST

    def _set_aside(self, kid: str) -> None:
        """Read no more of a kiosk, from now on and without waiting for the registry."""
        kiosk = self._parts.fleet.get(kid)
        self._aside[kid] = -1 if kiosk is None else kiosk.change_seq

    def _count(self, outcome: str) -> None:
        self._parts.metrics.counter(figures.BATCHES, outcome=outcome).inc()

    # -- committing ------------------------------------------------------------------------------------------

    async def _commit(self) -> None:
        parts = self._parts
        while True:
            await self._work.wait()
            if self._waiting_records < LINGER_BELOW:
                await asyncio.sleep(LINGER_S)
            group, self._waiting, self._waiting_records = self._waiting, [], 0
            self._work.clear()
            self._room.set()
            self._idle.clear()
            started_s = parts.clock.monotonic()
            outcome = await self._committer.commit(group)
            self._idle.set()
            self._committed(group, outcome, parts.clock.monotonic() - started_s)

    def _committed(self, group: Sequence[Prepared], outcome: Outcome, seconds: float) -> None:
        metrics, desk = self._parts.metrics, self._parts.desk
        now_us = to_us(self._parts.clock.utc())
        lag = metrics.histogram(figures.LAG_SECONDS)
        for item in group:
            lag.observe(max(0.0, (now_us - item.header.sender.received_us) / 1e6))
        metrics.histogram(figures.COMMIT_SECONDS).observe(seconds)
        metrics.counter(figures.BATCHES, outcome="stored").inc(len(group))
        for name, count in (
            ("stored", outcome.stored),
            ("duplicate", outcome.duplicates),
            ("deferred", outcome.deferred),
            ("rejected", sum(outcome.rejected.values())),
        ):
            metrics.counter(figures.RECORDS, outcome=name).inc(count)
        for kid, count in outcome.rejected.items():
            desk.complain(kid, Fault.UPLINK_REJECTED, f"{count} records break the schema")
        for kid in {item.header.sender.kid for item in group} - outcome.rejected.keys():
            desk.all_is_well(kid)
        self._acknowledge(outcome)

    def _acknowledge(self, outcome: Outcome) -> None:
        sent = 0
        for (kid, epoch), (through, ranges) in outcome.receipts.items():
            if self._unsettled >= RECEIPTS_WAITING:
                break
            receipt = Receipt.model_construct(epoch=epoch, through_seq=through, ranges=ranges)
            try:
                answer = self._parts.broker.publish_soon(topic(kid, Channel.RECEIPT), encode(receipt))
            except MqttError:
                break
            self._unsettled += 1
            answer.add_done_callback(self._settled)
            sent += 1
        counter = self._parts.metrics.counter
        counter(figures.RECEIPTS, outcome="sent").inc(sent)
        counter(figures.RECEIPTS, outcome="not_sent").inc(len(outcome.receipts) - sent)

    def _settled(self, answer: asyncio.Future[None]) -> None:
        self._unsettled -= 1
        if not answer.cancelled() and answer.exception() is not None:
            self._parts.metrics.counter(figures.RECEIPTS, outcome="failed").inc()

    # -- beside the data -------------------------------------------------------------------------------------

    async def _report(self) -> None:
        """Say every few seconds that this worker takes data; the leader passes it on to the kiosks."""
        parts = self._parts
        is_delayed = False
        try:
            while True:
                if parts.broker.is_connected and not self._committer.is_failing:
                    try:
                        await parts.workers.seen(parts.worker, parts.clock.utc())
                        is_delayed = False
                    except (StoreBusy, sqlalchemy.exc.DBAPIError, OSError) as error:
                        if not is_delayed:
                            log.warning("worker.not_reported", error=type(error).__name__)
                        is_delayed = True
                    await asyncio.sleep(WORKER_S)
                else:
                    await asyncio.sleep(WORKER_S / 10)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Take the worker off the list, so that kiosks keep their data from now on."""
        try:
            async with asyncio.timeout(1.0):
                await self._parts.workers.gone(self._parts.worker)
        except (StoreBusy, sqlalchemy.exc.DBAPIError, OSError, TimeoutError):
            log.info("worker.not_taken_off")

    async def _watch_floods(self) -> None:
        while True:
            await asyncio.sleep(FLOOD_CHECK_S)
            self.check_floods()

    def check_floods(self) -> None:
        """Listen again to kiosks that were set aside and have been quiet; forget the past of released ones."""
        parts = self._parts
        listed = {kid for kid, kiosk in parts.fleet.kiosks.items() if kiosk.quarantine is QuarantineReason.FLOODING}
        for kid in self._listed - listed:
            self._listen_again(kid)
        for kid in listed:
            if parts.limiter.is_quiet(kid, parts.clock.monotonic()):
                parts.desk.take_back(kid)
        for kid in self._aside.keys() - listed:
            kiosk = parts.fleet.get(kid)
            if kiosk is None or kiosk.change_seq != self._aside[kid]:
                self._listen_again(kid)  # set aside and released since the last look
            else:
                parts.desk.set_aside(kid, "still not in quarantine")
        self._listed = listed

    def _listen_again(self, kid: str) -> None:
        self._aside.pop(kid, None)
        self._parts.limiter.forget(kid)
        self._parts.desk.clear_flooding(kid)


def _spare_the_collector() -> None:
    """Let the cycle collector of this process run seldom: decoded batches are no cycles, but thousands of objects.

    With Python's default thresholds looking through them costs a fifth of the ingest's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
