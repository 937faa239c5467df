"""A fleet server for the pages: the real API's shapes over a made-up hospital, changed by the test itself."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from e2e import mock_hospital
from e2e.mock_casework import MockCasework
from e2e.mock_duty import MockDuty
from e2e.mock_live import MockLive

from fleet_server.alerts.model import AlarmQuery, AlarmView
from fleet_server.presence.model import ComponentsView, PresenceQuery, PresenceTimeline
from fleet_server.registry.model import (
    AreaView,
    Confirmation,
    EnrolmentView,
    FloorView,
    KioskDetail,
    KioskState,
    KioskView,
    Reasoned,
)
from fleet_server.registry.routes import EnrolmentQuery, KioskQuery
from fleet_server.staff.model import (
    FirstAdminForm,
    LoginForm,
    Me,
    Recovered,
    RecoverForm,
    RecoveryTokenForm,
    RecoveryView,
    Reset,
    TotpSetup,
)
from fleet_server.staff.permissions import Permission, Role, permissions_of
from fleet_server.telemetry.model import EventQuery, EventView, TelemetryQuery, TelemetryView
from kit.clock import Clock, SystemClock
from kit.web import (
    SIGNED_IN,
    Api,
    Call,
    Cookie,
    Guard,
    GuardSettings,
    Hooks,
    HttpServer,
    Page,
    Problem,
    Routes,
    open_websocket,
    static_site,
)
from wire.enrolment import EnrolmentState

if TYPE_CHECKING:
    from pathlib import Path

USERNAME, PASSWORD, TOTP = "chen.wei", "correct horse battery", "123456"
FIRST_ADMIN_TOKEN = "one-time-token-for-the-first-admin"
RECOVERY_TOKEN = "one-time-token-of-a-recovery"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
COOKIE = "session"


class Staff:
    """The only user; a test may give other roles before the sign-in."""

    id = USERNAME

    def __init__(self, roles: list[Role]) -> None:
        self.roles = roles
        self.permissions = permissions_of(roles)


class MockServer:
    """One server; what a test changes shows at the next request."""

    def __init__(self, dist: Path | None, *, count: int = 100, clock: Clock | None = None) -> None:
        self.hospital = mock_hospital.make(count, now=(clock or SystemClock()).utc())
        self.live = MockLive(self.hospital)
        self.casework = MockCasework(self.hospital.now)
        self.duty = MockDuty(self.hospital.now)
        self.sessions: set[str] = set()
        self.staff = Staff([Role.LEAD])
        self.is_failing = False
        """Every API request is answered 503."""
        self.has_admin = True
        self.recovery: Reset | None = None
        """What the recovery token replaces; None: there is none out."""
        self.recovered: RecoverForm | None = None
        api = Api(
            "fleet",
            "1",
            [
                self._auth(),
                self._recovery(),
                self._kiosks(),
                self._history(),
                self._enrolments(),
                *self.casework.routes(),
                *self.duty.routes(),
            ],
            self._hooks(),
        )
        self.openapi = api.openapi
        app = web.Application(middlewares=[self._failures()])
        api.mount(app)
        if dist is not None:
            static_site(app, dist)
        guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1", "localhost"})))
        self.http = HttpServer("mock", app, guard=guard)

    def _hooks(self) -> Hooks[Staff]:
        async def authenticate(request: web.Request) -> Staff | None:
            return self.staff if request.cookies.get(COOKIE) in self.sessions else None

        return Hooks(authenticate=authenticate)

    def _failures(self) -> Middleware:
        @web.middleware
        async def failing(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.is_failing and request.path.startswith("/api/"):
                raise web.HTTPServiceUnavailable
            return await handler(request)

        return failing

    def _auth(self) -> Routes:
        routes = Routes("auth")

        @routes.post("/api/v1/auth/first-admin", permission=None, summary="Make the first administrator")
        async def first_admin(call: Call[Staff], body: FirstAdminForm) -> TotpSetup:
            if self.has_admin or body.token != FIRST_ADMIN_TOKEN:
                raise Problem(403, "token_refused", "The one-time token is wrong or was used already")
            self.has_admin = True
            return TotpSetup(totp_secret=SECRET, totp_uri=_uri(body.username))

        @routes.post("/api/v1/auth/login", permission=None, summary="Sign in")
        async def login(call: Call[Staff], body: LoginForm) -> Me:
            if (body.username, body.password, body.totp) != (USERNAME, PASSWORD, TOTP):
                raise Problem(401, "sign_in_refused", "User name, password or code is wrong")
            token = secrets.token_urlsafe()
            self.sessions.add(token)
            call.set_cookie(Cookie(COOKIE, token, secure=False))
            return self._me()

        @routes.post("/api/v1/auth/logout", permission=SIGNED_IN, summary="Sign out")
        async def logout(call: Call[Staff]) -> None:
            self.sessions.discard(call.request.cookies.get(COOKIE, ""))

        @routes.get("/api/v1/auth/me", permission=SIGNED_IN, summary="Who am I")
        async def me(call: Call[Staff]) -> Me:
            return self._me()

        return routes

    def _me(self) -> Me:
        return Me(
            username=USERNAME,
            display_name="陈伟",
            roles=self.staff.roles,
            permissions=sorted(self.staff.permissions),
            language="zh-CN",
            spare_codes_left=0,
        )

    def _kiosk(self, kid: str) -> KioskView:
        row = self.hospital.kiosks.get(kid)
        if row is None:
            raise Problem(404, "kiosk_unknown", "There is no such kiosk")
        return row

    def _recovery(self) -> Routes:
        routes = Routes("auth")

        def reset_of(body: RecoveryTokenForm) -> Reset:
            if self.recovery is None or body.token != RECOVERY_TOKEN:
                raise Problem(403, "recovery_refused", "The token is wrong, was used or has expired")
            return self.recovery

        @routes.post("/api/v1/auth/recovery", permission=None, summary="What a token opens")
        async def recovery(call: Call[Staff], body: RecoveryTokenForm) -> RecoveryView:
            return RecoveryView(
                username=USERNAME, display_name="陈伟", reset=reset_of(body), expires_at=SystemClock().utc()
            )

        @routes.post("/api/v1/auth/recover", permission=None, summary="Use a token")
        async def recover(call: Call[Staff], body: RecoverForm) -> Recovered:
            reset = reset_of(body)
            self.recovered = body
            self.recovery = None
            if reset is Reset.PASSWORD:
                return Recovered(username=USERNAME, totp_secret=None, totp_uri=None)
            return Recovered(username=USERNAME, totp_secret=SECRET, totp_uri=_uri(USERNAME))

        return routes

    def _kiosks(self) -> Routes:
        routes = Routes("kiosks")

        @routes.get("/api/v1/kiosks", permission=Permission.KIOSKS_READ, summary="Kiosks")
        async def kiosks(call: Call[Staff], query: KioskQuery) -> Page[KioskView]:
            rows = list(self.hospital.kiosks.values())
            start = int(query.cursor or 0)
            end = start + query.limit
            return Page(items=rows[start:end], total=len(rows), next=str(end) if end < len(rows) else None)

        @routes.get("/api/v1/kiosks/{kid}", permission=Permission.KIOSKS_READ, summary="One kiosk")
        async def kiosk(call: Call[Staff], kid: str) -> KioskDetail:
            self._kiosk(kid)
            return self.hospital.detail(kid)

        @routes.get("/api/v1/areas", permission=Permission.KIOSKS_READ, summary="Areas and floors")
        async def areas(call: Call[Staff]) -> list[AreaView]:
            return [
                AreaView(area=area, kiosks=0, floors=[FloorView(floor=floor, kiosks=0) for floor in floors])
                for area, floors, _ in mock_hospital.AREAS
            ]

        @routes.get("/api/v1/live", permission=Permission.KIOSKS_READ, summary="Live rows")
        async def live(call: Call[Staff]) -> web.WebSocketResponse:
            socket = await open_websocket(call.request)
            await self.live.serve(socket)
            return socket

        @routes.post("/api/v1/kiosks/{kid}/revoke", permission=Permission.KIOSKS_REVOKE, summary="Revoke a kiosk")
        async def revoke(call: Call[Staff], kid: str, body: Reasoned) -> KioskDetail:
            self._kiosk(kid)
            return await self._changed(kid, KioskState.REVOKED)

        @routes.post("/api/v1/kiosks/{kid}/quarantine", permission=Permission.KIOSKS_REVOKE, summary="Quarantine")
        async def quarantine(call: Call[Staff], kid: str, body: Reasoned) -> KioskDetail:
            self._kiosk(kid)
            return await self._changed(kid, KioskState.QUARANTINED)

        @routes.post("/api/v1/kiosks/{kid}/release", permission=Permission.KIOSKS_ENROL, summary="End a quarantine")
        async def release(call: Call[Staff], kid: str) -> KioskDetail:
            if self._kiosk(kid).state is not KioskState.QUARANTINED:
                raise Problem(409, "state_conflict", "The kiosk is not in quarantine")
            return await self._changed(kid, KioskState.ENROLLED)

        return routes

    async def _changed(self, kid: str, state: KioskState) -> KioskDetail:
        self.hospital.change(kid, state=state)
        await self.live.push(kid)
        return self.hospital.detail(kid)

    def _history(self) -> Routes:
        routes = Routes("history")

        @routes.get("/api/v1/kiosks/{kid}/presence", permission=Permission.KIOSKS_READ, summary="Presence over time")
        async def presence(call: Call[Staff], kid: str, query: PresenceQuery) -> PresenceTimeline:
            self._kiosk(kid)
            now = self.hospital.now
            return self.hospital.presence(kid, query.since or now, query.until or now)

        @routes.get("/api/v1/kiosks/{kid}/telemetry", permission=Permission.KIOSKS_READ, summary="Telemetry over time")
        async def telemetry(call: Call[Staff], kid: str, query: TelemetryQuery) -> TelemetryView:
            self._kiosk(kid)
            now = self.hospital.now
            return self.hospital.telemetry(kid, query.metric, query.since or now, query.until or now, query.points)

        @routes.get("/api/v1/kiosks/{kid}/events", permission=Permission.KIOSKS_READ, summary="Events, newest first")
        async def events(call: Call[Staff], kid: str, query: EventQuery) -> Page[EventView]:
            self._kiosk(kid)
            found = [event for event in self.hospital.events(kid) if query.kind in {None, event.kind}]
            start = int((query.cursor or "0.0").partition(".")[2])
            end = start + query.limit
            return Page(items=found[start:end], total=len(found), next=f"0.{end}" if end < len(found) else None)

        @routes.get("/api/v1/kiosks/{kid}/components", permission=Permission.KIOSKS_READ, summary="Components")
        async def components(call: Call[Staff], kid: str) -> ComponentsView:
            self._kiosk(kid)
            return self.hospital.components(kid)

        @routes.get("/api/v1/alarms", permission=Permission.KIOSKS_READ, summary="Alarms")
        async def alarms(call: Call[Staff], query: AlarmQuery) -> Page[AlarmView]:
            found = [alarm for alarm in self.hospital.alarms.values() if query.kid in {None, alarm.kid}]
            return Page(items=found, total=len(found))

        return routes

    def _enrolments(self) -> Routes:
        routes = Routes("enrolments")

        @routes.get("/api/v1/enrolments", permission=Permission.KIOSKS_ENROL, summary="Requests for an identity")
        async def enrolments(call: Call[Staff], query: EnrolmentQuery) -> Page[EnrolmentView]:
            found = [one for one in self.hospital.enrolments.values() if one.state in query.state]
            return Page(items=found, total=len(found))

        @routes.post("/api/v1/enrolments/{identifier}/confirm", permission=Permission.KIOSKS_ENROL, summary="Confirm")
        async def confirm(call: Call[Staff], identifier: str, body: Confirmation) -> EnrolmentView:
            request = self._pending(identifier)
            if body.code != self.hospital.codes[identifier]:
                left = request.tries_left - 1
                state = EnrolmentState.PENDING if left else EnrolmentState.REFUSED
                self.hospital.enrolments[identifier] = request.model_copy(update={"tries_left": left, "state": state})
                raise Problem(422, "code_wrong" if left else "code_exhausted", "The code is wrong")
            row = self._kiosk(body.kid)
            if row.serial != request.serial and not body.accept_serial_mismatch:
                raise Problem(409, "serial_mismatch", "The serial number differs from the asset list")
            return await self._decided(identifier, EnrolmentState.CONFIRMED, body.kid, None)

        @routes.post("/api/v1/enrolments/{identifier}/refuse", permission=Permission.KIOSKS_ENROL, summary="Refuse")
        async def refuse(call: Call[Staff], identifier: str, body: Reasoned) -> EnrolmentView:
            self._pending(identifier)
            return await self._decided(identifier, EnrolmentState.REFUSED, None, body.reason)

        return routes

    def _pending(self, number: str) -> EnrolmentView:
        request = self.hospital.enrolments.get(number)
        if request is None or request.state is not EnrolmentState.PENDING:
            raise Problem(409, "enrolment_decided", "The request is not pending any more")
        return request

    async def _decided(self, number: str, state: EnrolmentState, kid: str | None, reason: str | None) -> EnrolmentView:
        done = self.hospital.enrolments[number].model_copy(
            update={
                "state": state,
                "kid": kid,
                "reason": reason,
                "decided_at": self.hospital.now,
                "decided_by": USERNAME,
            }
        )
        self.hospital.enrolments[number] = done
        if kid is not None:
            self.hospital.change(kid, state=KioskState.ENROLLED)
            await self.live.push(kid)
        return done


def _uri(username: str) -> str:
    return f"otpauth://totp/Fleet:{username}?secret={SECRET}&issuer=Fleet"
