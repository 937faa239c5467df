"""Orders for kiosks: pay, watch, cancel, paper. Making an order belongs to the feature that knows what is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kit.web import Call, Problem, Routes
from patient_platform.identity.access import KioskPrincipal
from patient_platform.identity.routes import ROOT
from patient_platform.identity.service import Identity
from patient_platform.identity.vault import Vault
from patient_platform.payment.service import Payments, PayRequest
from patient_platform.payment.views import (
    PAPER_EVENTS,
    OrdersView,
    OrderView,
    PaperBody,
    PayBody,
    ReceiptView,
    WaitQuery,
    receipt,
    view,
)

KEY_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class Paper:
    """What receipts need beside the order."""

    identity: Identity
    vault: Vault
    hospital: str
    campus: str


def order_routes(payments: Payments) -> Routes:
    """Everything a kiosk does with an order it has."""
    routes = Routes("orders")
    one = f"{ROOT}/orders/{{order}}"

    @routes.get(one, permission="kiosk", summary="One order; waits for a change when asked to")
    async def show(call: Call[KioskPrincipal], order: str, query: WaitQuery) -> OrderView:
        return view(await payments.wait(order, call.principal.id, query.after, query.wait_s))

    @routes.post(f"{one}/pay", permission="kiosk", status=202, summary="Begin to pay")
    async def pay(call: Call[KioskPrincipal], order: str, body: PayBody) -> OrderView:
        key = call.request.headers.get("Idempotency-Key", "")
        if not 1 <= len(key) <= KEY_MAX:
            raise Problem(428, "idempotency_key_required", "An Idempotency-Key header is required")
        request = PayRequest(body.channel, body.method, key, body.code)
        return view(await payments.pay(order, call.principal.id, request))

    @routes.post(f"{one}/cancel", permission="kiosk", summary="Stop waiting for the patient")
    async def cancel(call: Call[KioskPrincipal], order: str) -> OrderView:
        return view(await payments.cancel(order, call.principal.id))

    @routes.post(f"{one}/refund", permission="kiosk", summary="Take a posted payment back")
    async def refund(call: Call[KioskPrincipal], order: str) -> OrderView:
        return view(await payments.give_back(order, call.principal.id))

    @routes.post(f"{one}/fulfilment", permission="kiosk", summary="What became of the paper")
    async def fulfilment(call: Call[KioskPrincipal], order: str, body: PaperBody) -> OrderView:
        return view(await payments.fulfil(order, call.principal.id, PAPER_EVENTS[body.state]))

    @routes.get(f"{ROOT}/open-orders", permission="kiosk", summary="What this kiosk has to show again")
    async def open_orders(call: Call[KioskPrincipal]) -> OrdersView:
        return OrdersView(orders=[view(order) for order in await payments.open_of(call.principal.id)])

    return routes


def paper_routes(payments: Payments, paper: Paper) -> Routes:
    """What is printed, and where."""
    routes = Routes("papers")
    mine = f"{ROOT}/sessions/{{session}}/papers"

    @routes.get(f"{ROOT}/orders/{{order}}/receipt", permission="kiosk", summary="What to print")
    async def paper_of(call: Call[KioskPrincipal], order: str) -> ReceiptView:
        found = await payments.printable(order, call.principal.id)
        patient = await paper.identity.patient(found.patient)
        return receipt(found, patient, paper.vault, paper.hospital, paper.campus)

    @routes.get(mine, permission="kiosk", summary="What this patient can have printed")
    async def papers(call: Call[KioskPrincipal], session: str) -> OrdersView:
        found = await paper.identity.session(session, call.principal.id)
        return OrdersView(orders=[view(order) for order in await payments.papers_of(found.patient)])

    @routes.post(
        f"{ROOT}/sessions/{{session}}/papers/{{order}}",
        permission="kiosk",
        summary="Print it here, wherever it was paid",
    )
    async def take_paper(call: Call[KioskPrincipal], session: str, order: str) -> OrderView:
        found = await paper.identity.session(session, call.principal.id)
        return view(await payments.take_paper(order, call.principal.id, found.patient))

    return routes
