"""A whole installation for a bench: broker, store, fleet server, crowd, staff session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from simulators.demo.fleet_client import FleetClient
from support.broker import free_port
from support.hospital import Hospital, hospital, totals
from support.processes import Child
from support.stores import PostgresServer, find_postgres, start_postgres, stop_postgres
from support.waiting import wait_for

PASSWORD = "Blue-Window-42"  # noqa: S105 - of an installation that lives for minutes on loopback
BENCH_POSTGRES = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
}


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A directory that the accounts of broker and database can reach."""
    made = Path(tempfile.mkdtemp(prefix="kiosk-bench-"))
    made.chmod(0o755)  # noqa: ASYNC240 - nothing else runs while a bench prepares its files
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@asynccontextmanager
async def postgres() -> AsyncIterator[PostgresServer]:
    """A PostgreSQL that keeps what it promises, with room for a bench."""
    server = start_postgres(find_postgres(), BENCH_POSTGRES)
    try:
        yield server
    finally:
        stop_postgres(server)


@dataclass(slots=True)
class Crowd:
    """Light kiosks in a process of their own."""

    child: Child
    control: str

    async def totals(self) -> dict[str, Any]:
        """Sums over all of them."""
        return await totals(self.control)

    async def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Give an order."""
        async with aiohttp.ClientSession() as http, http.post(f"{self.control}{path}", json=body) as answer:
            assert answer.ok, await answer.text()


@dataclass(slots=True)
class Site:
    """An installation; servers and crowds are up to the bench."""

    hospital: Hospital
    extra: Mapping[str, str] = field(default_factory=dict)
    server: Child | None = None

    @property
    def server_pid(self) -> int:
        """Process id of the fleet server."""
        assert self.server is not None
        return self.server.pid

    async def start_server(self, roles: str = "ingest,api,duties") -> Child:
        """Start a fleet server; with the role api it answers when this returns."""
        self.server = await self.hospital.start_server(roles=roles)
        return self.server

    async def start_crowd(self, count: int, *options: str, timeout_s: float = 90.0) -> Crowd:
        """Start light kiosks and wait until all are connected."""
        site = self.hospital
        if not site.identities_dir.is_dir():
            site.run("fleet_server", "lab-identities", "--count", str(count), "--out", str(site.identities_dir))
        port = free_port()
        arguments = ["fleet", "run", "--identities", str(site.identities_dir), "--count", str(count), *options]
        arguments += ["--broker", f"localhost:{site.broker_port}", "--control-port", str(port)]
        child = site.start("simulators", *arguments, name="crowd")
        await wait_for(lambda: child.listens_on(port), timeout_s=30.0, what="the crowd's control API")
        crowd = Crowd(child, f"http://127.0.0.1:{port}/api/v1")
        await site.wait_connected(crowd.control, count, timeout_s)
        return crowd

    @asynccontextmanager
    async def signed_in(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A session of the first administrator."""
        base = self.hospital.base_url
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            client = FleetClient(http, base)
            token = (self.hospital.fleet_dir / "first-admin.token").read_text(encoding="ascii").strip()
            answer = await client.first_admin(token, "bench", PASSWORD)
            await client.sign_in("bench", PASSWORD, answer["totp_secret"])
            yield http


@asynccontextmanager
async def site(database: str = "sqlite") -> AsyncIterator[Site]:
    """An initialised installation on either store with its broker running."""
    async with AsyncExitStack() as stack:
        where = await stack.enter_async_context(folder())
        if database == "sqlite":
            url = f"sqlite+aiosqlite:///{where / 'fleet.db'}"
        else:
            server = await stack.enter_async_context(postgres())
            url = server.url(server.create())
        yield Site(await stack.enter_async_context(hospital(where, url)))
