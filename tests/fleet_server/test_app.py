"""One process of the fleet server: its servers, its roles, and who does the duties."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from fleet_server.app import MIGRATIONS, FleetServer, openapi_document, require_schema
from fleet_server.errors import SetupError
from fleet_server.leadership import Leadership
from fleet_server.registry.provisioning import initialise
from fleet_server.registry.store import METADATA
from fleet_server.settings import Role, Settings
from fleet_server.staff.permissions import Permission
from kit.clock import ManualClock, SystemClock
from kit.store import Database, Leases, check, downgrade, lease_table, upgrade
from kit.web import SIGNED_IN
from support.waiting import wait_for

CLOCK = SystemClock()


@pytest.fixture
async def settings(tmp_path: Path, sqlite_fleet_url: str) -> Settings:
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path / "fleet",
            "database_url": sqlite_fleet_url,
            "kiosk_api": {"host": "127.0.0.1", "port": 0},
            "http": {"host": "127.0.0.1", "port": 0},
        }
    )
    await initialise(settings, MIGRATIONS, CLOCK)
    return settings


@asynccontextmanager
async def serving(settings: Settings, *roles: Role) -> AsyncIterator[FleetServer]:
    server = await asyncio.to_thread(FleetServer, settings, frozenset(roles), CLOCK)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(stop=stop), name="server")
        if Role.API in roles:
            await wait_for(lambda: server.api_server is not None, what="the server to be built")
            assert server.api_server is not None
            await server.api_server.started()
        yield server
        stop.set()


async def test_health_is_public_and_everything_else_is_not(settings: Settings) -> None:
    async with serving(settings, Role.API) as server, aiohttp.ClientSession() as session:
        assert server.api_server is not None
        url = server.api_server.url
        async with session.get(f"{url}/api/v1/health") as reply:
            assert (reply.status, (await reply.json())["roles"]) == (200, ["api"])
        for path in ("kiosks", "kiosks/zzj-001", "areas", "enrolments"):
            async with session.get(f"{url}/api/v1/{path}") as reply:
                assert reply.status == 401, path
        async with session.post(f"{url}/api/v1/assets/import", json={"csv": ""}) as reply:
            assert reply.status == 401


async def test_metrics_are_for_this_machine(settings: Settings) -> None:
    async with serving(settings, Role.API) as server, aiohttp.ClientSession() as session:
        assert server.api_server is not None
        async with session.get(f"{server.api_server.url}/metrics") as reply:
            assert reply.status == 200
            assert "fleet_duties_leader" in await reply.text()


async def test_another_host_name_is_not_served(settings: Settings) -> None:
    async with serving(settings, Role.API) as server, aiohttp.ClientSession() as session:
        assert server.api_server is not None
        headers = {"Host": "evil.example"}
        async with session.get(f"{server.api_server.url}/api/v1/health", headers=headers) as reply:
            assert reply.status == 421


async def test_a_worker_without_certificate_is_told_so_before_anything_starts(settings: Settings) -> None:
    stranger = settings.model_copy(update={"worker": "second"})
    for role in (Role.INGEST, Role.DUTIES):
        with pytest.raises(SetupError, match="fleet-second"):
            await asyncio.to_thread(FleetServer, stranger, frozenset({role}), CLOCK)


async def test_a_store_of_another_release_is_refused(tmp_path: Path, sqlite_fleet_url: str) -> None:
    await asyncio.to_thread(downgrade, sqlite_fleet_url, MIGRATIONS, "0001")
    with pytest.raises(SetupError, match="fleet-server migrate"):
        await require_schema(sqlite_fleet_url)


async def test_the_migrations_make_what_the_stores_declare(fleet_url: str) -> None:
    await check(fleet_url, MIGRATIONS)


def test_the_migrations_go_back_and_forth(database_url: str) -> None:
    upgrade(database_url, MIGRATIONS)
    downgrade(database_url, MIGRATIONS, "base")
    upgrade(database_url, MIGRATIONS)


async def test_every_operation_asks_for_a_permission_of_the_table(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    document = await asyncio.to_thread(openapi_document, settings, CLOCK)
    known = {permission.value for permission in Permission} | {SIGNED_IN, None}
    public: set[str] = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            permission = operation.get("x-permission")
            assert permission in known, path
            if permission is None:
                public.add(path)
    ways_in = {"login", "first-admin", "recovery", "recover"}
    links = {"/api/v1/ack", "/api/v1/ack/look"}
    health = {"/api/v1/health", "/api/v1/health/alerting"}
    assert public == health | links | {f"/api/v1/auth/{way}" for way in ways_in}


class Duty:
    """Counts its starts and says whether it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.starts = 0
        self.is_running = False

    async def run(self) -> None:
        self.starts += 1
        self.is_running = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.is_running = False


async def test_one_process_at_a_time_does_the_duties(sqlite_fleet_db: Database, manual_clock: ManualClock) -> None:
    leases = Leases(sqlite_fleet_db, lease_table(METADATA), manual_clock)
    first, second = Duty("first"), Duty("second")
    leader = Leadership(leases, "a", [first])
    other = Leadership(leases, "b", [second])
    async with asyncio.TaskGroup() as group:
        leading = group.create_task(leader.run(), name="a")
        await wait_for(lambda: first.is_running, what="the first to lead")
        waiting = group.create_task(other.run(), name="b")
        assert await leases.acquire("duties", "c", 1.0) is None
        leading.cancel()
        await wait_for(lambda: not first.is_running, what="the first to stop")
        waiting.cancel()
        waiting = group.create_task(other.run(), name="b again")
        await wait_for(lambda: second.is_running, what="the second to lead")
        assert second.starts == 1
        waiting.cancel()
