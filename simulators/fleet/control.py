"""The tester's control API of a crowd, on loopback."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from kit.clock import Clock
from kit.web import Call, Page, Problem, Routes
from simulators.fleet.crowd import Crowd, UnknownKiosk
from simulators.fleet.kiosk import LightKiosk
from wire.faults import FACTS, Fault
from wire.presence import Activity
from wire.uplink import Edge


class Act(StrEnum):
    """What can be done to one kiosk."""

    CUT = "cut"
    """Drop the link without a word; it comes back by itself."""
    DISCONNECT = "disconnect"
    """Drop the link and stay away, as after a power cut."""
    CONNECT = "connect"
    REBOOT = "reboot"
    SILENCE = "silence"
    """Stay connected and say nothing more."""
    SPEAK = "speak"


class KioskRow(BaseModel):
    """One light kiosk as its tester sees it."""

    kid: str
    connected: bool
    pending: int
    connects: int
    connect_failures: int
    takeovers: int
    records: int
    acknowledged: int
    clock_skew_s: float
    last_error: str | None


class Totals(BaseModel):
    """Sums over the crowd."""

    kiosks: int
    connected: int
    pending: int
    records: int
    acknowledged: int
    connects: int
    connect_failures: int
    takeovers: int


class Order(BaseModel):
    """A body that knows its fields."""

    model_config = ConfigDict(extra="forbid")


class FloodOrder(Order):
    """Send far more than allowed."""

    records_per_s: float = Field(gt=0, le=20_000)
    seconds: float = Field(gt=0, le=3_600)


class AlarmOrder(Order):
    """Raise or clear an alarm."""

    code: Fault
    component: str = Field(default="host", pattern=r"^[a-z][a-z0-9_.-]{0,63}$")
    edge: Edge = Edge.RAISE


class ActivityOrder(Order):
    """Pretend that a patient is there."""

    activity: Activity


class BurstOrder(Order):
    """Make events at once on some kiosks."""

    events: int = Field(ge=1, le=100_000)
    kiosks: int | None = Field(default=None, ge=1)


class PowerOrder(Order):
    """Cut or restore power for the first `kiosks` kiosks, all when absent."""

    on: bool
    kiosks: int | None = Field(default=None, ge=1)


def routes(crowd: Crowd, clock: Clock) -> Routes:
    """The control API over one crowd."""
    api = Routes("crowd")
    _add_views(api, crowd)
    _add_kiosk_orders(api, crowd, clock)
    _add_crowd_orders(api, crowd)
    return api


def _add_views(api: Routes, crowd: Crowd) -> None:
    @api.get("/api/v1/totals", permission=None, summary="总览 · Sums over all light kiosks")
    async def totals(call: Call) -> Totals:
        return _totals(crowd)

    @api.get("/api/v1/kiosks", permission=None, summary="全部模拟机 · All light kiosks")
    async def kiosks(call: Call) -> Page[KioskRow]:
        rows = [_row(kiosk) for kiosk in crowd]
        return Page[KioskRow](items=rows, total=len(rows))


def _add_kiosk_orders(api: Routes, crowd: Crowd, clock: Clock) -> None:
    @api.post("/api/v1/kiosks/{kid}/acts/{act}", permission=None, summary="断开/重启等 · Do something to one kiosk")
    async def act(call: Call, kid: str, act: Act) -> KioskRow:
        kiosk = _find(crowd, kid)
        _perform(kiosk, act)
        return _row(kiosk)

    @api.post("/api/v1/kiosks/{kid}/flood", permission=None, summary="数据洪泛 · Flood the server")
    async def flood(call: Call, kid: str, body: FloodOrder) -> KioskRow:
        kiosk = _find(crowd, kid)
        kiosk.wishes.flood_per_s = body.records_per_s
        kiosk.wishes.flood_until_s = clock.monotonic() + body.seconds
        return _row(kiosk)

    @api.post("/api/v1/kiosks/{kid}/alarms", permission=None, summary="告警 · Raise or clear an alarm")
    async def alarm(call: Call, kid: str, body: AlarmOrder) -> KioskRow:
        kiosk = _find(crowd, kid)
        kiosk.alarm(body.component, body.code.value, body.edge, FACTS[body.code].severity)
        return _row(kiosk)

    @api.post("/api/v1/kiosks/{kid}/activity", permission=None, summary="患者使用状态 · Pretend a patient is there")
    async def activity(call: Call, kid: str, body: ActivityOrder) -> KioskRow:
        kiosk = _find(crowd, kid)
        kiosk.wishes.activity = body.activity
        return _row(kiosk)


def _add_crowd_orders(api: Routes, crowd: Crowd) -> None:
    @api.post("/api/v1/burst", permission=None, summary="突发事件 · Events on many kiosks at once")
    async def burst(call: Call, body: BurstOrder) -> Totals:
        for kiosk in crowd.first(body.kiosks):
            for number in range(body.events):
                kiosk.event("burst.record", {"number": number})
        return _totals(crowd)

    @api.post("/api/v1/power", permission=None, summary="断电/恢复 · Cut or restore power")
    async def power(call: Call, body: PowerOrder) -> Totals:
        for kiosk in crowd.first(body.kiosks):
            _perform(kiosk, Act.CONNECT if body.on else Act.DISCONNECT)
        return _totals(crowd)


def _find(crowd: Crowd, kid: str) -> LightKiosk:
    try:
        return crowd.kiosk(kid)
    except UnknownKiosk:
        raise Problem(404, "unknown_kiosk", "此模拟进程中没有这台自助机 · No such light kiosk here") from None


def _perform(kiosk: LightKiosk, act: Act) -> None:
    match act:
        case Act.CUT:
            kiosk.cut()
        case Act.DISCONNECT:
            kiosk.wishes.connected = False
            kiosk.cut()
        case Act.CONNECT:
            kiosk.wishes.connected = True
        case Act.REBOOT:
            kiosk.reboot()
        case Act.SILENCE:
            kiosk.wishes.silent = True
        case Act.SPEAK:
            kiosk.wishes.silent = False


def _row(kiosk: LightKiosk) -> KioskRow:
    counters = kiosk.counters
    return KioskRow(
        kid=kiosk.kid,
        connected=kiosk.is_connected,
        pending=kiosk.pending,
        connects=counters.connects,
        connect_failures=counters.connect_failures,
        takeovers=counters.takeovers,
        records=counters.records,
        acknowledged=counters.acknowledged,
        clock_skew_s=kiosk.behaviour.clock_skew_s,
        last_error=kiosk.last_error,
    )


def _totals(crowd: Crowd) -> Totals:
    return Totals.model_validate(crowd.totals(), from_attributes=True)
