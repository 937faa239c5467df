"""Gets a group of batches into the store, whatever it takes, without letting one bad batch hold up the others.

- The store is away or busy: the same group again, with back-off, for as long as it takes.
- The store refuses what is in the group (a mistake of ours: validated records should fit): the group is taken
  apart batch by batch and then half by half; what is refused alone is set aside like a record that breaks the
  schema, with an alarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fleet_server.uplink import metrics as figures
from fleet_server.uplink.desk import Desk
from fleet_server.uplink.model import Incoming, Outcome, Rejected, Samples
from fleet_server.uplink.store import Prepared, StoreAway, StoreRefused, UplinkStore
from kit.logs import get_logger
from kit.metrics import Metrics
from kit.supervise import Backoff
from wire.faults import Fault

RETRY_BASE_S: Final = 0.2
RETRY_CAP_S: Final = 10.0
log = get_logger(__name__)


class Committer:
    """Commits one group at a time."""

    def __init__(self, store: UplinkStore, desk: Desk, metrics: Metrics) -> None:
        """Commit to this store."""
        self._store = store
        self._desk = desk
        self._metrics = metrics
        self.is_failing = False
        self._backoff = Backoff(base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S)

    async def commit(self, group: Sequence[Prepared]) -> Outcome:
        """Return when everything in the group is durable or set aside."""
        try:
            return await self._persist(group)
        except StoreRefused as refused:
            log.warning("group.taken_apart", batches=len(group), reason=str(refused))
        outcome = Outcome()
        for item in group:
            _merge(outcome, await self._commit_alone(item))
        return outcome

    async def _persist(self, group: Sequence[Prepared]) -> Outcome:
        """Commit, again and again while the store is away.

        Raises:
            StoreRefused: trying again is useless.
        """
        while True:
            try:
                outcome = await self._store.commit(group)
            except StoreAway as away:
                self._failed(away)
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._recovered()
                return outcome

    async def _commit_alone(self, item: Prepared) -> Outcome:
        """One batch of a group that was refused."""
        try:
            return await self._persist([item])
        except StoreRefused as refused:
            log.warning("batch.taken_apart", kiosk_id=item.header.sender.kid, reason=str(refused))
        outcome, batch = Outcome(), item.reread()
        await self._commit_halves(batch, outcome)
        voids = replace(batch.only(frozenset()), header=replace(batch.header, seqs=(), rejected=()))
        _merge(outcome, await self._persist([self._store.prepare(voids)]))
        return outcome

    async def _commit_halves(self, batch: Incoming, outcome: Outcome) -> None:
        """Find what the store refuses of a batch it refused: few transactions for one bad record among hundreds."""
        seqs = batch.header.seqs
        middle = len(seqs) // 2
        for half in (seqs[:middle], seqs[middle:]):
            part = batch.only(frozenset(half))
            try:
                if half:
                    _merge(outcome, await self._persist([self._store.prepare(part)]))
            except StoreRefused as refused:
                if len(half) > 1:
                    await self._commit_halves(part, outcome)
                    continue
                kid = part.header.sender.kid
                aside = self._store.prepare(_set_aside(part, str(refused)))
                _merge(outcome, await self._persist([aside]))
                self._desk.complain(kid, Fault.UPLINK_REJECTED, f"refused by the store: {refused}")

    def _failed(self, away: StoreAway) -> None:
        self._metrics.counter(figures.RETRIES).inc()
        if not self.is_failing:
            log.warning("store.lost", reason=str(away))
        self.is_failing = True

    def _recovered(self) -> None:
        if self.is_failing:
            log.info("store.back")
            self._backoff.reset()
        self.is_failing = False


def _set_aside(batch: Incoming, reason: str) -> Incoming:
    """A batch of one record that the store refuses, as a record that was rejected."""
    content = batch.evidence[0].body if batch.evidence else ""
    rejected = [Rejected(seq, f"refused by the store: {reason}", content) for seq in batch.header.seqs]
    return Incoming(replace(batch.header, rejected=rejected), Samples(), ())


def _merge(into: Outcome, more: Outcome) -> None:
    into.receipts.update(more.receipts)
    into.stored += more.stored
    into.duplicates += more.duplicates
    into.deferred += more.deferred
    for kid, count in more.rejected.items():
        into.rejected[kid] = into.rejected.get(kid, 0) + count
