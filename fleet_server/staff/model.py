"""Staff: records inside, models at the API's edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
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
SecondFactor = Annotated[str, Field(pattern=r"^([0-9]{6}|[a-z2-7]{4}(-[a-z2-7]{4}){3})$")]
"""A code of the authenticator app, or one of the spare codes."""
Language = Literal["zh-CN", "en"]
SsoName = Annotated[str, Field(max_length=128, pattern=PRINTABLE)]


class Reset(StrEnum):
    """What a recovery replaces; the other one has to be proved."""

    BOTH = "both"
    PASSWORD = "password"  # noqa: S105 - the name of a choice
    TOTP = "totp"


class Form(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Policy(Form):
    """What the security administrator may set; the bounds keep it a policy (GB/T 22239-2019, 8.1.4.1)."""

    password_length: int = Field(default=12, ge=10, le=64)
    password_length_mixed: int = Field(default=10, ge=8, le=64)
    """Enough with at least three kinds of characters."""
    password_history: int = Field(default=5, ge=1, le=24)
    """As many passwords, the present one included, may not be used again."""
    password_days: int = Field(default=180, ge=0, le=730)
    """After that many days a password has to be replaced at the next sign-in; 0: never."""
    lock_after: int = Field(default=5, ge=3, le=10)
    lock_minutes: int = Field(default=15, ge=5, le=1_440)
    idle_minutes: int = Field(default=15, ge=5, le=60)
    session_hours: int = Field(default=8, ge=1, le=12)

    @property
    def lock_for(self) -> timedelta:
        """How long an account takes no sign-in after too many failures."""
        return timedelta(minutes=self.lock_minutes)

    @property
    def session_idle(self) -> timedelta:
        """After that long without a click a session is over."""
        return timedelta(minutes=self.idle_minutes)

    @property
    def session_age(self) -> timedelta:
        """After that long every session is over."""
        return timedelta(hours=self.session_hours)


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
    spare_codes: tuple[str, ...] = ()
    """Digests of the one-time codes that stand in for the authenticator app."""
    sso_name: str | None = None
    """What the hospital's single sign-on calls this person; None: signs in here only."""


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
    totp: SecondFactor
    new_password: Password | None = None
    """Asked for by `password_expired`: the present one is too old to open anything else."""


class SpareCodesForm(Form):
    """Both factors again, for ten fresh spare codes."""

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
    sso_name: SsoName | None = None
    """An empty one takes it away."""


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


class SpareCodes(BaseModel):
    """Shown once: each stands in for the authenticator app one time."""

    codes: list[str]


class PolicyForm(Policy):
    """The policy as it is to be; `version` is the one that was looked at."""

    version: int = Field(ge=0)


class PolicyView(Policy):
    """The policy in force."""

    version: int
    changed_at: datetime | None
    changed_by: str | None


class Me(BaseModel):
    """The caller."""

    username: str
    display_name: str
    roles: list[Role]
    permissions: list[str]
    language: Language
    spare_codes_left: int


class UserView(BaseModel):
    """An account as its administrator sees it."""

    username: str
    display_name: str
    roles: list[Role]
    language: Language
    sso_name: str | None
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
