"""Work for a crash sweep: incidents become orders one event at a time, evidence moves them on; may be run again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from fleet_server.incidents.model import EventKind, IncidentEvent
from fleet_server.orders.duty import OrderDuty
from fleet_server.orders.store import OrderStore
from kit.clock import ManualClock
from kit.store import Database, StoreOptions, Synchronous
from support.order_desk import AT, Evidence, Incidents

FILE = "fleet.db"
ROUNDS, LINES = 4, 5


def url(state: Path) -> str:
    """The store of the sweep."""
    return f"sqlite:///{state / FILE}"


class OneByOne(Incidents):
    """A feed that gives one event at a time, so that there are more places to die at."""

    async def events_after(self, seq: int, limit: int) -> Sequence[IncidentEvent]:
        """See `Incidents`."""
        return await super().events_after(seq, min(limit, 1))


def told() -> tuple[OneByOne, Evidence]:
    """One fault that was repaired and proved, one that is acknowledged and still up, one that needs nobody."""
    incidents, evidence = OneByOne(), Evidence(used=3)
    incidents.open("i1", AT)
    incidents.open("i2", AT, code="paper_jam")
    incidents.open("i3", AT, code="paper_low")
    incidents.say("i2", EventKind.ACKNOWLEDGED, AT, "li")
    evidence.raised(AT)
    evidence.raised(AT, "paper_jam")
    evidence.cleared(AT)
    evidence.tested(AT.replace(minute=20))
    return incidents, evidence


async def work(state: Path) -> None:
    """Follow and judge until nothing changes any more."""
    database = Database(url(state), StoreOptions(synchronous=Synchronous.FULL))
    incidents, evidence = told()
    clock = ManualClock(AT.replace(hour=3, minute=5))
    duty = OrderDuty(OrderStore(database), incidents, evidence, clock)
    for _ in range(ROUNDS):
        for _ in range(LINES):  # as the duty itself does: it judges once it knows all that happened
            await duty.follow()
        await duty.judge()
    await database.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
