"""Takes batches off the broker, commits them in groups, and sends receipts after each COMMIT.

Two steps overlap: while one group is on its way into the store, the next is read and validated. Nothing is
acknowledged to a kiosk before it is durable; what cannot be committed is simply sent again by the kiosk.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

import sqlalchemy.exc

from fleet_server.registry.ports import AlarmSink
from fleet_server.uplink.decode import Sender, read_batch
from fleet_server.uplink.limits import RateLimiter, Verdict
from fleet_server.uplink.model import Incoming, Outcome
from fleet_server.uplink.store import UplinkStore
from fleet_server.uplink.times import RecordTimes
from kit.clock import Clock
from kit.logs import get_logger
from kit.metrics import Kind, Metrics, MetricSpec
from kit.mqtt import Message, NotConnected
from kit.store import StoreBusy
from kit.supervise import Backoff
from wire.envelope import WireError, WireFault, encode
from wire.faults import Fault
from wire.topics import Address, Channel, UnknownTopic, parse, topic
from wire.uplink import Receipt

GROUP_RECORDS: Final = 2_000
TAKE_MESSAGES: Final = 20
"""Read in one go, without letting others run: about 10 ms of work when batches are full."""
LINGER_S: Final = 0.02
"""How long a small group waits for company before it is committed."""
COMPONENT: Final = "uplink"
METRICS: Final = (
    MetricSpec("fleet_uplink_batches_total", Kind.COUNTER, "batches by what became of them", ("outcome",)),
    MetricSpec("fleet_uplink_records_total", Kind.COUNTER, "records by what became of them", ("outcome",)),
    MetricSpec("fleet_uplink_commit_seconds", Kind.HISTOGRAM, "time of one committed group"),
    MetricSpec("fleet_uplink_receipts_total", Kind.COUNTER, "receipts by outcome", ("outcome",)),
    MetricSpec("fleet_uplink_backlog", Kind.GAUGE, "messages received and not yet read"),
)
log = get_logger(__name__)


class Broker(Protocol):
    """The part of the MQTT connection that is used."""

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

    def accepts(self, kid: str) -> bool:
        """Whether this kiosk's messages are taken."""

    def number_of(self, kid: str) -> int | None:
        """The kiosk's number."""


@dataclass(frozen=True, slots=True)
class UplinkParts:
    """What the service works with."""

    broker: Broker
    fleet: Fleet
    store: UplinkStore
    limiter: RateLimiter
    alarms: AlarmSink
    metrics: Metrics
    clock: Clock


class UplinkService:
    """The ingest of one process."""

    name = "uplink"

    def __init__(self, parts: UplinkParts) -> None:
        """Connect the parts; nothing runs yet."""
        self._parts = parts
        self._times = RecordTimes()
        self._groups: asyncio.Queue[list[Incoming]] = asyncio.Queue(maxsize=1)
        self._pending_alarms: asyncio.Queue[tuple[str, Fault, str]] = asyncio.Queue(maxsize=1_000)
        self.last_commit_s: float | None = None

    async def run(self) -> None:
        """Take, commit, acknowledge until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, work in (("read", self._read()), ("commit", self._commit()), ("alarms", self._raise())):
                group.create_task(work, name=f"uplink-{name}")

    async def _read(self) -> None:
        waiting: list[Incoming] = []
        size = 0
        while True:
            messages = await self._take(must_wait=not waiting)
            for message in messages:
                batch = self._understand(message)
                if batch is not None:
                    waiting.append(batch)
                    size += batch.size
                if size >= GROUP_RECORDS:
                    await self._groups.put(waiting)
                    waiting, size = [], 0
            if waiting and not messages:
                await self._groups.put(waiting)
                waiting, size = [], 0

    async def _take(self, *, must_wait: bool) -> list[Message]:
        """The next messages; none when a started group need not wait any longer."""
        await asyncio.sleep(0)
        if not must_wait and not self._has_backlog():
            await asyncio.sleep(LINGER_S if self._groups.full() else 0)
            if not self._has_backlog():
                return []
        return await self._parts.broker.messages(TAKE_MESSAGES)

    def _has_backlog(self) -> bool:
        return self._parts.broker.backlog > 0

    def _understand(self, message: Message) -> Incoming | None:
        """A batch that may be stored, None for everything else; whatever is wrong is counted and named."""
        parts = self._parts
        try:
            address = parse(message.topic)
        except UnknownTopic:
            self._drop("unknown_topic")
            return None
        refusal = self._refusal(address, message)
        if refusal is not None:
            self._drop(*refusal)
            return None
        number = parts.fleet.number_of(address.kid) or 0
        try:
            batch = read_batch(message.payload, Sender(address.kid, number, parts.clock.utc()))
        except WireError as error:
            is_newer = error.fault is WireFault.UNSUPPORTED_VERSION
            fault = Fault.WIRE_VERSION_UNSUPPORTED if is_newer else Fault.UPLINK_REJECTED
            self._drop(error.fault.value, address.kid, fault, error.detail)
            return None
        if self._may_pass(batch):
            return batch
        self._drop("flooding")
        return None

    def _refusal(self, address: Address, message: Message) -> tuple[str, str, Fault | None, str] | None:
        """Why a batch is not even read; None when it is."""
        if address.channel is not Channel.LOG:
            return "unknown_topic", "", None, ""
        if message.retain:
            return "retained", address.kid, Fault.UPLINK_REJECTED, "a retained batch"
        if not self._parts.fleet.accepts(address.kid):
            return "not_accepted", "", None, ""
        return None

    def _may_pass(self, batch: Incoming) -> bool:
        parts = self._parts
        hist = sum(record.hist for record in batch.records)
        verdict = parts.limiter.judge(batch.kid, batch.size, hist, parts.clock.monotonic())
        if verdict is Verdict.FLOODING:
            log.warning("kiosk.flooding", kiosk_id=batch.kid, records=batch.size)
            self._note(batch.kid, Fault.KIOSK_FLOODING, "more records than allowed")
        elif verdict is Verdict.QUIET:
            log.info("kiosk.quiet", kiosk_id=batch.kid)
            self._note(batch.kid, Fault.KIOSK_FLOODING, "")
        return verdict in {Verdict.TAKE, Verdict.QUIET}

    def _drop(self, outcome: str, kid: str = "", fault: Fault | None = None, detail: str = "") -> None:
        self._parts.metrics.counter("fleet_uplink_batches_total", outcome=outcome).inc()
        if fault is not None:
            log.warning("batch.refused", kiosk_id=kid, outcome=outcome, detail=detail)
            self._note(kid, fault, detail)

    def _note(self, kid: str, fault: Fault, detail: str) -> None:
        """Have an alarm raised, or cleared when there is nothing to say about it; what finds no room is lost."""
        if not self._pending_alarms.full():
            self._pending_alarms.put_nowait((kid, fault, detail))

    async def _raise(self) -> None:
        while True:
            kid, fault, detail = await self._pending_alarms.get()
            try:
                if detail:
                    await self._parts.alarms.raise_alarm(kid, COMPONENT, fault, {"detail": detail[:200]})
                else:
                    await self._parts.alarms.clear_alarm(kid, COMPONENT, fault)
            except StoreBusy:
                self._note(kid, fault, detail)
                await asyncio.sleep(1.0)

    async def _commit(self) -> None:
        backoff = Backoff(base_s=0.2, cap_s=10.0)
        failing = False
        while True:
            group = await self._groups.get()
            while True:
                started_s = self._parts.clock.monotonic()
                try:
                    outcome = await self._parts.store.commit(group, self._times.moments)
                except (StoreBusy, sqlalchemy.exc.DBAPIError, OSError) as error:
                    if not failing:
                        log.exception("store.failed", error=type(error).__name__)
                    failing = True
                    self._parts.metrics.counter("fleet_uplink_batches_total", outcome="retried").inc(len(group))
                    await asyncio.sleep(backoff.next_s())
                    continue
                break
            if failing:
                log.info("store.recovered")
            failing = False
            backoff.reset()
            self._committed(group, outcome, self._parts.clock.monotonic() - started_s)

    def _committed(self, group: list[Incoming], outcome: Outcome, seconds: float) -> None:
        metrics = self._parts.metrics
        self.last_commit_s = self._parts.clock.monotonic()
        metrics.histogram("fleet_uplink_commit_seconds").observe(seconds)
        metrics.counter("fleet_uplink_batches_total", outcome="stored").inc(len(group))
        metrics.counter("fleet_uplink_records_total", outcome="stored").inc(outcome.stored)
        metrics.counter("fleet_uplink_records_total", outcome="duplicate").inc(outcome.duplicates)
        metrics.counter("fleet_uplink_records_total", outcome="deferred").inc(outcome.deferred)
        metrics.gauge("fleet_uplink_backlog").set(self._parts.broker.backlog)
        for kid in outcome.rejected_kids:
            self._note(kid, Fault.UPLINK_REJECTED, "a record breaks the schema")
        for (kid, epoch), (through, ranges) in outcome.receipts.items():
            receipt = Receipt(epoch=epoch, through_seq=through, ranges=ranges)
            try:
                _ = self._parts.broker.publish_soon(topic(kid, Channel.RECEIPT), encode(receipt))
                metrics.counter("fleet_uplink_receipts_total", outcome="sent").inc()
            except NotConnected:
                metrics.counter("fleet_uplink_receipts_total", outcome="not_connected").inc()
