"""The leader's duty: turns the log of edges into incidents. What it knows is in the store; it may die at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts.model import EdgePlace
from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.book import Book
from fleet_server.incidents.rules import Topology
from fleet_server.incidents.store import IncidentStore, StaleBook
from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.store import Database, LeaseLost, StoreBusy

PAGE: Final = 1_000
"""Edges in one transaction: a burst is worked off page by page, in the memory of one."""
TICK_S: Final = 0.5
PULSE: Final = timedelta(seconds=10)
_STORE_AWAY: Final = (StoreBusy, sqlalchemy.exc.DBAPIError, OSError)
log = get_logger(__name__)


Fence = Callable[[AsyncConnection], Awaitable[None]]
"""Proof, inside a transaction, that this process still leads; raises LeaseLost."""


async def unfenced(_connection: AsyncConnection) -> None:
    """For one process alone."""


class IncidentDuty:
    """Runs on one process at a time."""

    name = "incidents"

    def __init__(
        self,
        database: Database,
        alarms: AlarmStore,
        store: IncidentStore,
        topology: Topology,
        clock: Clock,
        fence: Fence = unfenced,
    ) -> None:
        """Connect the parts; nothing runs yet."""
        self._database = database
        self._alarms = alarms
        self._store = store
        self._topology = topology
        self._clock = clock
        self._fence = fence
        self._book: Book | None = None
        self._place = EdgePlace(0, -1)
        self._noted: datetime | None = None
        self._wake: Callable[[], None] = lambda: None
        self._news = asyncio.Event()

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every write of this process."""
        self._wake = wake

    def hurry(self) -> None:
        """There may be edges: look now."""
        self._news.set()

    async def _note_turn(self) -> None:
        """For whoever watches from outside that there are turns at all."""
        now = self._clock.utc()
        if self._noted is None or abs(now - self._noted) >= PULSE:
            async with self._database.write() as connection:
                await self._fence(connection)
                await self._store.turned(connection, now)
            self._noted = now

    async def run(self) -> None:
        """Lead until cancelled."""
        self._book = None
        failing = False
        while True:
            try:
                while await self.turn():
                    pass
                await self._note_turn()
                failing = False
            except LeaseLost:
                raise
            except _STORE_AWAY as error:
                self._book = None
                if not failing:
                    log.warning("incidents.not_written", error=type(error).__name__)
                failing = True
            try:
                await asyncio.wait_for(self._news.wait(), TICK_S)
            except TimeoutError:
                continue
            finally:
                self._news.clear()

    async def turn(self) -> bool:
        """Work off one page of edges and what is due; whether there may be more at once."""
        book = self._book or await self._read()
        edges = await self._alarms.edges_after(self._place, PAGE)
        for edge in edges:
            book.take(edge)
        now = self._clock.utc()
        if len(edges) < PAGE:
            book.tick(now, await self._store.windows(ending_after=min([now, *_oldest(book)])))
        place = edges[-1].place if edges else self._place
        if book.changes or place != self._place:
            self._book = None  # until it is written, what is in memory counts for nothing
            try:
                await self._write(book, place, now)
            except StaleBook:
                return True
            self._book, self._place = book, place
            self._wake()
        return len(edges) == PAGE

    async def _read(self) -> Book:
        cases, cursor = await self._store.live()
        self._place = cursor.place
        self._book = Book(cases, self._topology, lambda: ulid(self._clock), next_number=cursor.next_number)
        return self._book

    async def _write(self, book: Book, place: EdgePlace, now: datetime) -> None:
        touched = {one: book.cases.get(one) or book.gone[one] for one in book.changes.incidents}
        async with self._database.write() as connection:
            await self._fence(connection)
            last_seq = await self._store.keep(connection, book, (self._place, place), now)
        for case in touched.values():
            incident = case.incident
            seq = max(last_seq, incident.change_seq)
            case.incident = replace(incident, version=incident.version + 1, change_seq=seq)
        book.written()


def _oldest(book: Book) -> list[datetime]:
    """Since when incidents that still form have lasted: planned work that is over by now may cover them."""
    return [case.incident.since for case in book.cases.values() if case.incident.gathers_until is not None]
