"""HTTP of the registry: what staff may do (`staff_routes`) and what kiosks may ask for (`kiosk_routes`).

The kiosks' routes live on a server of their own, behind TLS with the fleet CA: enrolment without a client
certificate, renewal only with one.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from pydantic import Field

from fleet_server.registry.enrolment import EnrolmentService
from fleet_server.registry.model import (
    AreaView,
    AssetReport,
    AssetUpload,
    Confirmation,
    EnrolmentView,
    Form,
    IssuedCertificate,
    KioskDetail,
    KioskView,
    PresenceState,
    QuarantineReason,
    Reasoned,
)
from fleet_server.registry.pki import read_leaf
from fleet_server.registry.service import RegistryService
from fleet_server.staff.permissions import Permission
from kit.clock import Clock
from kit.web import Call, Page, Problem, Routes, peer_certificate
from wire.enrolment import (
    EnrolmentRequest,
    EnrolmentState,
    EnrolmentStatus,
    EnrolmentTicket,
    RenewalAnswer,
    RenewalRequest,
    ServerClock,
)
from wire.envelope import Code
from wire.functions import FunctionState

KIOSK_SELF: Final = "kiosk.self"
"""What a kiosk may do with its own certificate."""
ANY_FUNCTION: Final = "any"
ASSETS_BODY_BYTES: Final = 4_194_304
ENROL_BODY_BYTES: Final = 32_768


class KioskQuery(Form):
    """Filters of the fleet list."""

    area: str | None = Field(default=None, max_length=64)
    floor: str | None = Field(default=None, max_length=16)
    presence: PresenceState | None = None
    function_lost: Code | None = None
    """Kiosks at which patients cannot do this now; `any`: at which there is anything they cannot do."""
    q: str | None = Field(default=None, max_length=64)
    """Part of id, asset number, serial number or place."""
    limit: int = Field(default=100, ge=1, le=1_000)
    cursor: str | None = Field(default=None, max_length=128)


class EnrolmentQuery(Form):
    """Which requests to show."""

    state: list[EnrolmentState] = Field(default_factory=lambda: [EnrolmentState.PENDING], max_length=4)


@dataclass(frozen=True, slots=True)
class KioskPrincipal:
    """A kiosk that proved its identity by its certificate."""

    id: str
    certificate: IssuedCertificate
    permissions: frozenset[str] = frozenset({KIOSK_SELF})


def staff_routes(registry: RegistryService, enrolment: EnrolmentService) -> list[Routes]:
    """Routes for people, below /api/v1."""
    return [_fleet_routes(registry), _state_routes(registry), _enrolment_routes(enrolment)]


def _fleet_routes(registry: RegistryService) -> Routes:
    routes = Routes("kiosks")

    @routes.get("/api/v1/kiosks", permission=Permission.KIOSKS_READ, summary="The fleet, filtered, page by page")
    async def kiosks(call: Call, query: KioskQuery) -> Page[KioskView]:
        found = [view for view in await registry.views() if _matches(view, query)]
        after = _cursor_kid(query.cursor)
        rest = found if after is None else [view for view in found if view.kid > after]
        items = rest[: query.limit]
        more = len(rest) > len(items)
        return Page(items=items, total=len(found), next=_cursor(items[-1].kid) if more else None)

    @routes.get("/api/v1/kiosks/{kid}", permission=Permission.KIOSKS_READ, summary="One kiosk, whole")
    async def kiosk(call: Call, kid: str) -> KioskDetail:
        return await registry.detail(kid)

    @routes.get("/api/v1/areas", permission=Permission.KIOSKS_READ, summary="Areas and floors that have kiosks")
    async def areas(call: Call) -> list[AreaView]:
        return registry.areas()

    @routes.post(
        "/api/v1/assets/import",
        permission=Permission.ASSETS_IMPORT,
        summary="Take over an asset list, or only check it",
        body_bytes=ASSETS_BODY_BYTES,
    )
    async def import_assets(call: Call, body: AssetUpload) -> AssetReport:
        return await registry.import_assets(body.csv, actor=call.principal.id, dry_run=body.dry_run)

    return routes


def _state_routes(registry: RegistryService) -> Routes:
    routes = Routes("kiosk_states")

    @routes.post(
        "/api/v1/kiosks/{kid}/revoke",
        permission=Permission.KIOSKS_REVOKE,
        summary="Take the identity away and cut it off",
    )
    async def revoke(call: Call, kid: str, body: Reasoned) -> KioskDetail:
        await registry.revoke(kid, body.reason, actor=call.principal.id)
        return await registry.detail(kid)

    @routes.post(
        "/api/v1/kiosks/{kid}/quarantine", permission=Permission.KIOSKS_REVOKE, summary="Stop listening to a kiosk"
    )
    async def quarantine(call: Call, kid: str, body: Reasoned) -> KioskDetail:
        done = await registry.quarantine(kid, QuarantineReason.MANUAL, body.reason, actor=call.principal.id)
        view = await registry.detail(kid)
        if not done:
            raise Problem(409, "state_conflict", "Only an enrolled kiosk can be quarantined")
        return view

    @routes.post("/api/v1/kiosks/{kid}/release", permission=Permission.KIOSKS_ENROL, summary="End the quarantine")
    async def release(call: Call, kid: str) -> KioskDetail:
        await registry.release(kid, actor=call.principal.id)
        return await registry.detail(kid)

    @routes.post(
        "/api/v1/kiosks/{kid}/retire", permission=Permission.KIOSKS_REVOKE, summary="Take it out of the fleet for ever"
    )
    async def retire(call: Call, kid: str, body: Reasoned) -> KioskDetail:
        await registry.retire(kid, body.reason, actor=call.principal.id)
        return await registry.detail(kid)

    return routes


def _enrolment_routes(enrolment: EnrolmentService) -> Routes:
    routes = Routes("enrolments")

    @routes.get("/api/v1/enrolments", permission=Permission.KIOSKS_ENROL, summary="Machines that ask for an identity")
    async def enrolments(call: Call, query: EnrolmentQuery) -> Page[EnrolmentView]:
        found = await enrolment.listed(tuple(query.state))
        return Page(items=found, total=len(found))

    @routes.post(
        "/api/v1/enrolments/{identifier}/confirm",
        permission=Permission.KIOSKS_ENROL,
        summary="Give the machine with this code on its screen the identity of an asset",
    )
    async def confirm(call: Call, identifier: str, body: Confirmation) -> EnrolmentView:
        return await enrolment.confirm(identifier, body, actor=call.principal.id)

    @routes.post(
        "/api/v1/enrolments/{identifier}/refuse", permission=Permission.KIOSKS_ENROL, summary="Turn a request down"
    )
    async def refuse(call: Call, identifier: str, body: Reasoned) -> EnrolmentView:
        return await enrolment.refuse(identifier, body.reason, actor=call.principal.id)

    return routes


def kiosk_routes(enrolment: EnrolmentService, clock: Clock) -> list[Routes]:
    """Routes for machines; `kiosk_authentication` goes with them."""
    return [_stranger_routes(enrolment, clock), _member_routes(enrolment)]


def _stranger_routes(enrolment: EnrolmentService, clock: Clock) -> Routes:
    routes = Routes("enrol")

    @routes.post(
        "/enrol/v1/requests",
        permission=None,
        summary="Ask for an identity",
        status=201,
        body_bytes=ENROL_BODY_BYTES,
    )
    async def request(call: Call, body: EnrolmentRequest) -> EnrolmentTicket:
        return await enrolment.request(body, call.remote)

    @routes.get("/enrol/v1/requests/{identifier}", permission=None, summary="What became of a request")
    async def status(call: Call, identifier: str) -> EnrolmentStatus:
        scheme, _, token = call.request.headers.get("Authorization", "").partition(" ")
        found = await enrolment.poll(identifier, token) if scheme.lower() == "bearer" else None
        if found is None:
            raise Problem(401, "unauthenticated", "Unknown request or wrong token")
        return found

    @routes.get("/kiosk/v1/time", permission=None, summary="The server's clock")
    async def time(call: Call) -> ServerClock:
        return ServerClock(utc=clock.utc())

    return routes


def _member_routes(enrolment: EnrolmentService) -> Routes:
    routes = Routes("kiosk")

    @routes.post("/kiosk/v1/renew", permission=KIOSK_SELF, summary="The next certificate", body_bytes=ENROL_BODY_BYTES)
    async def renew(call: Call[KioskPrincipal], body: RenewalRequest) -> RenewalAnswer:
        return await enrolment.renew(call.principal.certificate, body.csr)

    return routes


class KioskAuthentication:
    """Knows kiosks by their client certificate; TLS has checked signature, purpose and dates."""

    def __init__(self, enrolment: EnrolmentService) -> None:
        """Look certificates up there."""
        self._enrolment = enrolment

    async def authenticate(self, request: web.Request) -> KioskPrincipal | None:
        """The kiosk behind a request, None without a certificate.

        Raises:
            Problem: the certificate is revoked or not of a kiosk.
        """
        der = peer_certificate(request)
        if der is None:
            return None
        try:
            leaf = read_leaf(der)
        except ValueError:
            raise _refused() from None
        certificate = await self._enrolment.authenticate(leaf.fingerprint)
        if certificate is None:
            raise _refused()
        return KioskPrincipal(certificate.kid, certificate)


def _refused() -> Problem:
    return Problem(403, "certificate_refused", "This certificate opens no doors")


def _matches(view: KioskView, query: KioskQuery) -> bool:
    if query.area is not None and view.area != query.area:
        return False
    if query.floor is not None and view.floor != query.floor:
        return False
    if query.presence is not None and view.presence is not query.presence:
        return False
    if query.function_lost is not None and not _has_lost(view, query.function_lost):
        return False
    needle = (query.q or "").strip().lower()
    return not needle or any(
        needle in text.lower() for text in (view.kid, view.asset_no, view.serial or "", view.place)
    )


def _has_lost(view: KioskView, function: str) -> bool:
    lost = {status.function for status in view.functions if status.state is FunctionState.LOST}
    return bool(lost) if function == ANY_FUNCTION else function in lost


def _cursor(kid: str) -> str:
    return base64.urlsafe_b64encode(kid.encode()).decode()


def _cursor_kid(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise Problem(422, "cursor_invalid", "The cursor is not one of ours") from None
