"""Sessions of patients at kiosks."""

from __future__ import annotations

from kit.web import Call, Routes
from patient_platform.identity.access import KioskPrincipal
from patient_platform.identity.model import SessionRequest, SessionView
from patient_platform.identity.service import Identity

ROOT = "/platform/v1"


def session_routes(identity: Identity) -> Routes:
    """Open and end sessions."""
    routes = Routes("sessions")

    @routes.post(f"{ROOT}/sessions", permission="kiosk", status=201, summary="Identify a patient")
    async def identify(call: Call[KioskPrincipal], body: SessionRequest) -> SessionView:
        return await identity.identify(call.principal.id, body.medium)

    @routes.delete(f"{ROOT}/sessions/{{session}}", permission="kiosk", summary="The patient leaves")
    async def leave(call: Call[KioskPrincipal], session: str) -> None:
        await identity.end(session, call.principal.id)

    return routes
