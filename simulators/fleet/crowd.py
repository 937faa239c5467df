"""Holds N light kiosks in one process and does to them what a tester asks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kit.clock import Clock
from kit.supervise import TaskGroup
from simulators.fleet.behaviour import CALM, Behaviour
from simulators.fleet.identities import Identity
from simulators.fleet.kiosk import LightKiosk, World
from simulators.fleet.ledger import Ledger
from simulators.mqtt.connection import use_small_tls_buffers

CONNECTS_IN_FLIGHT = 90
"""Below Mosquitto's listen backlog of 100: more would wait for a SYN to be repeated."""
KIOSKS_PER_SOURCE = 500
"""Loopback clients per source address; beyond that, finding a free port dominates."""
START_SPREAD_S = 2.0


class UnknownKiosk(LookupError):
    """No kiosk of that id in this crowd."""


@dataclass(frozen=True, slots=True)
class CrowdPlan:
    """Where to connect, how to behave, from which seed."""

    host: str
    port: int
    seed: int = 1
    behaviour: Behaviour = CALM


@dataclass(frozen=True, slots=True)
class CrowdTotals:
    """Sums over all kiosks."""

    kiosks: int
    connected: int
    pending: int
    records: int
    acknowledged: int
    connects: int
    connect_failures: int
    takeovers: int


class Crowd:
    """The kiosks of one process; `run` lives until cancelled."""

    name = "crowd"

    def __init__(self, plan: CrowdPlan, identities: Sequence[Identity], ledger: Ledger, clock: Clock) -> None:
        use_small_tls_buffers()
        world = World(clock, plan.host, plan.port, asyncio.Semaphore(CONNECTS_IN_FLIGHT), ledger)
        loopback = plan.host in {"127.0.0.1", "localhost"}
        self._kiosks: Mapping[str, LightKiosk] = {
            identity.kid: LightKiosk(
                identity,
                world,
                plan.behaviour,
                plan.seed,
                f"127.0.{1 + number // KIOSKS_PER_SOURCE}.1" if loopback else None,
            )
            for number, identity in enumerate(identities)
        }

    async def run(self) -> None:
        """Start all kiosks, spread over a moment, and keep them alive."""
        pause_s = START_SPREAD_S / max(1, len(self._kiosks))
        async with TaskGroup() as group:
            for kiosk in self._kiosks.values():
                group.create_task(kiosk.run(), name=f"light-{kiosk.kid}")
                await asyncio.sleep(pause_s)

    def __iter__(self) -> Iterator[LightKiosk]:
        """All kiosks by id."""
        return iter(self._kiosks.values())

    def kiosk(self, kid: str) -> LightKiosk:
        """The kiosk of that id.

        Raises:
            UnknownKiosk: not in this crowd.
        """
        try:
            return self._kiosks[kid]
        except KeyError:
            raise UnknownKiosk(kid) from None

    def first(self, count: int | None) -> Sequence[LightKiosk]:
        """The first `count` kiosks by id, all when None."""
        return tuple(itertools.islice(self._kiosks.values(), count))

    def totals(self) -> CrowdTotals:
        """Sums over all kiosks."""
        kiosks = self._kiosks.values()
        return CrowdTotals(
            kiosks=len(kiosks),
            connected=sum(kiosk.is_connected for kiosk in kiosks),
            pending=sum(kiosk.pending for kiosk in kiosks),
            records=sum(kiosk.counters.records for kiosk in kiosks),
            acknowledged=sum(kiosk.counters.acknowledged for kiosk in kiosks),
            connects=sum(kiosk.counters.connects for kiosk in kiosks),
            connect_failures=sum(kiosk.counters.connect_failures for kiosk in kiosks),
            takeovers=sum(kiosk.counters.takeovers for kiosk in kiosks),
        )
