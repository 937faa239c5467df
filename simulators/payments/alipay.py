"""Alipay's gateway: one address, the method in a field, RSA2 over the fields and over the raw answer.

After the public documents of opendocs.alipay.com. As there, a trade of a shown code does not exist until somebody
scans it, cancelling what does not exist succeeds, and slashes in answers are escaped. Never seen on the real service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from simulators.faults import Fault, ScriptedFault
from simulators.payments.desk import Answer, Desk, Strike, Voice, page_failure
from simulators.payments.keys import APP_ID, SELLER_ID
from simulators.payments.model import CHINA, OPEN, PAID, Order, Reason, Refund, Refused, Trade, TradeState, Wallet
from simulators.payments.money import fen, yuan
from simulators.payments.signatures import alipay_text, rsa_sign, rsa_verifies

QR_URL: Final = "https://qr.alipay.com/bax"
SUCCESS: Final = {"code": "10000", "msg": "Success"}
REFUSALS: Final = {
    Reason.CODE_INVALID: ("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付失败，获取顾客账户信息失败，请顾客刷新付款码后重试"),
    Reason.CODE_EXPIRED: ("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付失败，获取顾客账户信息失败，请顾客刷新付款码后重试"),
    Reason.CODE_USED: ("ACQ.PAYMENT_AUTH_CODE_INVALID", "支付失败，获取顾客账户信息失败，请顾客刷新付款码后重试"),
    Reason.NOT_ENOUGH: ("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足"),
    Reason.TRADE_UNKNOWN: ("ACQ.TRADE_NOT_EXIST", "交易不存在"),
    Reason.TRADE_PAID: ("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"),
    Reason.TRADE_CLOSED: ("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
    Reason.TRADE_DIFFERS: ("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
    Reason.TRADE_NOT_PAID: ("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"),
    Reason.TOO_OLD: ("ACQ.TRADE_CANCEL_TIME_OUT", "超过撤销时间范围"),
    Reason.REFUND_TOO_MUCH: ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额大于可退金额"),
    Reason.REFUND_DIFFERS: ("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求"),
    Reason.MERCHANT_BALANCE: ("ACQ.SELLER_BALANCE_NOT_ENOUGH", "商户的支付宝账户中无足够的资金进行撤销"),
}
_TIMEOUT: Final = re.compile(r"(\d{1,5})([mhd])")
_UNIT_S: Final = {"m": 60, "h": 3_600, "d": 86_400}


def _fen(value: object) -> int:
    return fen(str(value))


Money = Annotated[int, BeforeValidator(_fen), Field(ge=1)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Ordered(_Asked):
    out_trade_no: str = Field(min_length=1, max_length=64)
    total_amount: Money
    subject: str = Field(min_length=1, max_length=256)
    body: str = ""
    store_id: str = ""
    operator_id: str = ""
    terminal_id: str = ""
    timeout_express: str = ""
    qr_code_timeout_express: str = ""
    time_expire: str = ""


class _Pay(_Ordered):
    scene: str = Field(pattern="^(bar_code|security_code)$")
    auth_code: str


class _Which(_Asked):
    out_trade_no: str = ""
    trade_no: str = ""


class _Refund(_Which):
    refund_amount: Money
    out_request_no: str = ""
    refund_reason: str = ""


class _RefundQuery(_Which):
    out_request_no: str


class AlipayError(Exception):
    """An answer that is not the one asked for."""

    def __init__(self, code: str, msg: str, sub_code: str, sub_msg: str) -> None:
        super().__init__(sub_code)
        self.content = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg}


Call = Callable[[str, Mapping[str, str], Strike], dict[str, Any]]


class Alipay:
    """The gateway; `add_to` mounts it, `offer` adds a method."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._methods: dict[str, tuple[str, Call]] = {
            "alipay.trade.pay": ("alipay.pay", self._pay),
            "alipay.trade.precreate": ("alipay.precreate", self._precreate),
            "alipay.trade.query": ("alipay.query", self._query),
            "alipay.trade.cancel": ("alipay.cancel", self._cancel),
            "alipay.trade.close": ("alipay.close", self._close),
            "alipay.trade.refund": ("alipay.refund", self._refund),
            "alipay.trade.fastpay.refund.query": ("alipay.refund_query", self._refund_query),
        }

    def offer(self, method: str, operation: str, call: Call) -> None:
        """Answer one more method."""
        self._methods[method] = (operation, call)

    def add_to(self, app: web.Application) -> None:
        """Mount everything."""
        app.router.add_post("/gateway.do", self._gateway)

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        fields = {name: str(value) for name, value in {**request.query, **form}.items()}
        method = fields.get("method", "")
        operation, call = self._methods.get(method, ("alipay.unknown", _unknown))
        node = f"{method.replace('.', '_')}_response" if method in self._methods else "error_response"

        def work(strike: Strike) -> Answer:
            try:
                self._check(fields)
                content = call(fields.get("biz_content", ""), fields, strike)
            except AlipayError as error:
                content = error.content
            except Refused as refused:
                sub_code, sub_msg = REFUSALS[refused.reason]
                content = {"code": "40004", "msg": "Business Failed", "sub_code": sub_code, "sub_msg": sub_msg}
            except ValidationError as error:
                where = "/".join(str(part) for part in error.errors()[0]["loc"])
                content = AlipayError("40004", "Business Failed", "ACQ.INVALID_PARAMETER", f"参数无效：{where}").content
            return _raw(content)

        def finish(answer: Answer, strike: Strike) -> web.Response:
            return self._finish(node, answer, strike)

        return await self._desk.serve(request, operation, work, Voice(finish, _failure))

    def _finish(self, node: str, answer: Answer, strike: Strike) -> web.Response:
        if not answer.is_signed:
            return web.Response(status=answer.status, body=answer.body, content_type="text/html", charset="utf-8")
        signed = b"something else" if strike.does(Fault.BAD_SIGNATURE) else answer.body
        sign = rsa_sign(self._desk.keys.alipay, signed)
        body = f'{{"{node}":'.encode() + answer.body + f',"sign":"{sign}"}}'.encode()
        headers = {"Content-Type": "text/html;charset=utf-8"}  # as the real gateway says
        return web.Response(status=answer.status, body=body, headers=headers)

    def _check(self, fields: Mapping[str, str]) -> None:
        def invalid(sub_code: str, sub_msg: str) -> AlipayError:
            return AlipayError("40002", "Invalid Arguments", sub_code, sub_msg)

        if fields.get("app_id") != APP_ID:
            raise invalid("isv.invalid-app-id", "无效的AppID参数")
        if fields.get("sign_type") != "RSA2":
            raise invalid("isv.invalid-signature-type", "无效的签名类型")
        if fields.get("charset", "").lower() != "utf-8":
            raise invalid("isv.invalid-charset", "字符集错误")
        text = alipay_text(fields)
        if not rsa_verifies(self._desk.keys.app.public_key(), text, fields.get("sign", "")):
            raise invalid("isv.invalid-signature", "无效签名")
        try:
            datetime.strptime(fields.get("timestamp", ""), "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
        except ValueError:
            raise invalid("isv.invalid-timestamp", "非法的时间戳参数") from None

    # --- methods ------------------------------------------------------------------------------------------

    def _pay(self, biz: str, fields: Mapping[str, str], strike: Strike) -> dict[str, Any]:
        asked = _Pay.model_validate_json(biz)
        trade = self._desk.ledger.code_pay(self._order(asked, fields), asked.auth_code, pays_after_s=strike.late_s)
        if strike.late_s is not None:
            raise AlipayError("20000", "Service Currently Unavailable", "aop.ACQ.SYSTEM_ERROR", "系统异常")
        if trade.state is TradeState.USERPAYING:
            waiting = {"code": "10003", "msg": "order success pay inprocess"}
            return waiting | _named(trade) | {"total_amount": yuan(trade.amount_fen)}
        return SUCCESS | _named(trade) | _paid(trade, strike.wrong_fen) | {"gmt_payment": _time(trade.paid_at)}

    def _precreate(self, biz: str, fields: Mapping[str, str], _strike: Strike) -> dict[str, Any]:
        trade = self._desk.ledger.show_qr(self._order(_Ordered.model_validate_json(biz), fields), QR_URL)
        return SUCCESS | {"out_trade_no": trade.out_trade_no, "qr_code": trade.qr}

    def _query(self, biz: str, _fields: Mapping[str, str], strike: Strike) -> dict[str, Any]:
        trade = self._found(_Which.model_validate_json(biz))
        content = SUCCESS | _named(trade) | {"trade_status": _status(trade)}
        if trade.paid_at is None:
            content |= {"total_amount": yuan(trade.amount_fen + strike.wrong_fen)}
        else:
            content |= _paid(trade, strike.wrong_fen) | {"send_pay_date": _time(trade.paid_at)}
        if strike.late_s is not None:
            self._desk.ledger.pay_now(trade)
        return content

    def _cancel(self, biz: str, _fields: Mapping[str, str], strike: Strike) -> dict[str, Any]:
        asked = _Which.model_validate_json(biz)
        try:
            trade = self._desk.ledger.find(Wallet.ALIPAY, asked.out_trade_no, asked.trade_no)
        except Refused:
            return SUCCESS | {"out_trade_no": asked.out_trade_no, "retry_flag": "N"}
        if strike.late_s is not None:
            self._desk.ledger.pay_now(trade)
        was_paid = trade.state in PAID
        was_open = trade.state in OPEN
        self._desk.ledger.reverse(trade)
        content = SUCCESS | _named(trade) | {"retry_flag": "N"}
        return content | ({"action": "refund" if was_paid else "close"} if was_paid or was_open else {})

    def _close(self, biz: str, _fields: Mapping[str, str], _strike: Strike) -> dict[str, Any]:
        trade = self._found(_Which.model_validate_json(biz))
        if trade.state not in OPEN:
            raise AlipayError("40004", "Business Failed", "ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        self._desk.ledger.close(trade)
        return SUCCESS | _named(trade)

    def _refund(self, biz: str, _fields: Mapping[str, str], strike: Strike) -> dict[str, Any]:
        asked = _Refund.model_validate_json(biz)
        trade = self._found(asked)
        number = asked.out_request_no or trade.out_trade_no
        is_new = all(one.out_refund_no != number for one in trade.refunds)
        self._desk.ledger.refund(trade, number, asked.refund_amount, reason=asked.refund_reason)
        return (
            SUCCESS
            | _named(trade)
            | {
                "buyer_logon_id": _masked(trade),
                "buyer_user_id": trade.payer,
                "fund_change": "Y" if is_new else "N",
                "gmt_refund_pay": _time(self._desk.clock.utc()),
                "refund_fee": yuan(trade.refunded_fen + strike.wrong_fen),
                "send_back_fee": yuan(asked.refund_amount if is_new else 0),
            }
        )

    def _refund_query(self, biz: str, _fields: Mapping[str, str], strike: Strike) -> dict[str, Any]:
        asked = _RefundQuery.model_validate_json(biz)
        trade = self._found(asked)
        row = next((one for one in trade.refunds if one.out_refund_no == asked.out_request_no), None)
        if row is None:
            return dict(SUCCESS)
        return SUCCESS | _named(trade) | _refunded(trade, row, strike.wrong_fen)

    def _found(self, asked: _Which) -> Trade:
        trade = self._desk.ledger.find(Wallet.ALIPAY, asked.out_trade_no, asked.trade_no)
        if not (trade.is_code_payment or trade.payer):
            raise Refused(Reason.TRADE_UNKNOWN)
        return trade

    def _order(self, asked: _Ordered, fields: Mapping[str, str]) -> Order:
        now = self._desk.clock.utc()
        expires_at = None
        if asked.time_expire:
            try:
                expires_at = datetime.strptime(asked.time_expire, "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
            except ValueError:
                raise AlipayError("40004", "Business Failed", "ACQ.INVALID_PARAMETER", "time_expire") from None
        elif match := _TIMEOUT.fullmatch(asked.timeout_express or asked.qr_code_timeout_express):
            expires_at = now + timedelta(seconds=int(match.group(1)) * _UNIT_S[match.group(2)])
        return Order(
            wallet=Wallet.ALIPAY,
            out_trade_no=asked.out_trade_no,
            amount_fen=asked.total_amount,
            subject=asked.subject,
            attach=asked.body,
            notify_url=fields.get("notify_url", ""),
            device=asked.terminal_id,
            operator=asked.operator_id,
            store=asked.store_id,
            expires_at=expires_at,
        )


def _unknown(_biz: str, _fields: Mapping[str, str], _strike: Strike) -> dict[str, Any]:
    raise AlipayError("40002", "Invalid Arguments", "isv.invalid-method", "不存在的方法名")


def notice_fields(trade: Trade, moment: datetime, number: str, wrong_fen: int = 0) -> dict[str, str]:
    """What a notice says, unsigned."""
    total = yuan(trade.amount_fen + wrong_fen)
    content = {
        "notify_time": _time(moment),
        "notify_type": "trade_status_sync",
        "notify_id": number,
        "app_id": APP_ID,
        "charset": "utf-8",
        "version": "1.0",
        "sign_type": "RSA2",
        "trade_no": trade.transaction_id,
        "out_trade_no": trade.out_trade_no,
        "trade_status": _status(trade),
        "total_amount": total,
        "receipt_amount": total,
        "buyer_pay_amount": total,
        "invoice_amount": total,
        "subject": trade.subject,
        "body": trade.attach,
        "buyer_id": trade.payer,
        "seller_id": SELLER_ID,
        "gmt_create": _time(trade.created_at),
        "gmt_payment": _time(trade.paid_at),
        "fund_bill_list": json.dumps([{"amount": total, "fundChannel": "ALIPAYACCOUNT"}]),
    }
    return {name: value for name, value in content.items() if value}


def _named(trade: Trade) -> dict[str, Any]:
    return {"trade_no": trade.transaction_id, "out_trade_no": trade.out_trade_no}


def _paid(trade: Trade, wrong_fen: int) -> dict[str, Any]:
    total = yuan(trade.amount_fen + wrong_fen)
    return {
        "buyer_logon_id": _masked(trade),
        "buyer_user_id": trade.payer,
        "total_amount": total,
        "receipt_amount": total,
        "buyer_pay_amount": total,
        "invoice_amount": total,
        "point_amount": "0.00",
        "fund_bill_list": [{"amount": total, "fund_channel": "ALIPAYACCOUNT"}],
        "store_name": "",
    }


def _refunded(trade: Trade, row: Refund, wrong_fen: int) -> dict[str, Any]:
    return {
        "out_request_no": row.out_refund_no,
        "total_amount": yuan(trade.amount_fen),
        "refund_amount": yuan(row.amount_fen + wrong_fen),
        "refund_status": "REFUND_SUCCESS",
        "gmt_refund_pay": _time(row.created_at),
    }


def _status(trade: Trade) -> str:
    if trade.state in OPEN:
        return "WAIT_BUYER_PAY"
    is_closed = trade.state not in PAID or trade.refunded_fen >= trade.amount_fen
    return "TRADE_CLOSED" if is_closed else "TRADE_SUCCESS"


def _masked(trade: Trade) -> str:
    return f"138****{trade.payer[-4:]}" if trade.payer else ""


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"


def _raw(content: Mapping[str, Any]) -> Answer:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
    return Answer(200, text.encode())


def _failure(fault: ScriptedFault) -> Answer:
    """Nothing but an error page, or the business error the script names."""
    code = fault.text("code", "")
    if not code:
        return page_failure(fault)
    msg = fault.text("message", "Service Currently Unavailable" if code == "20000" else "Business Failed")
    sub_code = fault.text("sub_code", "ACQ.SYSTEM_ERROR")
    return _raw({"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": "系统错误"})
