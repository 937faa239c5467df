"""HTTP of work orders."""

from __future__ import annotations

from typing import Final

from fleet_server.orders import forms
from fleet_server.orders.service import OrderService
from fleet_server.staff.model import StaffPrincipal
from fleet_server.staff.permissions import Permission
from kit.web import Call, FileBody, Page, Routes

READ: Final = Permission.ORDERS_READ
WORK: Final = Permission.ORDERS_WORK
APPROVE: Final = Permission.ORDERS_APPROVE
Staff = Call[StaffPrincipal]


def routes(service: OrderService) -> list[Routes]:
    """Looking, working, and standing for another person's word."""
    return [_looking(service), _working(service), _proving(service), _beside(service)]


def _looking(service: OrderService) -> Routes:
    api = Routes("orders")

    @api.get("/api/v1/orders", permission=READ, summary="Work orders, the newest first")
    async def orders(call: Staff, query: forms.OrderQuery) -> Page[forms.OrderView]:
        items, total = await service.orders(query)
        return Page(items=items, total=total)

    @api.get("/api/v1/orders/round", permission=READ, summary="What runs out soon, as a walking round per floor")
    async def walking_round(call: Staff, query: forms.RoundQuery) -> list[forms.RoundView]:
        return await service.round(query)

    @api.get("/api/v1/orders/{order}", permission=READ, summary="One work order, whole, by id or number")
    async def order_detail(call: Staff, order: str) -> forms.OrderDetail:
        return await service.detail(order)

    @api.get("/api/v1/orders/{order}/photos/{photo}", permission=READ, summary="A picture of a work order")
    async def photo(call: Staff, order: str, photo: str) -> FileBody:
        found, path = await service.photo(order, photo)
        return FileBody(path, found.media_type)

    return api


def _working(service: OrderService) -> Routes:
    api = Routes("order_work")

    @api.post("/api/v1/orders", permission=WORK, summary="A work order by hand, for a call or a plan", status=201)
    async def create(call: Staff, body: forms.NewOrder) -> forms.OrderDetail:
        return await service.detail(await service.create(body, call.principal.id))

    @api.post("/api/v1/orders/check-in", permission=WORK, summary="Say that one stands before the kiosk, by its code")
    async def check_in(call: Staff, body: forms.CheckInForm) -> list[str]:
        return await service.check_in(body.code, body.order, call.principal.id)

    @api.post("/api/v1/orders/{order}/check-in-visit", permission=WORK, summary="The same, by the kiosk's visit record")
    async def check_in_visit(call: Staff, order: str) -> forms.OrderDetail:
        await service.check_in_by_visit(order, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/assign", permission=WORK, summary="Give it to a person")
    async def assign(call: Staff, order: str, body: forms.AssignForm) -> forms.OrderDetail:
        await service.assign(order, body.to, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/respond", permission=WORK, summary="Take it: stops the response clock")
    async def respond(call: Staff, order: str) -> forms.OrderDetail:
        await service.respond(order, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/pause", permission=WORK, summary="Let the clocks stand still, with evidence")
    async def pause(call: Staff, order: str, body: forms.PauseForm) -> forms.OrderDetail:
        await service.pause(order, body, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/resume", permission=WORK, summary="Let the clocks run on")
    async def resume(call: Staff, order: str) -> forms.OrderDetail:
        await service.resume(order, call.principal.id)
        return await service.detail(order)

    return api


def _proving(service: OrderService) -> Routes:
    api = Routes("order_proof")

    @api.post("/api/v1/orders/{order}/repair", permission=WORK, summary="Say that it is repaired; the kiosk proves it")
    async def repair(call: Staff, order: str) -> forms.OrderDetail:
        await service.repair(order, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/close", permission=WORK, summary="Close it, or hear why not yet")
    async def close(call: Staff, order: str) -> forms.OrderDetail:
        await service.close(order)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/waiver", permission=WORK, summary="Ask a second person to let it pass")
    async def ask_waiver(call: Staff, order: str, body: forms.ReasonForm) -> forms.OrderDetail:
        await service.ask_waiver(order, body.reason, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/waiver/approve", permission=APPROVE, summary="Let it pass for somebody else")
    async def approve_waiver(call: Staff, order: str) -> forms.OrderDetail:
        await service.waive(order, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/pauses/{pause}/approve", permission=APPROVE, summary="Stand for another's pause")
    async def approve_pause(call: Staff, order: str, pause: str) -> forms.OrderDetail:
        await service.approve_pause(order, pause, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/cancel", permission=APPROVE, summary="It should not be there")
    async def cancel(call: Staff, order: str, body: forms.ReasonForm) -> forms.OrderDetail:
        await service.cancel(order, body.reason, call.principal.id)
        return await service.detail(order)

    return api


def _beside(service: OrderService) -> Routes:
    api = Routes("order_records")

    @api.post("/api/v1/orders/{order}/notes", permission=WORK, summary="Write something down")
    async def note(call: Staff, order: str, body: forms.NoteForm) -> forms.OrderDetail:
        await service.note(order, body.text, call.principal.id)
        return await service.detail(order)

    @api.post("/api/v1/orders/{order}/parts", permission=WORK, summary="A part was changed")
    async def part(call: Staff, order: str, body: forms.PartForm) -> forms.OrderDetail:
        await service.use_part(order, body, call.principal.id)
        return await service.detail(order)

    @api.post(
        "/api/v1/orders/{order}/photos",
        permission=WORK,
        summary="Add a picture, JPEG or PNG, at most 5 MB",
        body_bytes=forms.PHOTO_BODY_BYTES,
    )
    async def add_photo(call: Staff, order: str, body: forms.PhotoForm) -> forms.OrderDetail:
        await service.add_photo(order, body.content, call.principal.id)
        return await service.detail(order)

    return api
