"""The duty as a program that is killed at every durable call: works off a prepared log of edges, and ends.

python -m support.incident_work STATE
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents import duty as duty_module
from fleet_server.incidents.duty import IncidentDuty
from fleet_server.incidents.store import IncidentStore
from kit.clock import ManualClock
from kit.store import Database, StoreOptions, Synchronous
from support.incident_world import START, Grid
from wire.faults import FACTS, Fault
from wire.uplink import Edge

PAGE = 7
"""So small that the log is many transactions."""
FILE = "fleet.db"


def url(state: Path) -> str:
    """The store in a folder."""
    return f"sqlite:///{state / FILE}"


def log_of_edges() -> list[list[AlarmEdge]]:
    """What the server knew, transaction by transaction: a switch is lost, paper runs out and flaps, devices follow."""
    kids = Grid(20).kids
    said: list[list[tuple[float, str, Fault, str, bool]]] = [
        [(0, kid, Fault.KIOSK_OFFLINE, "kiosk", True) for kid in kids[:5]],
        [(1, kids[9], Fault.PAPER_OUT, "receipt_printer", True)],
        [(2, kid, Fault.COMPONENT_SILENT, "scanner", True) for kid in kids[:4]],
        [(3, kids[15], Fault.NOT_RESPONDING, "scanner", True), (4, kids[9], Fault.PAPER_OUT, "receipt_printer", False)],
        [(9, kids[9], Fault.PAPER_OUT, "receipt_printer", True)],
        [(10, kid, Fault.COMPONENT_SILENT, "scanner", False) for kid in kids[:3]],
        [(11, kid, Fault.KIOSK_OFFLINE, "kiosk", False) for kid in kids[:5]],
        [(12, kids[9], Fault.PAPER_OUT, "receipt_printer", False)],
        [(13, kids[2], Fault.KIOSK_OFFLINE, "kiosk", True)],
    ]
    return [[_edge(*one) for one in together] for together in said]


def _edge(second: float, kid: str, fault: Fault, component: str, up: bool) -> AlarmEdge:
    kind = Edge.RAISE if up else Edge.CLEAR
    at = START + timedelta(seconds=second)
    return AlarmEdge(kid, component, fault.value, kind, FACTS[fault].severity, at, AlarmOrigin.KIOSK)


async def fill(database: Database) -> None:
    """Write the log, as the uplink does."""
    store = AlarmStore(database)
    for together in log_of_edges():
        await store.apply(together, max(edge.at for edge in together))


async def work(database: Database, pauses_s: Sequence[float] = (30.0, 30.0, 2_000.0)) -> None:
    """Lead until nothing is left to do: the log, then what is due."""
    clock = ManualClock(START + timedelta(seconds=14))
    duty = IncidentDuty(database, AlarmStore(database), IncidentStore(database), Grid(20), clock)
    for pause_s in (0.0, *pauses_s):
        clock.advance(pause_s)
        while await duty.turn():
            pass


async def main(state: Path) -> None:
    """One life."""
    duty_module.PAGE = PAGE  # type: ignore[misc] # a small page makes many transactions
    database = Database(url(state), StoreOptions(synchronous=Synchronous.FULL))
    try:
        await work(database)
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
