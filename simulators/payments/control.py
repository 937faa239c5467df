"""What testers may do to the wallets, on loopback: see the books, script faults, move the clock, start over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from kit.web import STRICT_CSP
from simulators.faults import Fault
from simulators.payments.desk import Desk
from simulators.payments.model import Book, Order, Refused, Trade, Wallet
from simulators.payments.notify import Notifier
from simulators.payments.phone import read, row, said

PAGE: Final = Path(__file__).parent / "page"
FILES: Final = ("index.html", "phone.html", "page.css", "control.js", "phone.js", "sim.js")
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_ANY: Final = frozenset({Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.DELAY, Fault.HTTP_500})
_CALL: Final = _ANY | {Fault.MALFORMED, Fault.BAD_SIGNATURE, Fault.DUPLICATE, Fault.CLOCK_SKEW}
_MONEY: Final = _CALL | {Fault.WRONG_AMOUNT}
_LATE: Final = _MONEY | {Fault.LATE_SUCCESS}
_FILE: Final = _ANY | {Fault.MALFORMED}
_BILL: Final = _CALL | {Fault.WRONG_AMOUNT, Fault.REORDER}
_NOTICE: Final = _CALL | {Fault.WRONG_AMOUNT, Fault.REORDER}
OPERATIONS: Final[dict[str, frozenset[Fault]]] = {
    "wechat.codepay": _LATE,
    "wechat.native": _CALL,
    "wechat.query": _LATE,
    "wechat.close": _CALL | {Fault.LATE_SUCCESS},
    "wechat.reverse": _CALL | {Fault.LATE_SUCCESS},
    "wechat.refund": _MONEY,
    "wechat.refund_query": _MONEY,
    "wechat.bill": _BILL,
    "wechat.bill_file": _FILE,
    "wechat.micropay": _LATE,
    "wechat.orderquery": _LATE,
    "wechat.reverse_v2": _CALL | {Fault.LATE_SUCCESS},
    "wechat.notify": _NOTICE,
    "alipay.pay": _LATE,
    "alipay.precreate": _CALL,
    "alipay.query": _LATE,
    "alipay.cancel": _CALL | {Fault.LATE_SUCCESS},
    "alipay.close": _CALL,
    "alipay.refund": _MONEY,
    "alipay.refund_query": _MONEY,
    "alipay.bill": _BILL,
    "alipay.bill_file": _FILE,
    "alipay.notify": _NOTICE,
}
"""Which fault strikes where."""


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewFault(BaseModel):
    """One line of the script; everything else in the body is an argument of the fault."""

    model_config = ConfigDict(extra="allow")

    operation: str
    fault: Fault
    times: int = Field(default=1, ge=1, le=10_000)
    after: int = Field(default=0, ge=0, le=10_000)


class Settings(_Asked):
    """What testers may set; what is not named stays."""

    clock_offset_s: float | None = Field(default=None, ge=-3_650 * 86_400, le=3_650 * 86_400)
    bills_at_any_time: bool | None = None
    refunds_fail: bool | None = None
    merchant_balance_fen: int | None = Field(default=None, ge=-1)
    """-1 for plenty."""


class Probe(_Asked):
    """Where a notice with an impossible signature is to go."""

    url: str = Field(min_length=1, max_length=512)


class PortalTrade(_Asked):
    """Somebody else takes money with the same merchant number."""

    wallet: Wallet
    out_trade_no: str = Field(min_length=1, max_length=32)
    amount_fen: int = Field(gt=0, le=10_000_000_00)
    subject: str = "停车缴费"


class PortalRefund(_Asked):
    """Somebody pays back by hand, on the wallet's own pages."""

    wallet: Wallet
    out_trade_no: str
    amount_fen: int = Field(gt=0)


class Control:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk, notifier: Notifier) -> None:
        self._desk = desk
        self._notifier = notifier
        self._files: dict[str, bytes] = {}

    def add_to(self, app: web.Application) -> None:
        """Mount everything."""
        app.on_startup.append(self._load)
        router = app.router
        router.add_get("/sim/state", self._state)
        router.add_get("/sim/faults", self._faults)
        router.add_post("/sim/faults", self._add_fault)
        router.add_delete("/sim/faults", self._clear_faults)
        router.add_get("/sim/operations", self._operations)
        router.add_post("/sim/settings", self._set)
        router.add_post("/sim/reset", self._reset)
        router.add_post("/sim/notices/probe", self._probe)
        router.add_post("/sim/notices/{number}/again", self._again)
        router.add_post("/sim/portal/trade", self._portal_trade)
        router.add_post("/sim/portal/refund", self._portal_refund)
        router.add_get("/sim/", self._file("index.html"))
        router.add_get("/sim/phone", self._file("phone.html"))
        for name in FILES[2:]:
            router.add_get(f"/sim/page/{name}", self._file(name))

    async def _load(self, _app: web.Application) -> None:
        self._files = await asyncio.to_thread(_read_page)

    def _file(self, name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(_request: web.Request) -> web.Response:
            headers = {"Content-Security-Policy": STRICT_CSP, "Cache-Control": "no-cache"}
            kind = _TYPES[Path(name).suffix]
            return web.Response(body=self._files[name], content_type=kind, charset="utf-8", headers=headers)

        return serve

    async def _state(self, _request: web.Request) -> web.Response:
        desk = self._desk
        desk.ledger.settle()
        await desk.saved()
        return said(
            200,
            {
                "now": desk.clock.utc().isoformat(),
                "clock_offset_s": desk.clock.offset_s,
                "bills_at_any_time": desk.bills_at_any_time,
                "refunds_fail": desk.ledger.refunds_fail,
                "merchant_balance_fen": desk.ledger.merchant_balance_fen,
                "trades": [row(one) for one in desk.ledger.book.trades.values()],
                "notices": [one.model_dump(mode="json") for one in desk.ledger.book.notices.values()],
                "faults": desk.script.view(),
            },
        )

    async def _faults(self, _request: web.Request) -> web.Response:
        return said(200, {"faults": self._desk.script.view()})

    async def _add_fault(self, request: web.Request) -> web.Response:
        asked = await read(request, NewFault)
        if asked.fault not in OPERATIONS.get(asked.operation, frozenset()):
            return said(422, {"code": "no_such_fault", "operations": _table()})
        extra = asked.model_extra or {}
        if not all(isinstance(value, str | int | float | bool) for value in extra.values()):
            return said(422, {"code": "arguments_invalid"})
        self._desk.script.add(asked.operation, asked.fault, asked.times, asked.after, **extra)
        return await self._faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._desk.script.clear()
        return await self._faults(request)

    async def _operations(self, _request: web.Request) -> web.Response:
        return said(200, {"operations": _table(), "wallets": [one.value for one in Wallet]})

    async def _set(self, request: web.Request) -> web.Response:
        asked = await read(request, Settings)
        desk = self._desk
        if asked.clock_offset_s is not None:
            desk.clock.offset_s = asked.clock_offset_s
        if asked.bills_at_any_time is not None:
            desk.bills_at_any_time = asked.bills_at_any_time
        if asked.refunds_fail is not None:
            desk.ledger.refunds_fail = asked.refunds_fail
        if asked.merchant_balance_fen is not None:
            balance = asked.merchant_balance_fen
            desk.ledger.merchant_balance_fen = None if balance < 0 else balance
        return await self._state(request)

    async def _probe(self, request: web.Request) -> web.Response:
        asked = await read(request, Probe)
        return said(200, {"status": await self._notifier.probe(asked.url)})

    async def _again(self, request: web.Request) -> web.Response:
        if not self._notifier.again(request.match_info["number"]):
            return said(404, {"code": "no_such_notice"})
        return said(200, {})

    async def _portal_trade(self, request: web.Request) -> web.Response:
        asked = await read(request, PortalTrade)
        ledger = self._desk.ledger
        code = ledger.new_code(asked.wallet, asked.amount_fen, asks_password=False).code
        order = Order(**asked.model_dump())
        return await self._by_hand(lambda: ledger.code_pay(order, code))

    async def _portal_refund(self, request: web.Request) -> web.Response:
        asked = await read(request, PortalRefund)
        ledger = self._desk.ledger

        def refund() -> Trade:
            trade = ledger.find(asked.wallet, asked.out_trade_no)
            ledger.refund(trade, f"PORTAL{len(trade.refunds):03d}{trade.out_trade_no}", asked.amount_fen)
            return trade

        return await self._by_hand(refund)

    async def _by_hand(self, act: Callable[[], Trade]) -> web.Response:
        try:
            trade = act()
        except Refused as refused:
            return said(409, {"code": refused.reason.value})
        finally:
            await self._desk.saved()
        return said(200, row(trade))

    async def _reset(self, request: web.Request) -> web.Response:
        desk = self._desk
        desk.script.clear()
        desk.clock.offset_s = 0.0
        desk.bills_at_any_time, desk.ledger.refunds_fail, desk.ledger.merchant_balance_fen = False, False, None
        desk.ledger.forget(Book(counter=desk.ledger.book.counter))
        await desk.store.forget()
        return await self._state(request)


def _read_page() -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in (PAGE / name for name in FILES)}


def _table() -> dict[str, list[str]]:
    return {operation: sorted(one.value for one in faults) for operation, faults in OPERATIONS.items()}
