"""The hospital as a process: both interfaces and the testers' API on one port of loopback."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from kit.clock import Clock
from kit.supervise import Service
from kit.web import Guard, GuardSettings, HttpServer, Limits
from simulators.his.control import Control
from simulators.his.desk import BOOKS_FILE, Desk, load_books, write_private
from simulators.his.hospital import Hospital
from simulators.his.rest import Rest
from simulators.his.soap import Soap

FACTS_FILE: Final = "his.json"
_BODIES: Final = frozenset({"application/json", "text/xml", "application/soap+xml"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how the hospital runs."""

    folder: Path | None = None
    """For books, token and `his.json`; None keeps all in memory."""
    port: int = 0
    seed: int = 1
    concurrency: int = 64
    offers_past: bool = False
    """Today's slots that have begun are offered all the same."""
    told: Callable[[str], None] | None = None
    """Is given the address of the testers' page."""


class HisServer:
    """`services` is what `kit.supervise.serve` runs."""

    name = "his-facts"

    def __init__(self, clock: Clock, place: Place) -> None:
        """Reads the books of an earlier run, makes a token."""
        folder = place.folder
        file = None if folder is None else folder / BOOKS_FILE
        self.token = secrets.token_urlsafe(24)
        hospital = Hospital(
            clock, place.seed, None if file is None else load_books(file), offers_past=place.offers_past
        )
        self.desk = Desk(hospital, self.token, file, place.concurrency)
        self.soap = Soap(self.desk)
        app = web.Application()
        Rest(self.desk).add_to(app)
        self.soap.add_to(app)
        Control(self.desk).add_to(app)
        guard = Guard(
            GuardSettings(
                hosts=frozenset({"127.0.0.1", "localhost"}),
                origin_required=False,
                body_types=_BODIES,
                limits=Limits(body_bytes=1_000_000),
            )
        )
        self.http = HttpServer("his", app, guard=guard, port=place.port)
        self._place = place
        self._up = asyncio.Event()

    @property
    def services(self) -> tuple[Service, ...]:
        """Everything that runs."""
        return self.http, self.desk, self

    async def started(self) -> None:
        """Wait until everything is up. Raises: ListenError."""
        await self.http.started()
        await self._up.wait()

    async def run(self) -> None:
        """Write the file once all is up; take it away at the end."""
        await self.http.started()
        self.soap.url = f"{self.http.url}/soap"
        folder = self._place.folder
        if folder is not None:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            await self.desk.save()
            await asyncio.to_thread(self._write_facts, folder)
        self._up.set()
        if self._place.told is not None:
            self._place.told(f"{self.http.url}/sim/")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if folder is not None:
                await asyncio.to_thread((folder / FACTS_FILE).unlink, missing_ok=True)

    def _write_facts(self, folder: Path) -> None:
        write_private(folder / "token", self.token)
        facts = {
            "base_url": f"{self.http.url}/hisapi",
            "soap_url": self.soap.url,
            "token_file": str(folder / "token"),
            "control_url": f"{self.http.url}/sim",
        }
        write_private(folder / FACTS_FILE, json.dumps(facts, indent=1))
