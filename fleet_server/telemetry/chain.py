"""Proving the hash chain over the class P0 records of a kiosk: an edit, a gap or a forged row is found.

A record with number n in its stream's chain carries SHA-256 over the chain value of record n-1 and the digest of
its own content (`wire.uplink.chain_next`). Records may arrive out of order, so a chain is proved as far as there
is no gap; what lies behind a gap waits.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import Final, Protocol

import sqlalchemy.exc

from fleet_server.registry.ports import AlarmSink
from fleet_server.telemetry.model import ChainState, Event
from fleet_server.telemetry.store import TelemetryStore
from kit.clock import Clock
from kit.logs import get_logger
from kit.store import StoreBusy
from wire.faults import Fault
from wire.uplink import CHAIN_START, SEQ_LIMIT, chain_next

COMPONENT: Final = "evidence"
LOOK_S: Final = 1.0
SWEEP_S: Final = 600.0
_PAGE: Final = 500
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a full walk over one stream's chain found."""

    stream_no: int
    proved_n: int
    newest_n: int
    """Records after `proved_n` up to this one wait behind a gap, or behind the one that is bad."""
    bad: Event | None = None
    reason: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing contradicts the chain."""
        return self.bad is None


def follow(state: ChainState, event: Event) -> ChainState | None:
    """The state after the next record of the chain; None when a record in between has not arrived.

    A record that does not follow leaves the state where it was, with the record named.
    """
    number = event.chain_n or 0
    if number > state.proved_n + 1:
        return None
    reason = None
    if number <= state.proved_n:
        reason = "two records have the same number"
    elif hashlib.sha256(event.body.encode()).hexdigest() != event.digest:
        reason = "the content was changed after it was stored"
    elif chain_next(state.head, event.digest or "") != event.chain:
        reason = "the record does not follow from the one before it"
    if reason is not None:
        return replace(state, broken_n=number, broken_seq=event.seq, reason=reason)
    return replace(state, proved_n=number, head=event.chain or "")


def beginning(stream_no: int, kiosk_no: int) -> ChainState:
    """The state of a chain of which nothing is proved."""
    return ChainState(stream_no, kiosk_no, 0, CHAIN_START, 0, CHAIN_START)


async def verify_stream(store: TelemetryStore, stream_no: int, kiosk_no: int) -> ChainReport:
    """Walk one stream's chain from where the store begins, trusting nothing that was proved before."""
    known = await store.chain(stream_no)
    state = beginning(stream_no, kiosk_no)
    if known is not None:
        state = replace(state, base_n=known.base_n, base=known.base, proved_n=known.base_n, head=known.base)
    newest_n, waiting = state.proved_n, False
    after = (state.proved_n, SEQ_LIMIT)
    while events := await store.chained(stream_no, after, _PAGE):
        for event in events:
            newest_n = max(newest_n, event.chain_n or 0)
            following = None if waiting else follow(state, event)
            if following is None:
                waiting = True
                continue
            state = following
            if state.broken_n is not None:
                return ChainReport(stream_no, state.proved_n, newest_n, event, state.reason)
        after = (events[-1].chain_n or 0, events[-1].seq)
    return ChainReport(stream_no, state.proved_n, newest_n)


async def verify_chain(store: TelemetryStore, kiosk_no: int) -> list[ChainReport]:
    """Walk every chain of a kiosk, oldest stream first; a report names the first bad record of its stream."""
    return [await verify_stream(store, number, kiosk_no) for number in await store.chained_streams(kiosk_no)]


class Fleet(Protocol):
    """The part of the registry that names kiosks."""

    def name_of(self, number: int) -> str | None:
        """The id of the kiosk with this number."""


class ChainProver:
    """Proves chains as records arrive, and now and then looks for what was missed; an alarm names a break."""

    name = "evidence-chains"

    def __init__(self, store: TelemetryStore, alarms: AlarmSink, fleet: Fleet, clock: Clock) -> None:
        """Read and write this store."""
        self._store = store
        self._alarms = alarms
        self._fleet = fleet
        self._clock = clock
        self._dirty: set[int] = set()
        self._sweep_due_s = clock.monotonic()

    def look_at(self, stream_no: int) -> None:
        """A stream got chained records."""
        self._dirty.add(stream_no)

    async def run(self) -> None:
        """Prove what is new every second until cancelled."""
        while True:
            try:
                await self.prove()
            except (StoreBusy, sqlalchemy.exc.DBAPIError, OSError) as error:
                log.warning("chains.delayed", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    async def prove(self) -> None:
        """Prove what was reported since the last time, and when it is due, what nobody reported."""
        if self._clock.monotonic() >= self._sweep_due_s:
            self._dirty.update(await self._store.streams_to_prove())
            self._sweep_due_s = self._clock.monotonic() + SWEEP_S
        while self._dirty:
            number = next(iter(self._dirty))
            await self._prove(number)
            self._dirty.discard(number)

    async def _prove(self, stream_no: int) -> None:
        known = await self._store.chain(stream_no)
        if known is not None and known.broken_n is not None:
            return
        kiosk_no = known.kiosk_no if known is not None else await self._store.kiosk_of(stream_no)
        if kiosk_no is None:
            return
        state = known if known is not None else beginning(stream_no, kiosk_no)
        before_n = None if known is None else known.proved_n
        while events := await self._store.chained(stream_no, (state.proved_n, SEQ_LIMIT), _PAGE):
            started_n = state.proved_n
            for event in events:
                after = follow(state, event)
                if after is None or after.broken_n is not None:
                    state = after or state
                    break
                state = after
            if state.broken_n is not None or state.proved_n == started_n:
                break
        if state == known:
            return
        if state.broken_n is not None:
            await self._broken(state)  # before it is written, after which nobody looks at it again
        await self._store.keep_chain(state, before_n, self._clock.utc())

    async def _broken(self, state: ChainState) -> None:
        kid = self._fleet.name_of(state.kiosk_no)
        log.error("evidence.broken", kiosk_id=kid, stream=state.stream_no, chain_n=state.broken_n, reason=state.reason)
        if kid is not None:
            detail = {
                "stream": state.stream_no,
                "chain_n": state.broken_n,
                "seq": state.broken_seq,
                "reason": state.reason,
            }
            await self._alarms.raise_alarm(kid, COMPONENT, Fault.EVIDENCE_CHAIN_BROKEN, detail)
