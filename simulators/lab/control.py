"""The tester's control API of a lab, on loopback, for whoever has the token."""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import asdict, dataclass

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from kit.web import SIGNED_IN, Api, Call, FileBody, Hooks, Page, Problem, Routes
from simulators.lab.actions import ActionRow, describe
from simulators.lab.device import Device, FactValue, Kind, Tone
from simulators.lab.devices.face_camera import FaceCamera
from simulators.lab.devices.receipt_printer import Receipt, ReceiptPrinter, text_of
from simulators.lab.devices.report_printer import ReportPrinter
from simulators.lab.errors import ActionRefused, BadArguments, UnknownAction
from simulators.lab.kiosk import DEVICES, LabKiosk
from simulators.lab.lab import Lab, UnknownDevice
from simulators.lab.picture import png

_BEARER = "Bearer "
_KEEP_ALIVE = b": nothing new\n\n"


@dataclass(frozen=True, slots=True)
class Tester:
    """Whoever has the token."""

    id: str = "tester"
    permissions: frozenset[str] = frozenset()


class FactRow(BaseModel):
    """One fact that a kind of device shows."""

    name: str
    zh: str
    en: str
    tone: Tone


class KindRow(BaseModel):
    """One kind of device: its name, its facts, its actions."""

    kind: Kind
    zh: str
    en: str
    models: list[str]
    facts: list[FactRow]
    actions: list[ActionRow]


class DeviceRow(BaseModel):
    """One device now."""

    component: str
    kind: Kind
    model: str
    port: str
    plugged: bool
    troubles: list[str]
    armed: list[str]
    state: dict[str, FactValue]


class KioskRow(BaseModel):
    """One kiosk now."""

    name: str
    profile: str
    devices: list[DeviceRow]
    environment: dict[str, str]


class ReceiptRow(BaseModel):
    """One receipt; `text` are its characters only."""

    number: int
    text: str


class ReportRow(BaseModel):
    """One A4 job."""

    number: int
    name: str
    state: str
    pages: int
    printed: int
    sides: str


class ActionOrder(BaseModel):
    """Do this."""

    model_config = ConfigDict(extra="forbid")

    action: str = Field(min_length=1, max_length=64)
    arguments: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=16)


def api(lab: Lab, token: str, version: str) -> Api[Tester]:
    """The control API over one lab."""
    routes = Routes("lab")
    _add_views(routes, lab)
    _add_papers(routes, lab)
    _add_sight(routes, lab)
    _add_orders(routes, lab)

    async def authenticate(request: web.Request) -> Tester | None:
        given = request.headers.get("Authorization", "")
        return Tester() if hmac.compare_digest(given.encode(), f"{_BEARER}{token}".encode()) else None

    @routes.get("/api/v1/openapi.json", permission=SIGNED_IN, summary="本接口的说明 · This API as OpenAPI 3.1")
    async def openapi(call: Call) -> FileBody:
        text = json.dumps(await asyncio.to_thread(made.openapi), ensure_ascii=False)
        return FileBody(text.encode(), "application/json")

    made: Api[Tester] = Api("kiosk-sim lab", version, [routes], Hooks(authenticate=authenticate, translate=_problem))
    return made


def _add_views(routes: Routes, lab: Lab) -> None:
    @routes.get("/api/v1/kiosks", permission=SIGNED_IN, summary="全部自助机与设备 · All kiosks and devices")
    async def kiosks(call: Call) -> Page[KioskRow]:
        rows = [_kiosk_row(kiosk) for kiosk in lab.kiosks.values()]
        return Page[KioskRow](items=rows, total=len(rows))

    @routes.get("/api/v1/kinds", permission=SIGNED_IN, summary="设备种类与操作表 · Kinds of devices and their actions")
    async def kinds(call: Call) -> Page[KindRow]:
        rows = [kind_row(kind) for kind in DEVICES]
        return Page[KindRow](items=rows, total=len(rows))

    @routes.get(
        "/api/v1/kiosks/{name}/devices/{component}",
        permission=SIGNED_IN,
        summary="一个设备 · One device",
        responses={404: "no such device"},
    )
    async def device(call: Call, name: str, component: str) -> DeviceRow:
        return device_row(lab.device(name, component))

    @routes.get("/api/v1/events", permission=SIGNED_IN, summary="变化 · What changes, as server-sent events")
    async def events(call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(call.request)
        await response.write(_KEEP_ALIVE)
        async for item in lab.news():
            data = _KEEP_ALIVE
            if item is not None:
                body = json.dumps(asdict(item), ensure_ascii=False)
                data = f"id: {item.sequence}\nevent: device\ndata: {body}\n\n".encode()
            await response.write(data)
        await response.write_eof()
        return response


def _add_papers(routes: Routes, lab: Lab) -> None:
    base = "/api/v1/kiosks/{name}/devices/{component}"

    @routes.get(f"{base}/receipts", permission=SIGNED_IN, summary="已打印的凭条 · Receipts that came out")
    async def receipts(call: Call, name: str, component: str) -> Page[ReceiptRow]:
        rows = [
            ReceiptRow(number=receipt.number, text=text_of(receipt.items))
            for receipt in _receipt_printer(lab, name, component).receipts
        ]
        return Page[ReceiptRow](items=rows, total=len(rows))

    @routes.get(
        f"{base}/receipts/{{file}}",
        permission=SIGNED_IN,
        summary="凭条：编号.png 或 .txt · One receipt as NUMBER.png or NUMBER.txt; `now` is what hangs out",
        responses={404: "no such receipt"},
    )
    async def receipt(call: Call, name: str, component: str, file: str) -> FileBody:
        printer = _receipt_printer(lab, name, component)
        number, _, kind = file.rpartition(".")
        found = _receipt(printer, number)
        if found is None or kind not in {"png", "txt"}:
            raise Problem(404, "unknown_receipt", "没有这张凭条 · No such receipt")
        if kind == "txt":
            return FileBody(text_of(found.items).encode(), "text/plain; charset=utf-8")
        return FileBody(await asyncio.to_thread(png, found.items, printer.columns), "image/png")

    @routes.get(f"{base}/reports", permission=SIGNED_IN, summary="A4 打印作业 · Jobs of the A4 printer")
    async def reports(call: Call, name: str, component: str) -> Page[ReportRow]:
        printer = lab.device(name, component)
        if not isinstance(printer, ReportPrinter):
            raise Problem(404, "no_reports", "这个设备不打印报告 · This device prints no reports")
        rows = [
            ReportRow(
                number=one.number,
                name=one.name,
                state=one.state.name.lower(),
                pages=one.pages,
                printed=one.printed,
                sides=one.sides,
            )
            for one in printer.reports()
        ]
        return Page[ReportRow](items=rows, total=len(rows))


def _add_sight(routes: Routes, lab: Lab) -> None:
    @routes.get(
        "/api/v1/kiosks/{name}/devices/{component}/picture.jpg",
        permission=SIGNED_IN,
        summary="摄像头前的画面 · What is in front of the camera",
        responses={404: "no camera"},
    )
    async def picture(call: Call, name: str, component: str) -> FileBody:
        camera = lab.device(name, component)
        if not isinstance(camera, FaceCamera):
            raise Problem(404, "no_camera", "这个设备不是摄像头 · This device is no camera")
        return FileBody(await asyncio.to_thread(camera.picture), "image/jpeg")


def _add_orders(routes: Routes, lab: Lab) -> None:
    @routes.post(
        "/api/v1/kiosks/{name}/devices/{component}/actions",
        permission=SIGNED_IN,
        summary="对设备做一个操作 · Do something to a device",
        responses={404: "no such device or action", 409: "makes no sense now", 422: "wrong arguments"},
    )
    async def act(call: Call, name: str, component: str, body: ActionOrder) -> DeviceRow:
        await lab.perform(name, component, body.action, body.arguments)
        return device_row(lab.device(name, component))


def _problem(error: Exception) -> Problem | None:
    match error:
        case UnknownDevice():
            return Problem(404, "unknown_device", str(error))
        case UnknownAction():
            return Problem(404, "unknown_action", str(error))
        case BadArguments():
            return Problem(422, "invalid_arguments", "操作的参数不对 · Wrong arguments", extra={"errors": error.errors})
        case ActionRefused():
            return Problem(409, "refused", str(error))
        case _:
            return None


def _receipt_printer(lab: Lab, name: str, component: str) -> ReceiptPrinter:
    printer = lab.device(name, component)
    if not isinstance(printer, ReceiptPrinter):
        raise Problem(404, "no_receipts", "这个设备不打印凭条 · This device prints no receipts")
    return printer


def _receipt(printer: ReceiptPrinter, number: str) -> Receipt | None:
    if number == "now":
        return Receipt(0, printer.hanging())
    if number == "last":
        return printer.receipts[-1] if printer.receipts else None
    return next((one for one in printer.receipts if str(one.number) == number), None)


def kind_row(kind: type[Device]) -> KindRow:
    """What there is to know of a kind of device."""
    return KindRow(
        kind=kind.kind,
        zh=kind.zh,
        en=kind.en,
        models=list(kind.models),
        facts=[FactRow(name=fact.name, zh=fact.zh, en=fact.en, tone=fact.tone) for fact in kind.facts],
        actions=[describe(row) for row in kind.actions.values()],
    )


def device_row(device: Device) -> DeviceRow:
    """One device now."""
    return DeviceRow(
        component=device.component,
        kind=device.kind,
        model=device.model,
        port=device.port,
        plugged=device.is_plugged,
        troubles=list(device.troubles()),
        armed=list(dict.fromkeys(device.armed())),
        state=device.state(),
    )


def _kiosk_row(kiosk: LabKiosk) -> KioskRow:
    return KioskRow(
        name=kiosk.name,
        profile=kiosk.profile,
        devices=[device_row(device) for device in kiosk.devices.values()],
        environment=kiosk.environment,
    )
