"""HTTP of staff: signing in, accounts, sessions, tokens, the audit trail; and who is calling."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from pydantic import AwareDatetime, Field

from fleet_server.staff.audit import AuditHead, AuditTrail
from fleet_server.staff.model import (
    PRINTABLE,
    ApiToken,
    AuditRow,
    AuditView,
    FirstAdminForm,
    Form,
    LoginForm,
    Me,
    PasswordForm,
    PolicyForm,
    PolicyView,
    Recovered,
    RecoverForm,
    RecoveryForm,
    RecoveryIssued,
    RecoveryTokenForm,
    RecoveryView,
    Session,
    SessionView,
    SpareCodes,
    SpareCodesForm,
    StaffPrincipal,
    TokenCreated,
    TokenForm,
    TokenView,
    TotpSetup,
    User,
    UserCreated,
    UserForm,
    UserPatch,
    UserView,
)
from fleet_server.staff.notary import Notary
from fleet_server.staff.permissions import Permission, permissions_of
from fleet_server.staff.ports import AuditEntry, Auditor
from fleet_server.staff.recovery import Asker, RecoveryDesk, RecoveryService
from fleet_server.staff.service import StaffService
from fleet_server.staff.store import AuditStore
from kit.web import SIGNED_IN, Audited, Call, Cookie, FileBody, Page, Routes
from wire.envelope import Scalar

_BEARER: Final = "Bearer "
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Spreadsheets with a Chinese interface take the full-width ones too."""
_BIGGEST: Final = 2**63 - 1
_OWN_ROWS: Final = frozenset(
    {
        ("auth.login", None),
        ("auth.login", "sign_in_refused"),
        ("auth.first_admin", None),
        ("auth.password", None),
        ("auth.login", "password_expired"),
        ("auth.spare_codes", None),
        ("auth.spare_codes", "proof_wrong"),
        ("security.set_policy", None),
        ("auth.recover", None),
        ("auth.recover", "recovery_refused"),
        ("auth.recovery", None),
        ("users.recover_user", None),
        ("acks.acknowledge", None),
        ("acks.look", None),
    }
)
"""Operations and outcomes of which the service writes a better row: it knows the name."""


@dataclass(frozen=True, slots=True)
class CookieName:
    """The session cookie: `__Host-` and Secure behind HTTPS, plain on loopback, where there is no TLS."""

    is_secure: bool

    @property
    def name(self) -> str:
        """The cookie's name."""
        return "__Host-session" if self.is_secure else "session"

    def cookie(self, value: str, max_age_s: int) -> Cookie:
        """The cookie to send; `max_age_s` 0 deletes it."""
        return Cookie(self.name, value, max_age_s=max_age_s, secure=self.is_secure)


class AuditQuery(Form):
    """Filters of the audit trail."""

    actor: str | None = Field(default=None, max_length=64, pattern=PRINTABLE)
    action: str | None = Field(default=None, max_length=64, pattern=PRINTABLE)
    target: str | None = Field(default=None, max_length=64, pattern=PRINTABLE)
    since: AwareDatetime | None = None
    limit: int = Field(default=100, ge=1, le=1_000)
    cursor: int | None = Field(default=None, ge=1, le=_BIGGEST)
    """Only rows before this number."""


class ExportQuery(Form):
    """Which part of the trail to export."""

    after: int = Field(default=0, ge=0, le=_BIGGEST)
    """Only rows after this number: an export of many rows takes several."""
    limit: int = Field(default=10_000, ge=1, le=50_000)


class ChainQuery(Form):
    """A head that was noted earlier and elsewhere: it must still be in the trail."""

    no: int = Field(default=0, ge=0, le=_BIGGEST)
    chain: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class StaffAuthenticator:
    """Finds the caller by session cookie or API token, and audits every attempted change and denied permission."""

    def __init__(self, service: StaffService, auditor: Auditor, cookie: CookieName) -> None:
        """Ask this service."""
        self._service = service
        self._auditor = auditor
        self._cookie = cookie

    async def authenticate(self, request: web.Request) -> StaffPrincipal | None:
        """The caller; None when nobody is known."""
        header = request.headers.get("Authorization", "")
        if header.startswith(_BEARER):
            return await self._service.by_api_token(header[len(_BEARER) :])
        token = request.cookies.get(self._cookie.name)
        return None if not token else await self._service.by_session(token)

    async def audit(self, audited: Audited[StaffPrincipal]) -> None:
        """Keep one operation that changes something, or that its caller may not do."""
        if (audited.operation, audited.code) in _OWN_ROWS:
            return
        outcome = "ok" if audited.status < web.HTTPBadRequest.status_code else "refused"
        actor = audited.principal.id if audited.principal is not None else "anonymous"
        fields: dict[str, Scalar] = {"status": audited.status, "path": audited.path[:200], "code": audited.code}
        await self._auditor.record(AuditEntry(actor, audited.operation, None, outcome, fields, audited.remote))


def staff_routes(
    service: StaffService, store: AuditStore, trail: AuditTrail, notary: Notary, cookie: CookieName
) -> list[Routes]:
    """All routes of this feature but those of recovery."""
    return [
        _sign_in_routes(service, cookie),
        _user_routes(service),
        _session_routes(service),
        _token_routes(service),
        _policy_routes(service),
        _audit_routes(store, trail, notary),
    ]


def recovery_routes(desk: RecoveryDesk, service: RecoveryService) -> list[Routes]:
    """The way back for somebody who lost password or phone."""
    users, auth = Routes("users"), Routes("auth")

    @users.post(
        "/api/v1/users/{username}/recovery",
        permission=Permission.USERS_MANAGE,
        summary="Close an account until its owner comes with the one-time token this makes",
        status=201,
    )
    async def recover_user(call: Call[StaffPrincipal], username: str, body: RecoveryForm) -> RecoveryIssued:
        return await desk.issue(username, body.reset, Asker(call.principal.id, call.remote))

    @auth.post("/api/v1/auth/recovery", permission=None, summary="What a one-time token of a recovery opens")
    async def recovery(call: Call[StaffPrincipal], body: RecoveryTokenForm) -> RecoveryView:
        return await service.look(body.token, call.remote)

    @auth.post("/api/v1/auth/recover", permission=None, summary="Use a one-time token: the account opens again")
    async def recover(call: Call[StaffPrincipal], body: RecoverForm) -> Recovered:
        return await service.redeem(body, call.remote)

    return [users, auth]


def _sign_in_routes(service: StaffService, cookie: CookieName) -> Routes:
    routes = Routes("auth")

    @routes.post("/api/v1/auth/first-admin", permission=None, summary="The first administrator, by one-time token")
    async def first_admin(call: Call[StaffPrincipal], body: FirstAdminForm) -> TotpSetup:
        return await service.make_first_admin(body, call.remote)

    @routes.post("/api/v1/auth/login", permission=None, summary="Open a session")
    async def login(call: Call[StaffPrincipal], body: LoginForm) -> Me:
        user, token = await service.sign_in(body, call.remote)
        policy = await service.policies.now()
        call.set_cookie(cookie.cookie(token, int(policy.session_age.total_seconds())))
        return _me(user, permissions_of(user.roles))

    @routes.post("/api/v1/auth/logout", permission=SIGNED_IN, summary="End the session")
    async def logout(call: Call[StaffPrincipal]) -> None:
        await service.sign_out(call.principal)
        call.set_cookie(cookie.cookie("", 0))

    @routes.get("/api/v1/auth/me", permission=SIGNED_IN, summary="Who is signed in")
    async def me(call: Call[StaffPrincipal]) -> Me:
        return _me(await service.user(call.principal.id), call.principal.permissions)

    @routes.post("/api/v1/auth/password", permission=SIGNED_IN, summary="A new password; ends all own sessions")
    async def password(call: Call[StaffPrincipal], body: PasswordForm) -> None:
        await service.change_password(call.principal, body, call.remote)
        call.set_cookie(cookie.cookie("", 0))

    @routes.post(
        "/api/v1/auth/spare-codes", permission=SIGNED_IN, summary="Ten fresh codes for when the phone is not there"
    )
    async def spare_codes(call: Call[StaffPrincipal], body: SpareCodesForm) -> SpareCodes:
        return await service.renew_spare_codes(call.principal, body, call.remote)

    return routes


def _policy_routes(service: StaffService) -> Routes:
    routes = Routes("security")

    @routes.get("/api/v1/security/policy", permission=SIGNED_IN, summary="Rules for passwords, sign-in and sessions")
    async def policy(call: Call[StaffPrincipal]) -> PolicyView:
        return await service.policies.view()

    @routes.put("/api/v1/security/policy", permission=Permission.SECURITY_MANAGE, summary="Set these rules")
    async def set_policy(call: Call[StaffPrincipal], body: PolicyForm) -> PolicyView:
        return await service.policies.set(body, call.principal.id, call.remote)

    return routes


def _user_routes(service: StaffService) -> Routes:
    routes = Routes("users")

    @routes.get("/api/v1/users", permission=Permission.USERS_MANAGE, summary="All accounts")
    async def users(call: Call[StaffPrincipal]) -> Page[UserView]:
        found = [_user_view(user) for user in await service.users()]
        return Page(items=found, total=len(found))

    @routes.post("/api/v1/users", permission=Permission.USERS_MANAGE, summary="A new account", status=201)
    async def add_user(call: Call[StaffPrincipal], body: UserForm) -> UserCreated:
        user, setup = await service.add_user(body)
        return UserCreated(**_user_view(user).model_dump(), **setup.model_dump())

    @routes.patch("/api/v1/users/{username}", permission=Permission.USERS_MANAGE, summary="Change an account")
    async def patch_user(call: Call[StaffPrincipal], username: str, body: UserPatch) -> UserView:
        return _user_view(await service.patch_user(username, body, call.principal))

    return routes


def _session_routes(service: StaffService) -> Routes:
    routes = Routes("sessions")

    @routes.get("/api/v1/sessions", permission=Permission.SESSIONS_MANAGE, summary="Who is signed in where")
    async def sessions(call: Call[StaffPrincipal]) -> Page[SessionView]:
        found = [_session_view(session, call.principal) for session in await service.sessions()]
        return Page(items=found, total=len(found))

    @routes.delete("/api/v1/sessions/{identifier}", permission=Permission.SESSIONS_MANAGE, summary="End a session")
    async def revoke_session(call: Call[StaffPrincipal], identifier: str) -> None:
        await service.revoke_session(identifier)

    return routes


def _token_routes(service: StaffService) -> Routes:
    routes = Routes("tokens")

    @routes.get("/api/v1/tokens", permission=Permission.TOKENS_OWN, summary="Own API tokens")
    async def tokens(call: Call[StaffPrincipal]) -> Page[TokenView]:
        found = [_token_view(token) for token in await service.tokens(call.principal)]
        return Page(items=found, total=len(found))

    @routes.post("/api/v1/tokens", permission=Permission.TOKENS_OWN, summary="A new API token", status=201)
    async def add_token(call: Call[StaffPrincipal], body: TokenForm) -> TokenCreated:
        token, secret = await service.add_token(call.principal, body)
        return TokenCreated(**_token_view(token).model_dump(), token=secret)

    @routes.delete("/api/v1/tokens/{identifier}", permission=Permission.TOKENS_OWN, summary="Withdraw an API token")
    async def drop_token(call: Call[StaffPrincipal], identifier: str) -> None:
        await service.drop_token(call.principal, identifier)

    return routes


class ChainView(Form):
    """Whether the audit trail is whole."""

    is_whole: bool
    first_bad_no: int | None
    reason: str | None
    head_no: int
    head_chain: str


def _audit_routes(store: AuditStore, trail: AuditTrail, notary: Notary) -> Routes:
    routes = Routes("audit")

    @routes.get("/api/v1/audit", permission=Permission.AUDIT_READ, summary="The audit trail, newest first")
    async def audit(call: Call[StaffPrincipal], query: AuditQuery) -> Page[AuditView]:
        rows = await store.rows(
            before_no=query.cursor,
            actor=query.actor,
            action=query.action,
            target=query.target,
            since=query.since,
            limit=query.limit + 1,
        )
        more = len(rows) > query.limit
        items = [_audit_view(row) for row in rows[: query.limit]]
        head_no, _ = await store.head()
        return Page(items=items, total=head_no, next=str(items[-1].no) if more else None)

    @routes.get("/api/v1/audit/chain", permission=Permission.AUDIT_READ, summary="Verify the whole trail")
    async def chain(call: Call[StaffPrincipal], query: ChainQuery) -> ChainView:
        head = await trail.head()
        found = await trail.verify(None if query.chain is None else AuditHead(query.no, query.chain))
        found = found or await notary.broken()
        return ChainView(
            head_no=head.no,
            head_chain=head.chain,
            is_whole=found is None,
            first_bad_no=None if found is None else found.no,
            reason=None if found is None else found.reason,
        )

    @routes.get("/api/v1/audit.csv", permission=Permission.AUDIT_READ, summary="The audit trail as CSV")
    async def audit_csv(call: Call[StaffPrincipal], query: ExportQuery) -> FileBody:
        rows = await store.rows(after_no=query.after, limit=query.limit)
        if len(rows) == query.limit:
            call.headers["X-Next-After"] = str(rows[-1].no)
        return FileBody(await asyncio.to_thread(_csv, rows), "text/csv; charset=utf-8", "audit.csv")

    return routes


def _csv(rows: Sequence[AuditRow]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(AuditView.model_fields)
    for row in rows:
        cells = _audit_view(row).model_dump(mode="json")
        cells["fields"] = json.dumps(cells["fields"], ensure_ascii=False, sort_keys=True)
        writer.writerow([_cell(value) for value in cells.values()])
    return out.getvalue().encode("utf-8-sig")


def _cell(value: object) -> str:
    """A cell a spreadsheet does not run as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _me(user: User, permissions: frozenset[str]) -> Me:
    return Me(
        username=user.username,
        display_name=user.display_name,
        roles=list(user.roles),
        permissions=sorted(permissions),
        language=user.language,
        spare_codes_left=len(user.spare_codes),
    )


def _user_view(user: User) -> UserView:
    facts = {name: getattr(user, name) for name in UserView.model_fields if name != "recovery_expires_at"}
    expires_at = None if user.recovery is None else user.recovery.expires_at
    return UserView.model_validate({**facts, "recovery_expires_at": expires_at})


def _session_view(session: Session, caller: StaffPrincipal) -> SessionView:
    facts = {name: getattr(session, name) for name in SessionView.model_fields if name != "is_own"}
    return SessionView(**facts, is_own=session.id == caller.session_id)


def _token_view(token: ApiToken) -> TokenView:
    return TokenView(
        id=token.id,
        name=token.name,
        permissions=sorted(token.permissions),
        created_at=token.created_at,
        expires_at=token.expires_at,
    )


def _audit_view(row: AuditRow) -> AuditView:
    return AuditView.model_validate({name: getattr(row, name) for name in AuditView.model_fields})
