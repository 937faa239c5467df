"""Departments, doctors, slots and locks for the patient of a session."""

from __future__ import annotations

from kit.web import Call, Routes
from patient_platform.identity.access import KioskPrincipal
from patient_platform.identity.routes import ROOT
from patient_platform.identity.service import Identity
from patient_platform.registration.model import DepartmentsView, DoctorsView, LockRequest, LockView, SlotsView
from patient_platform.registration.service import Registration

_HERE = f"{ROOT}/sessions/{{session}}"


def registration_routes(registration: Registration, identity: Identity) -> Routes:
    """Choose a doctor and keep a slot."""
    routes = Routes("registration")

    @routes.get(f"{_HERE}/departments", permission="kiosk", summary="Departments of the campus")
    async def departments(call: Call[KioskPrincipal], session: str) -> DepartmentsView:
        await identity.session(session, call.principal.id)
        return await registration.departments()

    @routes.get(f"{_HERE}/departments/{{department}}/doctors", permission="kiosk", summary="Doctors with hours today")
    async def doctors(call: Call[KioskPrincipal], session: str, department: str) -> DoctorsView:
        await identity.session(session, call.principal.id)
        return await registration.doctors(department)

    @routes.get(
        f"{_HERE}/departments/{{department}}/doctors/{{doctor}}/slots", permission="kiosk", summary="Slots of a doctor"
    )
    async def slots(call: Call[KioskPrincipal], session: str, department: str, doctor: str) -> SlotsView:
        await identity.session(session, call.principal.id)
        return await registration.slots(department, doctor)

    @routes.post(f"{_HERE}/slot-locks", permission="kiosk", status=201, summary="Keep a slot")
    async def lock(call: Call[KioskPrincipal], session: str, body: LockRequest) -> LockView:
        return await registration.lock(await identity.session(session, call.principal.id), body)

    @routes.delete(f"{_HERE}/slot-locks/{{lock}}", permission="kiosk", summary="Give a slot back")
    async def unlock(call: Call[KioskPrincipal], session: str, lock: str) -> None:
        await registration.unlock(await identity.session(session, call.principal.id), lock)

    return routes
