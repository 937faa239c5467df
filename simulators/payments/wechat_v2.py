"""WeChat Pay's older interface, which code payments still may need: XML, signed with MD5 or HMAC-SHA256.

After pay.weixin.qq.com 4011937125 and 4011937361. The real reversal wants a client certificate; this one, on
loopback and without TLS, cannot ask for it.
"""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from aiohttp import web
from pydantic import ValidationError

from simulators.faults import Fault, ScriptedFault
from simulators.payments.desk import Answer, Desk, Strike, Voice, page_failure
from simulators.payments.keys import APPID, MCHID
from simulators.payments.model import CHINA, Order, Reason, Refused, Trade, TradeState, Wallet
from simulators.payments.signatures import v2_sign
from simulators.payments.wechat_v3 import STATE_TEXTS

REFUSALS: Final = {
    Reason.CODE_INVALID: ("AUTH_CODE_INVALID", "请扫描微信支付被扫条码/二维码"),
    Reason.CODE_EXPIRED: ("AUTHCODEEXPIRE", "二维码已过期，请用户在微信上刷新后再试"),
    Reason.CODE_USED: ("AUTH_CODE_ERROR", "付款码已使用，请刷新后再试"),
    Reason.NOT_ENOUGH: ("NOTENOUGH", "余额不足"),
    Reason.USER_PAYING: ("USERPAYING", "正在支付中，不能发起撤销"),
    Reason.TRADE_UNKNOWN: ("ORDERNOTEXIST", "此交易订单号不存在"),
    Reason.TRADE_PAID: ("ORDERPAID", "订单已支付"),
    Reason.TRADE_CLOSED: ("ORDERCLOSED", "订单已关闭"),
    Reason.TRADE_DIFFERS: ("OUT_TRADE_NO_USED", "商户订单号重复"),
    Reason.WRONG_KIND: ("INVALID_REQUEST", "该支付方式不支持此操作"),
    Reason.TOO_OLD: ("REVERSE_EXPIRE", "订单已过撤销期限"),
    Reason.MERCHANT_BALANCE: ("NOTENOUGH", "商户可用退款余额不足"),
}
_FIELD: Final = re.compile(r"<(\w{1,64})>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL)
_WHOLE: Final = re.compile(r"\s*(?:<\?xml[^>]*\?>)?\s*<xml>.*</xml>\s*", re.DOTALL)

Fields = Mapping[str, str]
Call = Callable[[Fields, Strike], dict[str, str]]


class V2Error(Exception):
    """A business error in the words of this interface."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


class WechatV2:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: web.Application) -> None:
        """Mount everything."""
        self._mount(app, "/pay/micropay", "wechat.micropay", self._micropay)
        self._mount(app, "/pay/orderquery", "wechat.orderquery", self._orderquery)
        self._mount(app, "/secapi/pay/reverse", "wechat.reverse_v2", self._reverse)

    def _mount(self, app: web.Application, path: str, operation: str, call: Call) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            fields = read(await request.read())
            kind = fields.get("sign_type", "MD5")

            def work(strike: Strike) -> Answer:
                problem = self._problem(fields)
                if problem:
                    return Answer(200, write({"return_code": "FAIL", "return_msg": problem}), "text/xml")
                return self._answer(fields, call, strike)

            def failure(fault: ScriptedFault) -> Answer:
                code = fault.text("code", "")
                if not code:
                    return page_failure(fault)
                return self._signed(_failed(V2Error(code, fault.text("message", "系统超时"))), kind, Strike())

            def finish(answer: Answer, _strike: Strike) -> web.Response:
                return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

            return await self._desk.serve(request, operation, work, Voice(finish, failure))

        app.router.add_post(path, handler)

    def _answer(self, fields: Fields, call: Call, strike: Strike) -> Answer:
        try:
            content = {"result_code": "SUCCESS", **call(fields, strike)}
        except V2Error as error:
            content = _failed(error)
        except Refused as refused:
            content = _failed(V2Error(*REFUSALS[refused.reason]))
            if call == self._reverse:
                content["recall"] = "Y" if refused.reason is Reason.USER_PAYING else "N"
        except (ValidationError, ValueError):
            content = _failed(V2Error("PARAM_ERROR", "参数错误"))
        return self._signed(content, fields.get("sign_type", "MD5"), strike)

    def _signed(self, content: Fields, kind: str, strike: Strike) -> Answer:
        said = {
            "return_code": "SUCCESS",
            "return_msg": "OK",
            "appid": APPID,
            "mch_id": MCHID,
            "nonce_str": secrets.token_hex(16),
            **content,
        }
        key = "somebody else's" if strike.does(Fault.BAD_SIGNATURE) else self._desk.keys.apiv2
        return Answer(200, write({**said, "sign": v2_sign(said, key, kind)}), "text/xml")

    def _problem(self, fields: Fields) -> str:
        kind = fields.get("sign_type", "MD5")
        if not fields:
            return "XML格式错误"
        if kind not in {"MD5", "HMAC-SHA256"}:
            return "签名类型错误"
        right = v2_sign(fields, self._desk.keys.apiv2, kind)
        if not secrets.compare_digest(right.encode(), fields.get("sign", "").encode()):
            return "签名错误"
        if fields.get("mch_id") != MCHID or fields.get("appid") != APPID:
            return "appid和mch_id不匹配"
        return "" if fields.get("nonce_str") else "缺少参数"

    # --- calls --------------------------------------------------------------------------------------------

    def _micropay(self, fields: Fields, strike: Strike) -> dict[str, str]:
        number = fields.get("out_trade_no", "")
        if not re.fullmatch(r"[0-9A-Za-z_\-*|@]{1,32}", number) or not fields.get("body"):
            raise V2Error("PARAM_ERROR", "参数错误")
        order = Order(
            wallet=Wallet.WECHAT,
            out_trade_no=number,
            amount_fen=int(fields.get("total_fee", "")),
            subject=fields["body"],
            attach=fields.get("attach", ""),
            device=fields.get("device_info", ""),
        )
        trade = self._desk.ledger.code_pay(order, fields.get("auth_code", ""), pays_after_s=strike.late_s)
        if strike.late_s is not None:
            raise V2Error("SYSTEMERROR", "系统超时")
        if trade.state is TradeState.USERPAYING:
            raise V2Error("USERPAYING", "需要用户输入支付密码")
        return _paid(trade, strike.wrong_fen)

    def _orderquery(self, fields: Fields, strike: Strike) -> dict[str, str]:
        trade = self._found(fields)
        content = {
            "out_trade_no": trade.out_trade_no,
            "trade_state": trade.state.value,
            "trade_state_desc": STATE_TEXTS[trade.state],
        }
        if trade.paid_at is not None:
            content |= _paid(trade, strike.wrong_fen)
        if strike.late_s is not None:
            self._desk.ledger.pay_now(trade)
        return content

    def _reverse(self, fields: Fields, strike: Strike) -> dict[str, str]:
        trade = self._found(fields)
        if strike.late_s is not None:
            self._desk.ledger.pay_now(trade)
        self._desk.ledger.reverse(trade)
        return {"recall": "N"}

    def _found(self, fields: Fields) -> Trade:
        return self._desk.ledger.find(Wallet.WECHAT, fields.get("out_trade_no", ""), fields.get("transaction_id", ""))


def read(body: bytes) -> dict[str, str]:
    """The fields of a flat document; nothing when it is none. There are no entities to be had."""
    text = body.decode(errors="replace")
    if "<!DOCTYPE" in text or not _WHOLE.fullmatch(text):
        return {}
    inner = text[text.index("<xml>") + 5 :]
    return {name: cdata or html.unescape(plain).strip() for name, cdata, plain in _FIELD.findall(inner)}


def write(fields: Fields) -> bytes:
    """A flat document."""
    return "".join(
        ["<xml>", *(f"<{name}><![CDATA[{value}]]></{name}>\n" for name, value in fields.items()), "</xml>"]
    ).encode()


def _failed(error: V2Error) -> dict[str, str]:
    return {"result_code": "FAIL", "err_code": error.code, "err_code_des": error.text}


def _paid(trade: Trade, wrong_fen: int) -> dict[str, str]:
    total = str(trade.amount_fen + wrong_fen)
    return {
        "openid": trade.payer,
        "is_subscribe": "N",
        "trade_type": "MICROPAY" if trade.is_code_payment else "NATIVE",
        "bank_type": "OTHERS",
        "fee_type": "CNY",
        "total_fee": total,
        "cash_fee": total,
        "transaction_id": trade.transaction_id,
        "out_trade_no": trade.out_trade_no,
        "attach": trade.attach,
        "time_end": _time(trade.paid_at),
    }


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(CHINA):%Y%m%d%H%M%S}"
