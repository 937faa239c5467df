"""The ingest of a fleet server on a store, between a broker and a registry that are plain objects in memory.

Batches are written here as a kiosk writes them, by hand, so that the wire models do not judge themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.errors import Refusal
from fleet_server.registry.model import Kiosk, KioskState, QuarantineReason
from fleet_server.telemetry.evidence import EvidenceSink
from fleet_server.telemetry.samples import SampleSink
from fleet_server.uplink.desk import Desk
from fleet_server.uplink.limits import RateLimiter, RateLimits
from fleet_server.uplink.metrics import BATCHES, METRICS, RECORDS
from fleet_server.uplink.model import Incoming, Sender, Stream, to_us
from fleet_server.uplink.ports import Quarantine, RecordSink
from fleet_server.uplink.service import Fleet, UplinkParts, UplinkService
from fleet_server.uplink.store import UplinkStore, WorkerStore
from kit.clock import ManualClock
from kit.metrics import Metrics
from kit.mqtt import Message, NotConnected
from kit.store import Database, Dialect
from support.registry import FakeAlarms
from support.waiting import wait_for
from wire.envelope import decode
from wire.topics import Channel, topic
from wire.uplink import CHAIN_START, Receipt, chain_next, record_digest

EPOCH: Final = "01JD0000000000000000000001"
BOOT: Final = "boot-1"
AT: Final = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
"""The kiosk's clock where nothing else is said; `START` of the clocks in tests."""
RECEIVED_US: Final = to_us(AT)
Document = dict[str, Any]  # Any: a JSON document


def sample(seq: int, *, at: datetime = AT, values: Mapping[str, float] | None = None, **more: object) -> Document:
    """A telemetry record as a kiosk sends it."""
    made = {"kind": "telemetry", "record_class": "p2", "values": dict(values or {"cpu_percent": float(seq % 100)})}
    return _record(seq, at, made, more)


def event(seq: int, *, at: datetime = AT, name: str = "test.number", **more: object) -> Document:
    """An event record."""
    made = {"kind": "event", "record_class": "p1", "component": "agent", "name": name, "fields": {"number": seq}}
    return _record(seq, at, made, more)


def chained(seq: int, chain_n: int, previous: str, *, at: datetime = AT) -> Document:
    """A class P0 audit record that follows `previous` in the kiosk's chain."""
    made = {"kind": "audit", "record_class": "p0", "actor": "agent", "action": "door_opened", "outcome": "ok"}
    document = _record(seq, at, made, {})
    return document | {"chain_n": chain_n, "chain": chain_next(previous, record_digest(document))}


def chain_of(count: int, *, first_seq: int = 1) -> list[Document]:
    """That many records, each following from the one before it."""
    found: list[Document] = []
    head = CHAIN_START
    for place in range(count):
        found.append(chained(first_seq + place, place + 1, head))
        head = found[-1]["chain"]
    return found


def _record(seq: int, at: datetime, made: Document, more: Mapping[str, object]) -> Document:
    common = {"seq": seq, "at": at.isoformat(), "boot": BOOT, "mono_ms": seq * 1_000, "offset_s": 0.0}
    return {**made, **common, **more}


def batch(records: Sequence[Document], *, epoch: str = EPOCH, **more: object) -> bytes:
    """The payload of `up/log`."""
    first = records[0].get("seq", 1) if records else 1
    document = {"v": 1, "epoch": epoch, "first_seq": first, "records": list(records), **more}
    return json.dumps(document, separators=(",", ":")).encode()


def sender(kid: str = "zzj-001", kiosk_no: int = 1, received: datetime = AT) -> Sender:
    """Whose batch it is."""
    return Sender(kid, kiosk_no, to_us(received))


@dataclass(slots=True)
class FakeBroker:
    """Holds what kiosks sent until it is taken, and what was sent to them."""

    is_connected: bool = True
    can_send: bool = True
    waiting: deque[Message] = field(default_factory=deque)
    taken: int = 0
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def backlog(self) -> int:
        return len(self.waiting)

    async def messages(self, limit: int = 1_000) -> list[Message]:
        while not self.waiting:
            self._arrived.clear()
            await self._arrived.wait()
        found = [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]
        self.taken += len(found)
        return found

    def publish_soon(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> asyncio.Future[None]:
        if not self.can_send:
            raise NotConnected("the broker is away")
        self.sent.append((topic, payload))
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer.set_result(None)
        return answer

    def put(self, kid: str, payload: bytes, *, name: str | None = None, retain: bool = False) -> None:
        """A message of a kiosk, on its own `up/log` or on any topic."""
        where = topic(kid, Channel.LOG) if name is None else name
        self.waiting.append(Message(where, payload, 1, retain, None, None, 0.0))
        self._arrived.set()

    def receipts(self, kid: str) -> list[Receipt]:
        """What a kiosk was told so far."""
        own = topic(kid, Channel.RECEIPT)
        return [decode(Receipt, payload) for name, payload in self.sent if name == own]


def kiosk(kid: str, no: int, state: KioskState = KioskState.ENROLLED) -> Kiosk:
    """A kiosk of the registry."""
    return Kiosk(no, kid, kid.upper(), None, "", "", "", None, None, "", state, AT, None, None, no)


@dataclass(slots=True)
class FakeFleet:
    """The registry as the ingest sees it: who is listened to, and who is set aside."""

    kiosks: dict[str, Kiosk]
    changes: int = 1_000

    def get(self, kid: str) -> Kiosk | None:
        return self.kiosks.get(kid)

    def accepts(self, kid: str) -> bool:
        found = self.kiosks.get(kid)
        return found is not None and found.state is KioskState.ENROLLED

    async def quarantine(self, kid: str, why: QuarantineReason, reason: str) -> bool:
        if not self.accepts(kid):
            return False
        self._set(kid, KioskState.QUARANTINED, why)
        return True

    async def release(self, kid: str, *, only: QuarantineReason | None = None) -> None:
        if only is not None and self.kiosks[kid].quarantine is not only:
            raise Refusal("state_conflict", "not in quarantine for that")
        self._set(kid, KioskState.ENROLLED, None)

    def _set(self, kid: str, state: KioskState, why: QuarantineReason | None) -> None:
        self.changes += 1
        self.kiosks[kid] = replace(self.kiosks[kid], state=state, quarantine=why, change_seq=self.changes)


LIMITS: Final = RateLimits(records_per_s=50.0, burst=2_000.0, quiet_release_s=600.0)


@dataclass(slots=True)
class Ingest:
    """One ingest service and everything around it."""

    database: Database
    broker: FakeBroker
    fleet: FakeFleet
    alarms: FakeAlarms
    clock: ManualClock
    desk: Desk
    metrics: Metrics
    samples: SampleSink
    store: UplinkStore
    service: UplinkService

    async def send(self, kid: str, payload: bytes) -> Receipt:
        """What the kiosk is answered."""
        before = len(self.broker.receipts(kid))
        self.broker.put(kid, payload)
        await wait_for(lambda: len(self.broker.receipts(kid)) > before, what=f"a receipt for {kid}")
        return self.broker.receipts(kid)[-1]

    def batches(self, outcome: str) -> float:
        """How many batches ended like that."""
        return self._count(BATCHES, outcome)

    def records(self, outcome: str) -> float:
        """How many records ended like that."""
        return self._count(RECORDS, outcome)

    def _count(self, name: str, outcome: str) -> float:
        (family,) = self.metrics.counter(name, outcome=outcome).collect()
        return sum(item.value for item in family.samples if item.name.endswith("_total"))


@dataclass(frozen=True, slots=True)
class Around:
    """What a test replaces of an ingest."""

    sinks: Sequence[RecordSink[Any]] = ()
    """Besides the sinks of telemetry and evidence."""
    limits: RateLimits = LIMITS
    registry: Quarantine | None = None
    directory: Fleet | None = None
    store: Callable[[Database, Sequence[RecordSink[Any]]], UplinkStore] = UplinkStore


def make_ingest(database: Database, clock: ManualClock, fleet: FakeFleet, around: Around | None = None) -> Ingest:
    """Build an ingest; nothing runs yet."""
    around = around or Around()
    broker, alarms, metrics = FakeBroker(), FakeAlarms(), Metrics(METRICS)
    samples = SampleSink(database)
    store = around.store(database, (samples, EvidenceSink(database), *around.sinks))
    desk = Desk(alarms, around.registry or fleet, clock)
    service = UplinkService(
        UplinkParts(
            broker=broker,
            fleet=around.directory or fleet,
            store=store,
            workers=WorkerStore(database),
            worker="fleet-test",
            limiter=RateLimiter(around.limits),
            desk=desk,
            metrics=metrics,
            clock=clock,
            overlaps=database.dialect is Dialect.POSTGRESQL,
        )
    )
    return Ingest(database, broker, fleet, alarms, clock, desk, metrics, samples, store, service)


@asynccontextmanager
async def running(ingest: Ingest) -> AsyncIterator[Ingest]:
    """Have its service run; the end is a kill between two of its steps."""
    task = asyncio.get_running_loop().create_task(ingest.service.run(), name="ingest-under-test")
    try:
        yield ingest
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (failure := task.exception()) is not None:
        raise failure


async def rows(database: Database, statement: str, **values: object) -> list[tuple[Any, ...]]:  # Any: columns
    """Rows of a statement in plain SQL."""
    async with database.read() as connection:
        return [tuple(row) for row in await connection.execute(text(statement), values)]


async def stored_seqs(database: Database, kiosk_no: int = 1) -> list[int]:
    """The numbers of a kiosk's samples and events in the store, ascending, each as often as it is there."""
    found = await rows(
        database,
        "SELECT seq FROM telemetry_sample WHERE kiosk_no = :no"
        " UNION ALL SELECT seq FROM telemetry_event WHERE kiosk_no = :no ORDER BY 1",
        no=kiosk_no,
    )
    return [row[0] for row in found]


@dataclass(slots=True)
class FussySink:
    """A sink whose database does not take some numbers, as a mistake of ours would show."""

    refuses: frozenset[int]
    writes: int = 0

    def prepare(self, batch: Incoming, stream: Stream) -> list[int] | None:
        return [*batch.samples.seqs, *(item.record.seq for item in batch.evidence)]

    async def write(self, connection: AsyncConnection, parts: Sequence[list[int]]) -> None:
        self.writes += 1
        for part in parts:
            if self.refuses.intersection(part):
                await connection.execute(text("INSERT INTO telemetry_change (id, value) VALUES (1, 0)"))

    def committed(self, parts: Sequence[list[int]]) -> None:
        return


def later(seconds: float) -> datetime:
    """So long after `AT`."""
    return AT + timedelta(seconds=seconds)
