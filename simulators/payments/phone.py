"""The phones of those who pay: show a payment code, pay a shown code, enter or refuse the password."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final, TypeVar

import segno
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulators.payments.desk import Desk, as_json
from simulators.payments.model import Refused, Trade, Wallet

B = TypeVar("B", bound=BaseModel)
_SHOWN: Final = 20
_TEXT_MAX: Final = 512
BALANCE_FEN: Final = 100_000_00


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewCode(_Asked):
    """A payment code is to be shown."""

    wallet: Wallet
    balance_fen: int = Field(default=BALANCE_FEN, ge=0, le=10_000_000_00)
    asks_password: bool = False


class PayQr(_Asked):
    """A shown code is scanned."""

    qr: str = Field(min_length=1, max_length=512)


class Password(_Asked):
    """Which payment the payer means: by payment code or by the merchant's trade number."""

    code: str = ""
    trade: str = ""


class Phone:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: web.Application) -> None:
        """Mount everything."""
        app.router.add_post("/sim/phone/code", self._code)
        app.router.add_post("/sim/phone/pay", self._pay)
        app.router.add_post("/sim/phone/scan", self._scan)
        app.router.add_get("/sim/phone/trades", self._trades)
        app.router.add_get("/sim/qr.svg", self._picture)
        for act in ("password", "cancel", "typing"):
            app.router.add_post(f"/sim/phone/{act}", self._password)

    async def _code(self, request: web.Request) -> web.Response:
        asked = await read(request, NewCode)
        row = self._desk.ledger.new_code(asked.wallet, asked.balance_fen, asks_password=asked.asks_password)
        return await self._said(row.model_dump(mode="json", exclude={"payer", "out_trade_no"}))

    async def _pay(self, request: web.Request) -> web.Response:
        asked = await read(request, PayQr)
        return await self._try(lambda: self._desk.ledger.pay_qr(asked.qr))

    async def _scan(self, request: web.Request) -> web.Response:
        asked = await read(request, PayQr)
        return await self._try(lambda: self._desk.ledger.scan(asked.qr))

    async def _password(self, request: web.Request) -> web.Response:
        asked = await read(request, Password)
        act = request.path.rpartition("/")[2].replace("password", "pay")
        return await self._try(lambda: self._desk.ledger.password(asked.code or asked.trade, act))

    async def _trades(self, _request: web.Request) -> web.Response:
        self._desk.ledger.settle()
        newest = list(self._desk.ledger.book.trades.values())[-_SHOWN:]
        return await self._said({"trades": [row(one) for one in reversed(newest)]})

    async def _picture(self, request: web.Request) -> web.Response:
        """A code as a scanner reads it."""
        text = request.query.get("text", "")
        if not 0 < len(text) <= _TEXT_MAX:
            return said(422, {"code": "text_invalid"})
        picture = io.BytesIO()
        segno.make(text, micro=False, error="m").save(picture, kind="svg", scale=8)
        return web.Response(body=picture.getvalue(), content_type="image/svg+xml")

    async def _try(self, act: Callable[[], Trade]) -> web.Response:
        try:
            trade = act()
        except Refused as refused:
            await self._desk.saved()
            return said(409, {"code": refused.reason.value})
        return await self._said(row(trade))

    async def _said(self, content: object) -> web.Response:
        await self._desk.saved()
        return said(200, content)


def row(trade: Trade) -> dict[str, Any]:
    """A trade as pages show it."""
    content = trade.model_dump(mode="json", exclude={"payer", "pays_at", "refunds"})
    return content | {
        "refunded_fen": trade.refunded_fen,
        "refunds": [one.model_dump(mode="json", exclude={"settles_at"}) for one in trade.refunds],
    }


def said(status: int, content: object) -> web.Response:
    """JSON."""
    answer = as_json(status, content)
    return web.Response(status=answer.status, body=answer.body, content_type="application/json")


async def read(request: web.Request, kind: type[B]) -> B:
    """The body. Raises: web.HTTPUnprocessableEntity: it is not what was asked for."""
    try:
        return kind.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'/'.join(map(str, first['loc']))}: {first['msg']}"
        raise web.HTTPUnprocessableEntity(reason=" ".join(reason.split())) from None
