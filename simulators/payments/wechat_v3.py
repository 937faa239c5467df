"""WeChat Pay API V3, the part a kiosk needs: codepay, native, query, close, reverse, refunds.

After the public documents of pay.weixin.qq.com (4012382150 and its neighbours). A payer who must enter the password
is answered 202 with the code USERPAYING. Nothing here was seen on the real service.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from simulators.faults import Fault, ScriptedFault
from simulators.payments.desk import Answer, Desk, Strike, Voice, as_json
from simulators.payments.keys import APPID, MCHID
from simulators.payments.model import (
    CHINA,
    PAID,
    Order,
    Reason,
    Refund,
    RefundState,
    Refused,
    Trade,
    TradeState,
    Wallet,
)
from simulators.payments.signatures import SCHEME, answer_text, request_text, rsa_sign, rsa_verifies

QR_URL: Final = "weixin://wxpay/bizpayurl?pr="
STATE_TEXTS: Final = {
    TradeState.NOTPAY: "订单未支付",
    TradeState.USERPAYING: "需要用户输入支付密码",
    TradeState.SUCCESS: "支付成功",
    TradeState.REFUND: "订单发生过退款，退款详情请查询退款单",
    TradeState.REVOKED: "订单已撤销",
    TradeState.CLOSED: "订单已关闭",
    TradeState.PAYERROR: "支付失败，请撤销后更换支付方式重试",
}
REFUSALS: Final = {
    Reason.CODE_INVALID: (400, "AUTH_CODE_INVALID", "付款码无效，请重新扫码"),
    Reason.CODE_EXPIRED: (400, "AUTH_CODE_EXPIRED", "付款码已过期，请用户刷新后重试"),
    Reason.CODE_USED: (400, "AUTH_CODE_INVALID", "付款码已使用，请用户刷新后重试"),
    Reason.NOT_ENOUGH: (403, "NOT_ENOUGH", "用户余额不足"),
    Reason.USER_PAYING: (202, "USERPAYING", "正在支付中，不能发起撤销"),
    Reason.TRADE_UNKNOWN: (404, "ORDER_NOT_EXIST", "订单不存在"),
    Reason.TRADE_PAID: (400, "ORDERPAID", "订单已支付"),
    Reason.TRADE_CLOSED: (400, "ORDER_CLOSED", "订单已关闭"),
    Reason.TRADE_DIFFERS: (403, "OUT_TRADE_NO_USED", "商户订单号重复"),
    Reason.TRADE_NOT_PAID: (403, "TRADE_ERROR", "订单未支付，不能退款"),
    Reason.WRONG_KIND: (400, "INVALID_REQUEST", "该支付方式不支持此操作"),
    Reason.TOO_OLD: (403, "RULE_LIMIT", "订单已超过可操作的期限"),
    Reason.REFUND_UNKNOWN: (404, "RESOURCE_NOT_EXISTS", "退款单不存在"),
    Reason.REFUND_TOO_MUCH: (400, "INVALID_REQUEST", "申请退款金额大于订单可退金额"),
    Reason.REFUND_DIFFERS: (400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致"),
    Reason.MERCHANT_BALANCE: (403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起"),
}
_PAIR: Final = re.compile(r'(\w+)="([^"]*)"')
_TRADE_NO: Final = r"^[0-9A-Za-z_\-*|@]{6,32}$"
_CLOCK_WINDOW_S: Final = 300


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Amount(_Body):
    total: int = Field(ge=1)
    currency: str = "CNY"


class _Payer(_Body):
    auth_code: str


class _Scene(_Body):
    device_id: str = ""


class _Ordered(_Body):
    appid: str
    mchid: str
    description: str = Field(min_length=1, max_length=127)
    out_trade_no: str = Field(pattern=_TRADE_NO)
    attach: str = Field(default="", max_length=128)
    amount: _Amount


class _CodePay(_Ordered):
    payer: _Payer
    scene_info: _Scene


class _Native(_Ordered):
    notify_url: str = Field(min_length=1, max_length=255)
    time_expire: AwareDatetime | None = Field(default=None, strict=False)


class _RefundAmount(_Body):
    refund: int = Field(ge=1)
    total: int = Field(ge=1)
    currency: str


class _Refund(_Body):
    out_trade_no: str = ""
    transaction_id: str = ""
    out_refund_no: str = Field(pattern=r"^[0-9A-Za-z_\-*|@]{1,64}$")
    reason: str = Field(default="", max_length=80)
    notify_url: str = ""
    amount: _RefundAmount


class _Owner(_Body):
    mchid: str


class WechatError(Exception):
    """An answer that is not the one asked for."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.answer = as_json(status, {"code": code, "message": message})


Call = Callable[[web.Request, bytes, Strike], Answer]


class WechatV3:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: web.Application) -> None:
        """Mount everything."""
        trade = "/v3/pay/transactions/out-trade-no/{out_trade_no}"
        self.mount(app, "POST", "/v3/pay/transactions/codepay", "wechat.codepay", self._code_pay)
        self.mount(app, "POST", "/v3/pay/transactions/native", "wechat.native", self._native)
        self.mount(app, "GET", trade, "wechat.query", self._query)
        self.mount(app, "GET", "/v3/pay/transactions/id/{transaction_id}", "wechat.query", self._query)
        self.mount(app, "POST", f"{trade}/close", "wechat.close", self._close)
        self.mount(app, "POST", f"{trade}/reverse", "wechat.reverse", self._reverse)
        self.mount(app, "POST", "/v3/refund/domestic/refunds", "wechat.refund", self._refund)
        self.mount(app, "GET", "/v3/refund/domestic/refunds/{out_refund_no}", "wechat.refund_query", self._refund_query)

    def mount(self, app: web.Application, method: str, path: str, operation: str, call: Call) -> None:
        """Mount one call behind the signature check and the faults."""

        async def handler(request: web.Request) -> web.StreamResponse:
            body = await request.read()

            def work(strike: Strike) -> Answer:
                try:
                    self._check(request, body)
                    return call(request, body, strike)
                except WechatError as error:
                    return error.answer
                except Refused as refused:
                    status, code, message = REFUSALS[refused.reason]
                    return as_json(status, {"code": code, "message": message})
                except ValidationError as error:
                    where = "/".join(str(part) for part in error.errors()[0]["loc"])
                    detail = {"field": f"/{where}", "issue": error.errors()[0]["type"], "location": "body"}
                    return as_json(400, {"code": "PARAM_ERROR", "message": "参数错误", "detail": detail})

            return await self._desk.serve(request, operation, work, Voice(self.finish, _failure))

        app.router.add_route(method, path, handler)

    def finish(self, answer: Answer, strike: Strike) -> web.Response:
        """Sign an answer, or forge it."""
        headers = {"Request-ID": secrets.token_hex(16).upper(), "Content-Type": answer.content_type}
        if answer.is_signed:
            headers |= self.signature(answer.body, strike)
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    def signature(self, body: bytes, strike: Strike) -> dict[str, str]:
        """The headers that prove who answers; also those of a notice."""
        moment = self._desk.clock.utc() + timedelta(seconds=strike.skew_s)
        timestamp, nonce = str(int(moment.timestamp())), secrets.token_hex(16)
        is_forged = strike.does(Fault.BAD_SIGNATURE) and not strike.text("serial", "")
        signed = b"something else" if is_forged else answer_text(timestamp, nonce, body)
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": strike.text("serial", self._desk.keys.public_key_id),
            "Wechatpay-Signature": rsa_sign(self._desk.keys.platform, signed),
            "Wechatpay-Signature-Type": SCHEME,
        }

    def _check(self, request: web.Request, body: bytes) -> None:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        given = dict(_PAIR.findall(rest))
        problem = ""
        if scheme != SCHEME or not {"mchid", "nonce_str", "timestamp", "serial_no", "signature"} <= given.keys():
            problem = "Http头Authorization值格式错误，请参考《微信支付商户REST API签名规则》"
        elif given["mchid"] != MCHID or given["serial_no"] != self._desk.keys.merchant_serial:
            problem = "商户号或证书序列号有误"
        elif not given["timestamp"].isdecimal() or self._is_off(int(given["timestamp"])):
            problem = "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟"
        else:
            text = request_text(request.method, request.raw_path, given["timestamp"], given["nonce_str"], body)
            if not rsa_verifies(self._desk.keys.merchant.public_key(), text, given["signature"]):
                problem = "错误的签名，验签失败"
        if problem:
            raise WechatError(401, "SIGN_ERROR", problem)

    def _is_off(self, timestamp: int) -> bool:
        return abs(self._desk.clock.utc().timestamp() - timestamp) > _CLOCK_WINDOW_S

    # --- calls --------------------------------------------------------------------------------------------

    def _code_pay(self, _request: web.Request, body: bytes, strike: Strike) -> Answer:
        asked = _CodePay.model_validate_json(body)
        _owned(asked.mchid, asked.appid)
        order = Order(
            wallet=Wallet.WECHAT,
            out_trade_no=asked.out_trade_no,
            amount_fen=asked.amount.total,
            subject=asked.description,
            attach=asked.attach,
            device=asked.scene_info.device_id,
        )
        trade = self._desk.ledger.code_pay(order, asked.payer.auth_code, pays_after_s=strike.late_s)
        if strike.late_s is not None:
            raise WechatError(500, "SYSTEM_ERROR", "系统繁忙，请稍后重试")
        if trade.state is TradeState.USERPAYING:
            raise WechatError(202, "USERPAYING", "需要用户输入支付密码")
        return as_json(200, transaction(trade, strike.wrong_fen))

    def _native(self, _request: web.Request, body: bytes, _strike: Strike) -> Answer:
        asked = _Native.model_validate_json(body)
        _owned(asked.mchid, asked.appid)
        order = Order(
            wallet=Wallet.WECHAT,
            out_trade_no=asked.out_trade_no,
            amount_fen=asked.amount.total,
            subject=asked.description,
            attach=asked.attach,
            notify_url=asked.notify_url,
            expires_at=asked.time_expire,
        )
        if order.expires_at is not None and order.expires_at <= self._desk.clock.utc():
            raise WechatError(400, "PARAM_ERROR", "time_expire 早于当前时间")
        return as_json(200, {"code_url": self._desk.ledger.show_qr(order, QR_URL).qr})

    def _query(self, request: web.Request, _body: bytes, strike: Strike) -> Answer:
        _owned(request.query.get("mchid", ""))
        found = request.match_info
        trade = self._desk.ledger.find(Wallet.WECHAT, found.get("out_trade_no", ""), found.get("transaction_id", ""))
        answer = as_json(200, transaction(trade, strike.wrong_fen))
        if strike.late_s is not None:
            self._desk.ledger.pay_now(trade)
        return answer

    def _close(self, request: web.Request, body: bytes, strike: Strike) -> Answer:
        _owned(_Owner.model_validate_json(body).mchid)
        trade = self._desk.ledger.find(Wallet.WECHAT, request.match_info["out_trade_no"])
        if strike.late_s is not None:
            self._desk.ledger.pay_now(trade)
        if trade.state in PAID:
            raise WechatError(400, "ORDER_PAID", "订单已支付")
        self._desk.ledger.close(trade)
        return Answer(204, b"")

    def _reverse(self, request: web.Request, body: bytes, strike: Strike) -> Answer:
        _owned(_Owner.model_validate_json(body).mchid)
        trade = self._desk.ledger.find(Wallet.WECHAT, request.match_info["out_trade_no"])
        if strike.late_s is not None:
            self._desk.ledger.pay_now(trade)
        self._desk.ledger.reverse(trade)
        return as_json(200, {"appid": APPID, "mchid": MCHID, "out_trade_no": trade.out_trade_no})

    def _refund(self, _request: web.Request, body: bytes, strike: Strike) -> Answer:
        asked = _Refund.model_validate_json(body)
        trade = self._desk.ledger.find(Wallet.WECHAT, asked.out_trade_no, asked.transaction_id)
        if asked.amount.total != trade.amount_fen:
            raise WechatError(400, "INVALID_REQUEST", "订单总金额与原订单不一致")
        row = self._desk.ledger.refund(
            trade, asked.out_refund_no, asked.amount.refund, reason=asked.reason, notify_url=asked.notify_url
        )
        return as_json(200, refund(trade, row, strike.wrong_fen))

    def _refund_query(self, request: web.Request, _body: bytes, strike: Strike) -> Answer:
        found = self._desk.ledger.find_refund(Wallet.WECHAT, request.match_info["out_refund_no"])
        return as_json(200, refund(*found, strike.wrong_fen))


def transaction(trade: Trade, wrong_fen: int = 0) -> dict[str, Any]:
    """A trade as query and notice tell it."""
    row: dict[str, Any] = {
        "appid": APPID,
        "mchid": MCHID,
        "out_trade_no": trade.out_trade_no,
        "trade_state": trade.state.value,
        "trade_state_desc": STATE_TEXTS[trade.state],
        "attach": trade.attach,
    }
    total = trade.amount_fen + wrong_fen
    if trade.paid_at is None:
        return row | {"amount": {"total": total, "currency": "CNY"}, "payer": {}}
    return row | {
        "transaction_id": trade.transaction_id,
        "trade_type": "MICROPAY" if trade.is_code_payment else "NATIVE",
        "bank_type": "OTHERS",
        "success_time": stamp(trade.paid_at),
        "payer": {"openid": trade.payer},
        "amount": {"total": total, "payer_total": total, "currency": "CNY", "payer_currency": "CNY"},
    }


def refund(trade: Trade, row: Refund, wrong_fen: int = 0) -> dict[str, Any]:
    """A refund as its calls tell it."""
    content: dict[str, Any] = {
        "refund_id": row.refund_id,
        "out_refund_no": row.out_refund_no,
        "transaction_id": trade.transaction_id,
        "out_trade_no": trade.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": stamp(row.created_at),
        "status": row.state.value,
        "funds_account": "AVAILABLE",
        "amount": {
            "total": trade.amount_fen,
            "refund": row.amount_fen + wrong_fen,
            "payer_total": trade.amount_fen,
            "payer_refund": row.amount_fen + wrong_fen,
            "settlement_refund": row.amount_fen + wrong_fen,
            "settlement_total": trade.amount_fen,
            "discount_refund": 0,
            "currency": "CNY",
        },
    }
    if row.state is RefundState.SUCCESS and row.done_at is not None:
        content["success_time"] = stamp(row.done_at)
    return content


def stamp(moment: datetime) -> str:
    """RFC 3339 with China's offset."""
    return moment.astimezone(CHINA).isoformat(timespec="seconds")


def _owned(mchid: str, appid: str = APPID) -> None:
    if mchid != MCHID:
        raise WechatError(400, "PARAM_ERROR", "商户号与签名中的商户号不一致")
    if appid != APPID:
        raise WechatError(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")


def _failure(fault: ScriptedFault) -> Answer:
    content = {"code": fault.text("code", "SYSTEM_ERROR"), "message": fault.text("message", "系统繁忙，请稍后重试")}
    return as_json(int(fault.number("status", 500)), content)
