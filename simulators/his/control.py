"""What testers may do to the hospital, on loopback: see it, script faults, prescribe, withdraw, take slots."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.web import STRICT_CSP
from simulators.faults import Fault
from simulators.his.desk import Desk
from simulators.his.model import Refused
from simulators.his.seeding import first_books

PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
STRIKES: Final = frozenset(
    {
        Fault.DROP_BEFORE,
        Fault.DROP_AFTER,
        Fault.DELAY,
        Fault.HTTP_500,
        Fault.MALFORMED,
        Fault.WRONG_AMOUNT,
        Fault.LATE_SUCCESS,
    }
)


class NewFault(BaseModel):
    """One line of the script; everything else in the body is an argument of the fault."""

    model_config = ConfigDict(extra="allow")

    operation: str
    fault: Fault
    times: int = Field(default=1, ge=1, le=10_000)
    after: int = Field(default=0, ge=0, le=10_000)


class NewBill(BaseModel):
    """Whom a doctor prescribes something."""

    model_config = ConfigDict(extra="forbid")

    patient_id: str = Field(max_length=40)


class TakeSlot(BaseModel):
    """Which slot somebody takes at the counter."""

    model_config = ConfigDict(extra="forbid")

    schedule_id: str = Field(max_length=80)
    no: int = Field(ge=1, le=1_000)


class Control:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._files: dict[str, bytes] = {}

    def add_to(self, app: web.Application) -> None:
        """Mount everything."""
        app.on_startup.append(self._load)
        router = app.router
        router.add_get("/sim/state", self._state)
        router.add_get("/sim/faults", self._faults)
        router.add_post("/sim/faults", self._add_fault)
        router.add_delete("/sim/faults", self._clear_faults)
        router.add_post("/sim/reset", self._reset)
        router.add_post("/sim/bills", self._new_bill)
        router.add_post("/sim/bills/{recipe_id}/{act}", self._change_bill)
        router.add_post("/sim/doctors/{doctor_id}/stop", self._stop)
        router.add_post("/sim/slots/take", self._take)
        router.add_get("/sim/", self._file("index.html"))
        for name in ("his.css", "his.js"):
            router.add_get(f"/sim/page/{name}", self._file(name))

    async def _load(self, _app: web.Application) -> None:
        self._files = await asyncio.to_thread(_read_page)

    def _file(self, name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(_request: web.Request) -> web.Response:
            headers = {"Content-Security-Policy": STRICT_CSP, "Cache-Control": "no-cache"}
            return web.Response(
                body=self._files[name], content_type=_TYPES[Path(name).suffix], charset="utf-8", headers=headers
            )

        return serve

    async def _state(self, request: web.Request) -> web.Response:
        books = self._desk.hospital.books
        wanted = request.query.get("patient")
        patients = [
            {
                **patient.row(),
                "bills": [
                    {
                        "recipe_id": bill.recipe_id,
                        "kind": bill.kind,
                        "state": bill.state,
                        "should_money": bill.should_money,
                    }
                    for bill in books.bills.values()
                    if bill.patient_id == patient.patient_id
                ],
            }
            for patient in books.patients.values()
            if wanted is None or wanted in {patient.patient_id, patient.mzh}
        ]
        return _said(
            {
                "now": self._desk.hospital.now().isoformat(timespec="seconds"),
                "operations": sorted(name.rpartition("/")[2] for name in self._desk.hospital.operations),
                "calls": self._desk.calls,
                "patients": patients[:20],
                "trades": [
                    {
                        "trade_no": one.trade_no,
                        "business": one.business,
                        "amount": one.amount,
                        "refund_no": one.refund_no,
                    }
                    for one in (*books.trades.values(), *books.refunds.values())
                ][-200:],
                "booked": books.booked,
                "locks": len(self._desk.hospital.locks()),
                "faults": self._desk.script.view(),
            }
        )

    async def _faults(self, _request: web.Request) -> web.Response:
        return _said({"faults": self._desk.script.view()})

    async def _add_fault(self, request: web.Request) -> web.Response:
        asked = await _read(request, NewFault)
        known = {name.rpartition("/")[2] for name in self._desk.hospital.operations}
        if asked.operation not in known or asked.fault not in STRIKES:
            return _said({"code": "no_such_fault", "operations": sorted(known)}, 422)
        extra = asked.model_extra or {}
        if not all(isinstance(value, str | int | float | bool) for value in extra.values()):
            return _said({"code": "arguments_invalid"}, 422)
        self._desk.script.add(asked.operation, asked.fault, asked.times, asked.after, **extra)
        return await self._faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._desk.script.clear()
        return await self._faults(request)

    async def _reset(self, request: web.Request) -> web.Response:
        hospital = self._desk.hospital
        self._desk.script.clear()
        hospital.books = first_books(hospital.seed, hospital.now())
        await self._desk.save()
        return await self._state(request)

    async def _new_bill(self, request: web.Request) -> web.Response:
        asked = await _read(request, NewBill)
        return await self._did(lambda: self._desk.hospital.add_bill(asked.patient_id).recipe_id)

    async def _change_bill(self, request: web.Request) -> web.Response:
        number, act = request.match_info["recipe_id"], request.match_info["act"]
        return await self._did(lambda: self._desk.hospital.change_bill(number, act).state)

    async def _stop(self, request: web.Request) -> web.Response:
        return await self._did(lambda: self._desk.hospital.stop_doctor(request.match_info["doctor_id"]).doctor_name)

    async def _take(self, request: web.Request) -> web.Response:
        asked = await _read(request, TakeSlot)
        return await self._did(lambda: self._desk.hospital.take_slot(asked.schedule_id, asked.no))

    async def _did(self, act: Callable[[], object]) -> web.Response:
        try:
            done = act()
        except Refused as refused:
            return _said({"code": int(refused.code), "message": refused.text}, 422)
        await self._desk.save()
        return _said({"done": done})


async def _read(request: web.Request, model: type[Any]) -> Any:  # noqa: ANN401 - the model's type
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        text = json.dumps(
            {"code": "invalid", "errors": error.errors(include_input=False, include_url=False)}, default=str
        )
        raise web.HTTPUnprocessableEntity(text=text, content_type="application/json") from None


def _said(content: object, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, dumps=lambda value: json.dumps(value, ensure_ascii=False))


def _read_page() -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in PAGE.iterdir() if one.suffix in _TYPES}
