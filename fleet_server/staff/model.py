"""Staff: records inside, models at the API's edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fleet_server.staff.permissions import Role
from wire.envelope import Scalar

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""No control characters: PostgreSQL stores no NUL, and a line break would forge a line of a report."""
Username = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{1,31}$")]
Password = Annotated[str, Field(min_length=1, max_length=256)]
DisplayName = Annotated[str, Field(min_length=1, max_length=64, pattern=PRINTABLE)]
TotpCode = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
Language = Literal["zh-CN", "en"]


class Reset(StrEnum):
    """What a recovery replaces; the other one has to be proved."""

    BOTH = "both"
    PASSWORD = "password"  # noqa: S105 - the name of a choice
    TOTP = "totp"


@dataclass(frozen=True, slots=True)
class Recovery:
    """A one-time token is out for an account; until it is used the account opens to nothing else."""

    digest: str
    reset: Reset
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    """One account."""

    username: str
    display_name: str
    roles: tuple[Role, ...]
    language: Language
    password_hash: str
    earlier_hashes: tuple[str, ...]
    totp_secret: str
    totp_last_step: int
    """The newest 30-second step whose code was accepted; older ones are never accepted again."""
    failures: int
    locked_until: datetime | None
    is_active: bool
    created_at: datetime
    password_changed_at: datetime
    recovery: Recovery | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser; only a digest of its token is stored."""

    id: str
    username: str
    digest: str
    created_at: datetime
    last_used_at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A key for scripts: some of its owner's permissions until a date."""

    id: str
    username: str
    digest: str
    name: str
    permissions: frozenset[str]
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StaffPrincipal:
    """Who is calling."""

    id: str
    permissions: frozenset[str]
    session_id: str | None = None
    """None when an API token calls."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the audit trail."""

    no: int
    at: datetime
    actor: str
    action: str
    target: str | None
    outcome: str
    source: str | None
    fields: dict[str, Scalar]
    chain: str


class Form(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FirstAdminForm(Form):
    """The first administrator, by the one-time token."""

    token: Annotated[str, Field(min_length=8, max_length=128)]
    username: Username
    password: Password
    display_name: DisplayName


class LoginForm(Form):
    """Password and second factor at once: a wrong one does not tell which."""

    username: Annotated[str, Field(max_length=64, pattern=PRINTABLE)]
    password: Password
    totp: TotpCode


class PasswordForm(Form):
    """A new password, proved by the old one."""

    current: Password
    new: Password


class RecoveryForm(Form):
    """Take away what somebody lost: by default both the password and the second factor."""

    reset: Reset = Reset.BOTH


class RecoveryTokenForm(Form):
    """The one-time token of a recovery."""

    token: Annotated[str, Field(min_length=8, max_length=128)]


class RecoverForm(RecoveryTokenForm):
    """The new password, or the present one when only the second factor is replaced."""

    password: Password
    totp: TotpCode | None = None
    """A code of the present second factor when only the password is replaced."""


class UserForm(Form):
    """A new account."""

    username: Username
    password: Password
    display_name: DisplayName
    roles: list[Role] = Field(min_length=1, max_length=6)
    language: Language = "zh-CN"


class UserPatch(Form):
    """What may be changed of an account by its administrator."""

    display_name: DisplayName | None = None
    roles: list[Role] | None = Field(default=None, min_length=1, max_length=6)
    is_active: bool | None = None
    unlock: bool = False


class TokenForm(Form):
    """A new API token."""

    name: DisplayName
    permissions: list[str] | None = Field(default=None, max_length=32)
    """Some of the caller's own; all of them when absent."""
    days: int = Field(default=90, ge=1, le=365)


class TotpSetup(BaseModel):
    """Shown once: what an authenticator app needs."""

    totp_secret: str
    totp_uri: str


class RecoveryIssued(BaseModel):
    """Shown once, to be handed to the person the account belongs to."""

    username: str
    token: str
    reset: Reset
    expires_at: datetime


class RecoveryView(BaseModel):
    """What a one-time token opens."""

    username: str
    display_name: str
    reset: Reset
    expires_at: datetime


class Recovered(BaseModel):
    """The account is open again; the second factor, if it is a new one, is shown this once."""

    username: str
    totp_secret: str | None
    totp_uri: str | None


class Me(BaseModel):
    """The caller."""

    username: str
    display_name: str
    roles: list[Role]
    permissions: list[str]
    language: Language


class UserView(BaseModel):
    """An account as its administrator sees it."""

    username: str
    display_name: str
    roles: list[Role]
    language: Language
    is_active: bool
    locked_until: datetime | None
    recovery_expires_at: datetime | None
    """Until when the one-time token that is out for it is good; the account takes no other sign-in meanwhile."""
    created_at: datetime
    password_changed_at: datetime


class UserCreated(UserView, TotpSetup):
    """A new account with its second factor, shown once."""


class SessionView(BaseModel):
    """A session; `is_own` is the caller's."""

    id: str
    username: str
    created_at: datetime
    last_used_at: datetime
    source: str
    is_own: bool


class TokenView(BaseModel):
    """An API token without its secret."""

    id: str
    name: str
    permissions: list[str]
    created_at: datetime
    expires_at: datetime


class TokenCreated(TokenView):
    """A new API token, its secret shown once."""

    token: str


class AuditView(BaseModel):
    """One line of the audit trail."""

    no: int
    at: datetime
    actor: str
    action: str
    target: str | None
    outcome: str
    source: str | None
    fields: dict[str, Scalar]
    chain: str
