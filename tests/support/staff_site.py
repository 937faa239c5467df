"""The staff API of a fleet server as it is reached over the network, on a store, without broker and kiosks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pyotp

from fleet_server.app import FleetServer, _api_server
from fleet_server.registry.pki import CertificateAuthority
from fleet_server.settings import Role as ServerRole
from fleet_server.settings import Settings
from fleet_server.staff.model import Session, User
from fleet_server.staff.permissions import Role
from fleet_server.staff.rules import digest_of
from fleet_server.staff.store import AuditStore, StaffStore
from kit.clock import ManualClock, ulid
from support.staff import GOOD, TOKEN, CountingHasher

PAGE = {"X-Requested-By": "dashboard"}


@cache
def _authority() -> CertificateAuthority:
    return CertificateAuthority.create(ManualClock().utc())


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    document: Any  # Any: a JSON document
    cookies: list[str]

    @property
    def code(self) -> str | None:
        """The problem's code."""
        return self.document.get("code") if isinstance(self.document, dict) else None


@dataclass(slots=True)
class StaffSite:
    """A server and the people who may sign in."""

    url: str
    server: FleetServer
    clock: ManualClock
    http: aiohttp.ClientSession
    store: StaffStore
    audit: AuditStore
    secrets: dict[str, str] = field(default_factory=dict)

    async def adds(self, username: str, *roles: Role) -> None:
        """Put an account into the store."""
        now, secret = self.clock.utc(), pyotp.random_base32()
        self.secrets[username] = secret
        encoded = CountingHasher().hash(GOOD)
        user = User(username, username, tuple(roles), "zh-CN", encoded, (), secret, 0, 0, None, True, now, now)  # noqa: FBT003 - columns
        assert await self.store.add_user(user)

    async def session(self, username: str) -> str:
        """A session as a sign-in would open it."""
        token, now = secrets.token_urlsafe(32), self.clock.utc()
        await self.store.add_session(Session(ulid(self.clock), username, digest_of(token), now, now, "127.0.0.1"))
        return token

    def code(self, username: str) -> str:
        """What the authenticator app shows."""
        return pyotp.TOTP(self.secrets[username]).at(self.clock.utc())

    def login(self, username: str) -> dict[str, str]:
        """The body of a right sign-in."""
        return {"username": username, "password": GOOD, "totp": self.code(username)}

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        session: str | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, with a session cookie as our page does or with an API token."""
        sent = dict(headers or {})
        if session is not None:
            sent = {"Cookie": f"session={session}; __Host-session={session}", **PAGE, **sent}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        options: dict[str, Any] = {} if body is None else {"json": body}
        async with self.http.request(method, self.url + path, headers=sent, **options) as reply:
            content = await reply.read()
            document = await reply.json(content_type=None) if "json" in reply.content_type else None
            return Answer(reply.status, reply.headers, content, document, reply.headers.getall("Set-Cookie", []))

    async def actions(self) -> list[tuple[str, str, str]]:
        """The audit trail, oldest first."""
        rows = await self.audit.rows(after_no=0, limit=10_000)
        return [(row.actor, row.action, row.outcome) for row in rows]


@asynccontextmanager
async def staff_site(
    database_url: str,
    clock: ManualClock,
    folder: Path,
    *,
    public_url: str | None = None,
    settings: Mapping[str, object] | None = None,
) -> AsyncIterator[StaffSite]:
    """Serve the API of the role api on a free port; `settings` come on top of what it needs."""
    chosen = Settings.model_validate(
        {
            "data_dir": folder,
            "database_url": database_url,
            "public_url": public_url,
            "http": {"host": "127.0.0.1", "port": 0},
            **(settings or {}),
        }
    )
    chosen.first_admin_token_file.write_text(TOKEN)

    def build() -> FleetServer:
        return FleetServer(chosen, frozenset({ServerRole.API}), clock, authority=_authority())

    server = await asyncio.to_thread(build)
    await server.core.directory.refresh()
    http_server = await asyncio.to_thread(_api_server, server)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(http_server.run(), name="staff-site")
        await http_server.started()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            database = server.core.database
            yield StaffSite(
                f"http://127.0.0.1:{http_server.port}", server, clock, http, StaffStore(database), AuditStore(database)
            )
        task.cancel()
    await server.core.database.close()
