"""The kiosks' server as it is reached over the network: real TLS, real certificates of every wrong kind."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fleet_server.app import MIGRATIONS, FleetServer
from fleet_server.registry.enrolment import issued_record
from fleet_server.registry.installation import Installation
from fleet_server.registry.model import KioskState
from fleet_server.registry.pki import CertificateAuthority, KeyPair, read_leaf
from fleet_server.registry.provisioning import initialise
from fleet_server.settings import Role, Settings
from kit.clock import SystemClock
from support.registry import HEAD
from support.waiting import wait_for
from wire.enrolment import ServerClock

YEAR = timedelta(days=365)
Reply = tuple[int, dict[str, Any]]  # Any: a JSON document


@dataclass(slots=True)
class KioskSide:
    """What a kiosk can reach."""

    server: FleetServer
    authority: CertificateAuthority
    folder: Path

    @property
    def url(self) -> str:
        assert self.server.kiosk_server is not None
        return f"https://localhost:{self.server.kiosk_server.port}"

    async def enrolled(self, kid: str) -> ssl.SSLContext:
        """Put a kiosk into the registry; its context shows the certificate."""
        core = self.server.core
        await core.registry.import_assets(HEAD + f"{kid},,p,a,,,,k20", actor="test", dry_run=False)
        now = SystemClock().utc()
        leaf, key = self.authority.mint(kid, now=now, life=YEAR)
        async with core.store.writing() as work:
            await work.set_state(kid, KioskState.ENROLLED, at=now)
            await work.add_certificates([issued_record(leaf, now, "test")])
        await core.directory.refresh()
        return self.shows(leaf.pem, key)

    def shows(self, pem: str, key: bytes) -> ssl.SSLContext:
        """A client that trusts the fleet and shows this certificate."""
        context = self.trusts()
        (self.folder / "shown.pem").write_text(pem)
        (self.folder / "shown.key").write_bytes(key)
        context.load_cert_chain(self.folder / "shown.pem", self.folder / "shown.key")
        return context

    def trusts(self) -> ssl.SSLContext:
        """A client without a certificate."""
        return ssl.create_default_context(cadata=self.authority.pem)

    async def renews(self, context: ssl.SSLContext, csr: str | None = None) -> Reply:
        """Ask for the next certificate."""
        body = {"csr": csr or KeyPair().csr_pem("kiosk")}
        return await self.posts("/kiosk/v1/renew", context, body)

    async def posts(self, path: str, context: ssl.SSLContext, body: Any) -> Reply:  # noqa: ANN401 - JSON
        connector = aiohttp.TCPConnector(ssl=context, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(self.url + path, json=body) as reply,
        ):
            return reply.status, await reply.json(content_type=None)


@pytest.fixture
async def side(tmp_path: Path, sqlite_fleet_url: str) -> AsyncIterator[KioskSide]:
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path / "fleet",
            "database_url": sqlite_fleet_url,
            "kiosk_api": {"host": "127.0.0.1", "port": 0},
            "http": {"host": "127.0.0.1", "port": 0},
        }
    )
    await initialise(settings, MIGRATIONS, SystemClock())
    server = await asyncio.to_thread(FleetServer, settings, frozenset({Role.API}), SystemClock())
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(stop=stop), name="server")
        await wait_for(lambda: server.kiosk_server is not None, what="the server to be built")
        assert server.kiosk_server is not None
        await server.kiosk_server.started()
        yield KioskSide(server, await asyncio.to_thread(Installation(settings).load_authority), tmp_path)
        stop.set()


async def test_an_enrolled_kiosk_renews_itself(side: KioskSide) -> None:
    context = await side.enrolled("zzj-001")
    status, answer = await side.renews(context)
    assert status == 200
    assert answer["ca"] == side.authority.pem
    assert read_leaf(answer["certificate"]).name == "zzj-001"


async def test_the_name_in_the_request_is_ignored(side: KioskSide) -> None:
    context = await side.enrolled("zzj-001")
    _, answer = await side.renews(context, KeyPair().csr_pem("zzj-002"))
    assert read_leaf(answer["certificate"]).name == "zzj-001"


async def test_nobody_renews_without_a_certificate(side: KioskSide) -> None:
    assert (await side.renews(side.trusts()))[0] == 401


async def test_a_revoked_kiosk_is_refused_at_once(side: KioskSide) -> None:
    context = await side.enrolled("zzj-001")
    await side.server.core.registry.revoke("zzj-001", "stolen", actor="lead")
    status, problem = await side.renews(context)
    assert (status, problem["code"]) == (403, "certificate_refused")


async def test_a_certificate_of_ours_that_is_not_in_the_registry_is_refused(side: KioskSide) -> None:
    leaf, key = side.authority.mint("zzj-001", now=SystemClock().utc(), life=YEAR)
    assert (await side.renews(side.shows(leaf.pem, key)))[0] == 403


@pytest.mark.parametrize("name", ["fleet-main", "server"])
async def test_a_worker_is_no_kiosk(side: KioskSide, name: str) -> None:
    leaf, key = side.authority.mint(name, now=SystemClock().utc(), life=YEAR)
    assert (await side.renews(side.shows(leaf.pem, key)))[0] == 403


async def test_a_foreign_certificate_does_not_get_through_tls(side: KioskSide) -> None:
    now = SystemClock().utc()
    leaf, key = CertificateAuthority.create(now).mint("zzj-001", now=now, life=YEAR)
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await side.renews(side.shows(leaf.pem, key))


async def test_an_expired_certificate_does_not_get_through_tls(side: KioskSide) -> None:
    now = SystemClock().utc()
    leaf, key = side.authority.mint("zzj-001", now=now - YEAR, life=timedelta(days=1))
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await side.renews(side.shows(leaf.pem, key))


async def test_a_server_certificate_is_no_identity_of_a_kiosk(side: KioskSide) -> None:
    pair = KeyPair()
    leaf = side.authority.issue_server(["zzj-001"], pair.public_key, now=SystemClock().utc(), life=YEAR)
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await side.renews(side.shows(leaf.pem, pair.pem))


async def test_older_tls_is_refused(side: KioskSide) -> None:
    context = side.trusts()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(aiohttp.ClientConnectorError):
        await side.renews(context)


async def test_plain_http_is_not_answered(side: KioskSide) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(side.url.replace("https", "http") + "/kiosk/v1/time")


async def test_the_clock_is_told_to_everybody(side: KioskSide) -> None:
    connector = aiohttp.TCPConnector(ssl=side.trusts(), force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"{side.url}/kiosk/v1/time") as reply,
    ):
        told = ServerClock.model_validate_json(await reply.read())
    assert abs((told.utc - SystemClock().utc()).total_seconds()) < 5


async def test_a_stranger_asks_and_polls(side: KioskSide) -> None:
    body = {"csr": KeyPair().csr_pem("kiosk"), "serial": "SN-1"}
    status, ticket = await side.posts("/enrol/v1/requests", side.trusts(), body)
    assert status == 201
    connector = aiohttp.TCPConnector(ssl=side.trusts(), force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"{side.url}/enrol/v1/requests/{ticket['request_id']}"
        async with session.get(url, headers={"Authorization": f"Bearer {ticket['poll_token']}"}) as reply:
            assert (await reply.json())["state"] == "pending"
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {ticket['poll_token']}"}):
            async with session.get(url, headers=headers) as reply:
                assert reply.status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"csr": "garbage", "serial": "SN-1"}, 422, id="garbage"),
        pytest.param({"csr": "A" * 16_385, "serial": "SN-1"}, 422, id="over the limit of the field"),
        pytest.param({"csr": "A" * 40_000, "serial": "SN-1"}, 413, id="over the limit of the body"),
        pytest.param({"csr": KeyPair().csr_pem("kiosk"), "serial": "S" * 65}, 422, id="serial too long"),
        pytest.param({"serial": "SN-1"}, 422, id="no request"),
        pytest.param([], 422, id="not an object"),
    ],
)
async def test_bad_requests_are_refused(side: KioskSide, body: object, status: int) -> None:
    assert (await side.posts("/enrol/v1/requests", side.trusts(), body))[0] == status


async def test_staff_routes_are_not_on_the_kiosks_server(side: KioskSide) -> None:
    context = await side.enrolled("zzj-001")
    assert (await side.posts("/api/v1/kiosks/zzj-001/revoke", context, {"reason": "x"}))[0] == 404
