"""Unpaid bills of the patient of a session."""

from __future__ import annotations

from kit.web import Call, Routes
from patient_platform.bills.model import BillsView
from patient_platform.bills.service import Bills
from patient_platform.identity.access import KioskPrincipal
from patient_platform.identity.routes import ROOT
from patient_platform.identity.service import Identity


def bill_routes(bills: Bills, identity: Identity) -> Routes:
    """Show what has to be paid."""
    routes = Routes("bills")

    @routes.get(f"{ROOT}/sessions/{{session}}/bills", permission="kiosk", summary="Unpaid bills")
    async def unpaid(call: Call[KioskPrincipal], session: str) -> BillsView:
        return await bills.unpaid(await identity.session(session, call.principal.id))

    return routes
