"""The whole product in processes of its own, as a test needs it: broker, fleet servers, crowds of light kiosks.

Nothing of the product is imported: entry points are started, files and sockets are looked at.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psycopg

from support.broker import BrokerProcess
from support.history import HistoryWriter, Outcome
from support.ports import free_port
from support.processes import Child, ChildFailed, http_get
from support.waiting import wait_for

UP_TIMEOUT_S = 30.0
_ROWS = " UNION ALL ".join(
    f"SELECT k.kid, s.epoch, r.seq FROM {table} r JOIN uplink_stream s ON s.no = r.stream_no "  # noqa: S608 - names of ours
    "JOIN registry_kiosk k ON k.no = r.kiosk_no"
    for table in ("telemetry_event", "telemetry_sample")
)


@dataclass(slots=True)
class Hospital:
    """One installation in a folder. Children are stopped in `close`, the last started first."""

    folder: Path
    database_url: str
    broker_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    kiosk_port: int = field(default_factory=free_port)
    broker: BrokerProcess | None = None
    children: list[Child] = field(default_factory=list)

    @property
    def fleet_dir(self) -> Path:
        """The fleet server's data directory."""
        return self.folder / "fleet"

    @property
    def identities_dir(self) -> Path:
        """Certificates of light kiosks."""
        return self.folder / "identities"

    @property
    def base_url(self) -> str:
        """The fleet server's REST API, without a trailing slash."""
        return f"http://127.0.0.1:{self.http_port}"

    def environ(self, worker: str = "main") -> dict[str, str]:
        """Settings of a fleet server of this installation."""
        return {
            "FLEET_DATA_DIR": str(self.fleet_dir),
            "FLEET_DATABASE_URL": self.database_url,
            "FLEET_LAB": "true",
            "FLEET_WORKER": worker,
            "FLEET_PUBLIC_URL": self.base_url,
            "FLEET_HTTP__PORT": str(self.http_port),
            "FLEET_KIOSK_API__HOST": "127.0.0.1",
            "FLEET_KIOSK_API__PORT": str(self.kiosk_port),
            "FLEET_BROKER__PORT": str(self.broker_port),
            "FLEET_BROKER__LISTEN": "127.0.0.1",
        }

    def run(self, module: str, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        """Run an entry point to its end, which must be a good one."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **(environ or self.environ())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120.0,
            check=False,
        )
        if done.returncode != 0:
            raise ChildFailed(f"{module} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr.decode()}")

    def start(self, module: str, *arguments: str, name: str, environ: Mapping[str, str] | None = None) -> Child:
        """Start an entry point that stays."""
        child = Child.of_module(module, *arguments, log_dir=self.folder, env=environ or self.environ(), name=name)
        self.children.append(child)
        return child.start()

    async def start_server(self, *, worker: str = "main", roles: str = "ingest,api,duties") -> Child:
        """Start a fleet server and wait until it serves (role api) or is running."""
        child = self.start(
            "fleet_server", "run", "--role", roles, name=f"server-{worker}", environ=self.environ(worker)
        )
        if "api" in roles:
            await wait_for(self._answers, timeout_s=UP_TIMEOUT_S, what="the fleet server")
        return child

    async def start_crowd(self, count: int, *, history: Path, seed: int = 1) -> tuple[Child, str]:
        """Start light kiosks with identities of their own; the child and the URL of its control API."""
        if not self.identities_dir.is_dir():
            self.run("fleet_server", "lab-identities", "--count", str(count), "--out", str(self.identities_dir))
        port = free_port()
        child = self.start(
            "simulators",
            *("fleet", "run", "--identities", str(self.identities_dir), "--broker", f"localhost:{self.broker_port}"),
            *("--count", str(count), "--control-port", str(port), "--history", str(history), "--seed", str(seed)),
            *("--receipt-timeout-s", "2"),
            name="crowd",
        )
        url = f"http://127.0.0.1:{port}/api/v1"
        await wait_for(lambda: child.listens_on(port), timeout_s=UP_TIMEOUT_S, what="the crowd's control API")
        await self.wait_connected(url, count)
        return child, url

    async def wait_connected(self, control: str, count: int, timeout_s: float = UP_TIMEOUT_S) -> None:
        """Wait until that many light kiosks are connected."""

        async def connected() -> bool:
            return bool((await totals(control))["connected"] == count)

        await wait_for(connected, timeout_s=timeout_s, what=f"{count} kiosks connected")

    async def wait_drained(self, control: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until every record has its receipt; the totals then."""

        async def drained() -> dict[str, Any] | None:
            found = await totals(control)
            return found if found["pending"] == 0 else None

        found: dict[str, Any] | None = await wait_for(drained, timeout_s=timeout_s, what="receipts for everything")
        return found or {}

    async def _answers(self) -> bool:
        try:
            reply = await http_get(f"{self.base_url}/api/v1/health")
        except OSError:
            return False
        return reply.status == HTTPStatus.OK

    def stored(self) -> Iterator[tuple[str, str, int]]:
        """(kiosk, epoch, seq) of every record in the store."""
        if self.database_url.startswith("postgresql"):
            with psycopg.connect(self.database_url.replace("+psycopg", "")) as link:
                yield from link.execute(_ROWS).fetchall()
            return
        with closing(sqlite3.connect(self.database_url.partition(":///")[2])) as link:
            yield from link.execute(_ROWS).fetchall()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What every event of that name in the store says."""
        query = "SELECT body FROM telemetry_event WHERE name = "
        if self.database_url.startswith("postgresql"):
            with psycopg.connect(self.database_url.replace("+psycopg", "")) as link:
                return [json.loads(row[0]) for row in link.execute(f"{query}%s", (name,)).fetchall()]
        with closing(sqlite3.connect(self.database_url.partition(":///")[2])) as link:
            return [json.loads(row[0]) for row in link.execute(f"{query}?", (name,)).fetchall()]

    def write_takes(self, history: Path) -> None:
        """Append what came out to the history of what went in."""
        with HistoryWriter(history, "store") as writer:
            for kid, epoch, seq in self.stored():
                writer.write(Outcome.OK, "take", seq, key=f"{kid}/{epoch}")

    def close(self) -> None:
        """Stop everything, the last started first."""
        for child in reversed(self.children):
            child.close()


async def totals(control: str) -> dict[str, Any]:
    """The crowd's sums."""
    found: dict[str, Any] = (await http_get(f"{control}/totals")).json()
    return found


@asynccontextmanager
async def hospital(folder: Path, database_url: str) -> AsyncIterator[Hospital]:
    """An initialised installation with its broker running; no server yet."""
    found = Hospital(folder, database_url)
    found.run("fleet_server", "init")
    conf = found.fleet_dir / "broker" / "mosquitto.conf"
    async with BrokerProcess(conf_path=conf, port=found.broker_port) as broker:
        found.broker = broker
        try:
            yield found
        finally:
            found.close()
