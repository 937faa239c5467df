"""What is sent when: new records first, the backlog paced behind them, everything until the server's receipt.

A batch stays in flight until a receipt covers it and is sent again when none comes. One that is never answered
while others are is cut in halves; a single record that stays unanswered is set aside and tried hourly, so that
nothing poisonous blocks the rest. While the gate is closed nothing is sent and nothing is read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.reporter import Reporter
from agent.settings import UplinkSettings
from agent.uplink import rows
from agent.uplink.outbox import Outbox, Settled, Source
from agent.uplink.spool import Chunk
from kit.clock import Clock
from kit.logs import get_logger
from kit.mqtt import MqttError
from wire.envelope import WireError, decode
from wire.faults import Fault
from wire.topics import DELIVERY, Channel
from wire.uplink import Receipt

log = get_logger(__name__)

COMPONENT = "agent.uplink"
_SPLIT_AFTER_TRIES = 3
_PARK_AFTER_TRIES = 6
_PARK_S = 3_600.0
_IDLE_S = 60.0
_LOG = DELIVERY[Channel.LOG]


class Publisher(Protocol):
    """The part of the connection the pump needs."""

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, timeout_s: float = 10.0) -> None:
        """Send and wait for the broker's acknowledgement.

        Raises:
            MqttError: the broker may or may not have it.
        """


@dataclass(slots=True)
class Flight:
    """A batch on its way."""

    epoch: str
    seqs: set[int]
    void: tuple[tuple[int, int], ...]
    is_late: bool
    due_s: float
    tries: int = 1
    receipts_at_send: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """From the first number to the last, rows and void ranges."""
        firsts = [first for first, _ in self.void]
        lasts = [last for _, last in self.void]
        return min([*self.seqs, *firsts]), max([*self.seqs, *lasts])


@dataclass(slots=True)
class Lane:
    """How far one epoch is read: the backlog ends at `boundary`, new records lie behind it."""

    boundary: int
    live_at: int
    late_at: int = 0


@dataclass(slots=True)
class PumpState:
    """What the local API shows."""

    last_receipt_s: float | None = None
    receipts: int = 0
    batches: int = 0
    parked: dict[tuple[str, int], float] = field(default_factory=dict)


class Pump:
    """One per kiosk; `topic` and `publisher` are set with each identity."""

    name = "pump"

    def __init__(
        self,
        outbox: Outbox,
        reporter: Reporter,
        settings: UplinkSettings,
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        self.state = PumpState()
        self._outbox = outbox
        self._reporter = reporter
        self._settings = settings
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._publisher: Publisher | None = None
        self._topic = ""
        self._is_open = False
        self._rate_per_s = settings.backfill_per_s
        self._tokens = 0.0
        self._tokens_at_s = clock.monotonic()
        self._lanes: dict[str, Lane] = {}
        self._flights: list[Flight] = []
        self._is_refused = False

    @property
    def in_flight(self) -> int:
        """Batches that wait for a receipt."""
        return len(self._flights)

    @property
    def is_open(self) -> bool:
        """Whether somebody is there to take records."""
        return self._is_open

    def open_gate(self, topic: str, publisher: Publisher, backfill_per_s: float | None) -> None:
        """The server is there: start over with what is still unanswered."""
        self._topic, self._publisher = topic, publisher
        self._rate_per_s = backfill_per_s if backfill_per_s is not None else self._settings.backfill_per_s
        if not self._is_open:
            self._is_open = True
            self._lanes.clear()
            self._flights.clear()
            self._mark_held()
        self._outbox.changed.set()

    def close_gate(self) -> None:
        """Nobody is there: keep everything at home."""
        self._is_open = False

    async def run(self) -> None:
        """Send whatever may be sent, whenever something changes."""
        while True:
            self._outbox.changed.clear()
            wait_s = await self.step()
            try:
                async with asyncio.timeout(wait_s):
                    await self._outbox.changed.wait()
            except TimeoutError:
                continue

    async def step(self) -> float:
        """Send what may be sent now; seconds until there is a reason to look again."""
        if not self._is_open:
            return _IDLE_S
        self._refill()
        sources = self._outbox.sources()
        await self._follow(sources)
        await self._resend()
        for source in sources:
            await self._send_live(source)
        for source in sources:
            await self._send_late(source)
        await self._reporter.alarm(COMPONENT, Fault.UPLINK_REJECTED, is_up=bool(self.state.parked))
        return self._wait_s(sources)

    async def take_receipt(self, payload: bytes) -> None:
        """Delete what the server has committed."""
        try:
            receipt = decode(Receipt, payload, limit_bytes=DELIVERY[Channel.RECEIPT].limit_bytes)
        except WireError as error:
            log.warning("receipt.refused", reason=str(error))
            return
        ranges = [(first, last) for first, last in receipt.ranges if first <= last]
        if receipt.through_seq > 0:
            ranges.insert(0, (1, receipt.through_seq))
        verdict = await self._outbox.settle(receipt.epoch, ranges)
        if verdict is Settled.BEYOND:
            done = await self._outbox.rewind("a receipt beyond our numbers")
            log.error("receipt.beyond", through_seq=receipt.through_seq, rewound=done)
            return
        if verdict is Settled.OTHER_EPOCH:
            return
        self.state.receipts += 1
        self.state.last_receipt_s = self._clock.monotonic()
        for flight in self._flights:
            if flight.epoch == receipt.epoch:
                flight.seqs = {seq for seq in flight.seqs if not _covers(ranges, seq, seq)}
                flight.void = tuple(item for item in flight.void if not _covers(ranges, *item))
        self._flights = [flight for flight in self._flights if flight.seqs or flight.void]
        for key in [key for key in self.state.parked if key[0] == receipt.epoch and _covers(ranges, key[1], key[1])]:
            del self.state.parked[key]
        self._mark_held()
        self._outbox.changed.set()

    async def _follow(self, sources: Sequence[Source]) -> None:
        """Begin with new epochs, forget ended ones, and let records that waited too long join the backlog."""
        epochs = {source.epoch for source in sources}
        self._flights = [flight for flight in self._flights if flight.epoch in epochs]
        self._lanes = {epoch: lane for epoch, lane in self._lanes.items() if epoch in epochs}
        self.state.parked = {key: at for key, at in self.state.parked.items() if key[0] in epochs}
        for source in sources:
            lane = self._lanes.get(source.epoch)
            if lane is None or lane.live_at < source.last_seq:
                late = await self._outbox.late_through(source.epoch, self._settings.hist_after_s)
                if lane is None:
                    self._lanes[source.epoch] = Lane(late, late)
                elif late > lane.live_at:
                    lane.boundary = lane.live_at = late
        self._mark_held()

    async def _send_live(self, source: Source) -> None:
        lane = self._lanes.get(source.epoch)
        while lane is not None and self._may_send(is_late=False) and lane.live_at < source.last_seq:
            chunk = await self._outbox.read(
                source.epoch,
                lane.live_at,
                source.last_seq,
                limit=self._settings.batch_records,
                max_bytes=self._settings.batch_bytes,
            )
            if chunk.end <= lane.live_at:
                return
            lane.live_at = chunk.end
            await self._launch(source.epoch, chunk, is_late=False)

    async def _send_late(self, source: Source) -> None:
        lane = self._lanes.get(source.epoch)
        while lane is not None and self._may_send(is_late=True) and lane.late_at < lane.boundary:
            limit = min(self._settings.batch_records, int(self._tokens))
            if limit < self._late_batch():
                return
            chunk = await self._outbox.read(
                source.epoch, lane.late_at, lane.boundary, limit=limit, max_bytes=self._settings.batch_bytes
            )
            if chunk.end <= lane.late_at:
                return
            lane.late_at = chunk.end
            busy = self._busy(source.epoch)
            waiting = tuple(row for row in chunk.rows if row.seq not in busy)
            await self._launch(source.epoch, Chunk(waiting, chunk.void, chunk.end), is_late=True)
            self._tokens -= max(1, len(waiting))

    async def _launch(self, epoch: str, chunk: Chunk, *, is_late: bool) -> None:
        if chunk.is_empty:
            return
        flight = Flight(epoch, {row.seq for row in chunk.rows}, chunk.void, is_late, 0.0)
        self._flights.append(flight)
        self._mark_held()
        await self._send(flight, chunk)

    async def _resend(self) -> None:
        now = self._clock.monotonic()
        for key, at in list(self.state.parked.items()):
            if now >= at:
                self.state.parked[key] = now + _PARK_S
                flight = Flight(key[0], {key[1]}, (), is_late=True, due_s=now, tries=_PARK_AFTER_TRIES)
                flight.receipts_at_send = self.state.receipts
                self._flights.append(flight)
        for flight in [flight for flight in self._flights if flight.due_s <= now]:
            if self._is_open and flight in self._flights and not self._give_way(flight):
                await self._send_again(flight)

    async def _send_again(self, flight: Flight) -> None:
        first, last = flight.span
        chunk = await self._outbox.read(flight.epoch, first - 1, last, limit=last - first + 1, max_bytes=2**31)
        left = tuple(row for row in chunk.rows if row.seq in flight.seqs)
        flight.seqs = {row.seq for row in left}
        if not left and not chunk.void:
            self._flights.remove(flight)
            return
        flight.void = chunk.void
        flight.tries += 1
        await self._send(flight, Chunk(left, chunk.void, last))

    def _give_way(self, flight: Flight) -> bool:
        """Cut up or set aside a batch that stays unanswered while others are answered; whether it was."""
        others_answered = self.state.receipts > flight.receipts_at_send
        if len(flight.seqs) > 1 and flight.tries >= _SPLIT_AFTER_TRIES and others_answered:
            seqs = sorted(flight.seqs)
            middle = len(seqs) // 2
            self._flights.remove(flight)
            for part, void in ((seqs[:middle], flight.void), (seqs[middle:], ())):
                half = Flight(flight.epoch, set(part), void, flight.is_late, flight.due_s, _SPLIT_AFTER_TRIES - 1)
                half.receipts_at_send = self.state.receipts
                self._flights.append(half)
            return True
        if len(flight.seqs) == 1 and flight.tries >= _PARK_AFTER_TRIES and others_answered:
            self._flights.remove(flight)
            key = (flight.epoch, next(iter(flight.seqs)))
            self.state.parked.setdefault(key, self._clock.monotonic() + _PARK_S)
            log.error("uplink.record_unanswered", epoch=key[0], seq=key[1])
            return True
        return False

    async def _send(self, flight: Flight, chunk: Chunk) -> None:
        """Publish; whatever comes of it, only a receipt ends the flight."""
        wait_s = min(self._settings.resend_s * 2 ** (flight.tries - 1), self._settings.resend_cap_s)
        flight.due_s = self._clock.monotonic() + wait_s * self._rng.uniform(0.9, 1.2)
        flight.receipts_at_send = self.state.receipts
        first_seq = flight.span[0]
        payload = rows.batch_payload(flight.epoch, chunk.rows, chunk.void, late=flight.is_late, first_seq=first_seq)
        publisher = self._publisher
        if publisher is None:
            return
        try:
            await publisher.publish(self._topic, payload, qos=_LOG.qos, timeout_s=self._settings.publish_timeout_s)
        except MqttError as error:
            if not self._is_refused:
                self._is_refused = True
                log.warning("uplink.publish_failed", reason=str(error))
            return
        self._is_refused = False
        self.state.batches += 1

    def _may_send(self, *, is_late: bool) -> bool:
        busy = sum(1 for flight in self._flights if flight.is_late is is_late)
        return self._is_open and busy < self._settings.window_batches

    def _late_batch(self) -> int:
        """Tokens worth a batch: about a second of backlog, so that it travels in few messages."""
        return max(1, min(self._settings.batch_records, int(self._rate_per_s)))

    def _refill(self) -> None:
        now = self._clock.monotonic()
        most = max(self._settings.batch_records, self._rate_per_s)
        self._tokens = min(most, self._tokens + (now - self._tokens_at_s) * self._rate_per_s)
        self._tokens_at_s = now

    def _wait_s(self, sources: Sequence[Source]) -> float:
        now = self._clock.monotonic()
        waits = [_IDLE_S, *(flight.due_s - now for flight in self._flights)]
        for source in sources:
            lane = self._lanes.get(source.epoch)
            if lane is not None and lane.late_at < lane.boundary and self._may_send(is_late=True):
                waits.append((self._late_batch() - self._tokens) / self._rate_per_s * self._rng.uniform(1.0, 1.25))
        return max(0.0, min(waits))

    def _busy(self, epoch: str) -> set[int]:
        """Numbers that are on their way or set aside."""
        busy = {seq for flight in self._flights if flight.epoch == epoch for seq in flight.seqs}
        return busy | {seq for key_epoch, seq in self.state.parked if key_epoch == epoch}

    def _mark_held(self) -> None:
        self._outbox.hold = self._busy(self._outbox.epoch)


def _covers(ranges: Iterable[tuple[int, int]], first: int, last: int) -> bool:
    return any(low <= first and last <= high for low, high in ranges)
