"""How a merchant gets its bills: it asks for an address first and fetches the file from there, soon."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from simulators.faults import Fault
from simulators.payments.alipay import SUCCESS, Alipay, AlipayError
from simulators.payments.bills import (
    BillType,
    Spoiled,
    alipay_zip,
    compressed,
    entries_of,
    wechat_flow,
    wechat_trades,
)
from simulators.payments.desk import Answer, Desk, Strike, Voice, as_json, page_failure
from simulators.payments.ledger import china_day
from simulators.payments.model import CHINA, Wallet
from simulators.payments.wechat_v3 import WechatError, WechatV3

WECHAT_LIFE: Final = timedelta(minutes=5)
ALIPAY_LIFE: Final = timedelta(seconds=30)
READY_HOUR: Final = 9
_KEPT: Final = timedelta(days=92)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    expires_at: datetime


class _NotYet(Exception):
    """There is no bill of that day, for this reason."""


class Bills:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk, wechat: WechatV3, alipay: Alipay) -> None:
        self._desk = desk
        self._wechat = wechat
        self._files: dict[str, _File] = {}
        alipay.offer("alipay.data.dataservice.bill.downloadurl.query", "alipay.bill", self._alipay)

    def add_to(self, app: web.Application) -> None:
        """Mount everything."""
        mount = self._wechat.mount
        mount(app, "GET", "/v3/bill/tradebill", "wechat.bill", self._trades)
        mount(app, "GET", "/v3/bill/fundflowbill", "wechat.bill", self._flow)
        mount(app, "GET", "/v3/billdownload/file", "wechat.bill_file", self._wechat_file)
        app.router.add_get("/billdownload", self._alipay_file)

    # --- WeChat -------------------------------------------------------------------------------------------

    def _trades(self, request: web.Request, _body: bytes, strike: Strike) -> Answer:
        day = self._wechat_day(request)
        try:
            kind = BillType(request.query.get("bill_type", "ALL"))
        except ValueError:
            raise WechatError(400, "PARAM_ERROR", "bill_type 参数错误") from None
        entries = entries_of(self._desk.ledger.on_day(Wallet.WECHAT, day), day)
        if not entries:
            raise WechatError(400, "NO_STATEMENT_EXIST", "请求的账单文件不存在")
        return self._wechat_url(request, wechat_trades(entries, day, kind, _spoiled(strike)))

    def _flow(self, request: web.Request, _body: bytes, _strike: Strike) -> Answer:
        day = self._wechat_day(request)
        book = self._desk.ledger.book.trades.values()
        entries = entries_of(one for one in book if one.wallet is Wallet.WECHAT)
        if request.query.get("account_type", "BASIC") != "BASIC" or all(
            china_day(one.moment) != day for one in entries
        ):
            raise WechatError(400, "NO_STATEMENT_EXIST", "请求的账单文件不存在")
        return self._wechat_url(request, wechat_flow(entries, day))

    def _wechat_url(self, request: web.Request, content: bytes) -> Answer:
        is_gzip = request.query.get("tar_type") == "GZIP"
        token = self._keep(compressed(content) if is_gzip else content, WECHAT_LIFE)
        return as_json(
            200,
            {
                "hash_type": "SHA1",
                "hash_value": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
                "download_url": f"{self._desk.base_url}/v3/billdownload/file?token={token}",
            },
        )

    def _wechat_file(self, request: web.Request, _body: bytes, _strike: Strike) -> Answer:
        file = self._file(request)
        if file is None:
            raise WechatError(400, "INVALID_REQUEST", "账单下载地址已失效")
        return Answer(200, file.content, "application/octet-stream", is_signed=False)

    def _wechat_day(self, request: web.Request) -> str:
        day = request.query.get("bill_date", "")
        try:
            self._check_day(day)
        except ValueError:
            raise WechatError(400, "PARAM_ERROR", "bill_date 参数错误") from None
        except _NotYet:
            raise WechatError(400, "STATEMENT_CREATING", "账单生成中，请稍后再试") from None
        return day

    # --- Alipay -------------------------------------------------------------------------------------------

    def _alipay(self, biz: str, _fields: Mapping[str, str], strike: Strike) -> dict[str, Any]:
        asked = _AlipayBill.model_validate_json(biz)
        missing = AlipayError("40004", "Business Failed", "isp.bill_not_exist", "账单不存在")
        try:
            self._check_day(asked.bill_date)
        except ValueError:
            raise AlipayError("40002", "Invalid Arguments", "isv.invalid-arguments", "bill_date") from None
        except _NotYet:
            raise missing from None
        entries = entries_of(self._desk.ledger.on_day(Wallet.ALIPAY, asked.bill_date), asked.bill_date)
        if asked.bill_type != "trade" or not entries:
            raise missing
        content = alipay_zip(entries, asked.bill_date, self._desk.clock.utc(), _spoiled(strike))
        token = self._keep(content, ALIPAY_LIFE)
        return SUCCESS | {"bill_download_url": f"{self._desk.base_url}/billdownload?token={token}"}

    async def _alipay_file(self, request: web.Request) -> web.StreamResponse:
        def work(_strike: Strike) -> Answer:
            file = self._file(request)
            if file is None:
                return Answer(403, b"<html><body>403</body></html>", "text/html")
            return Answer(200, file.content, "application/zip")

        def finish(answer: Answer, _strike: Strike) -> web.Response:
            return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

        return await self._desk.serve(request, "alipay.bill_file", work, Voice(finish, page_failure))

    # --- both ---------------------------------------------------------------------------------------------

    def _check_day(self, day: str) -> None:
        """Raises: ValueError: no day that can be asked for; _NotYet: not made yet."""
        if not _DAY.fullmatch(day):
            raise ValueError("no day")
        asked, now = date.fromisoformat(day), self._desk.clock.utc().astimezone(CHINA)
        if self._desk.bills_at_any_time:
            return
        if asked >= now.date() or now.date() - asked > _KEPT:
            raise ValueError("not of the last three months")
        if asked == now.date() - timedelta(days=1) and now.hour < READY_HOUR:
            raise _NotYet

    def _keep(self, content: bytes, life: timedelta) -> str:
        now = self._desk.clock.utc()
        self._files = {token: file for token, file in self._files.items() if file.expires_at >= now}
        token = secrets.token_urlsafe(32)
        self._files[token] = _File(content, now + life)
        return token

    def _file(self, request: web.Request) -> _File | None:
        file = self._files.get(request.query.get("token", ""))
        return None if file is None or file.expires_at < self._desk.clock.utc() else file


class _AlipayBill(BaseModel):
    bill_type: str
    bill_date: str


def _spoiled(strike: Strike) -> Spoiled:
    return Spoiled(strike.wrong_fen, twice=strike.does(Fault.DUPLICATE), backwards=strike.does(Fault.REORDER))
