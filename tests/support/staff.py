"""Staff in process, with a cheap hasher that counts what it is asked, and people who sign in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyotp
from argon2 import PasswordHasher

from fleet_server.staff.audit import AuditTrail
from fleet_server.staff.hashing import Passwords
from fleet_server.staff.model import FirstAdminForm, LoginForm, StaffPrincipal, TotpSetup, UserForm
from fleet_server.staff.permissions import Role, permissions_of
from fleet_server.staff.policies import Policies
from fleet_server.staff.recovery import RecoveryDesk, RecoveryService
from fleet_server.staff.service import StaffService
from fleet_server.staff.store import AuditStore, PolicyStore, StaffStore
from kit.clock import ManualClock
from kit.store import Database

TOKEN = "one-time-token-0001"
GOOD = "Blue-Window-42"
SOURCE = "10.0.0.7"


class CountingHasher(PasswordHasher):
    """Argon2id with the smallest parameters; counts verifications."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[bytes | str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - as argon2 calls it
        self.verified.append(hash)
        return super().verify(hash, password)


@dataclass(slots=True)
class Desk:
    """The feature on a store, and people who use it."""

    clock: ManualClock
    store: StaffStore
    audit: AuditStore
    trail: AuditTrail
    hasher: CountingHasher
    service: StaffService
    issuing: RecoveryDesk
    recovery: RecoveryService
    token_file: Path
    slept: list[float]
    secrets: dict[str, str] = field(default_factory=dict)

    async def first_admin(self, username: str = "chief", token: str = TOKEN) -> TotpSetup:
        form = FirstAdminForm(token=token, username=username, password=GOOD, display_name="Chief")
        setup = await self.service.make_first_admin(form, SOURCE)
        self.secrets[username] = setup.totp_secret
        return setup

    async def adds(self, username: str, *roles: Role) -> None:
        form = UserForm(username=username, password=GOOD, display_name=username, roles=list(roles))
        _, setup = await self.service.add_user(form)
        self.secrets[username] = setup.totp_secret

    def code(self, username: str) -> str:
        """What the authenticator app shows now."""
        return pyotp.TOTP(self.secrets[username]).at(self.clock.utc())

    def login(self, username: str, password: str = GOOD, code: str | None = None) -> LoginForm:
        return LoginForm(username=username, password=password, totp=self.code(username) if code is None else code)

    async def signs_in(self, username: str) -> str:
        """Sign in with a fresh code and return the session's token."""
        self.clock.advance(30)
        _, token = await self.service.sign_in(self.login(username), SOURCE)
        return token

    async def principal(self, username: str) -> StaffPrincipal:
        user = await self.service.user(username)
        return StaffPrincipal(username, permissions_of(user.roles), "a-session")

    async def actions(self) -> list[tuple[str, str, str]]:
        rows = await self.audit.rows(after_no=0, limit=1_000)
        return [(row.actor, row.action, row.outcome) for row in rows]


def make_desk(database: Database, clock: ManualClock, folder: Path) -> Desk:
    token_file = folder / "first-admin.token"
    token_file.write_text(TOKEN)
    store, audit = StaffStore(database), AuditStore(database)
    trail, hasher = AuditTrail(audit, clock), CountingHasher()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    passwords = Passwords(hasher)
    policies = Policies(PolicyStore(database), trail, clock)
    service = StaffService(
        store, passwords, trail, policies, first_admin_token_file=token_file, clock=clock, sleep=sleep
    )
    issuing = RecoveryDesk(store, trail, clock)
    recovery = RecoveryService(store, passwords, trail, service.door, policies, clock)
    return Desk(clock, store, audit, trail, hasher, service, issuing, recovery, token_file, slept)
