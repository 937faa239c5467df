"""Alipay's open platform: payment codes, QR codes, query, cancellation, refund, bills, notifications.

One gateway, RSA2 signatures, money in yuan. The signature of an answer covers the characters of its response object
as they came, so they are cut out of the text and not written anew. `20000` and `ACQ.SYSTEM_ERROR` mean that nobody
knows. Source: opendocs.alipay.com, pages of the named methods. Never run against the real gateway.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import BaseModel, ConfigDict, ValidationError
from yarl import URL

from kit.clock import Clock
from patient_platform.money import MoneyError, from_yuan, to_yuan
from patient_platform.payment.channels.alipay_bill import read_bill
from patient_platform.payment.channels.answers import BILL_BYTES, Ask, NoAnswer, fetch
from patient_platform.payment.channels.bills import BillNotReady
from patient_platform.payment.channels.wechat_signing import BadSignature
from patient_platform.payment.model import ChannelName, Leg, Method, MoneyEvent, Reason, Refund
from patient_platform.payment.ports import BillRow, Charge, Evidence, RefundAnswer, Source

ZONE: Final = timezone(timedelta(hours=8))
DESCRIPTION_MAX: Final = 120
_OK: Final = 200
DONE: Final = "10000"
WAITING: Final = "10003"

STATES: Final[Mapping[str, MoneyEvent]] = {
    "WAIT_BUYER_PAY": MoneyEvent.WAITING,
    "TRADE_SUCCESS": MoneyEvent.PAID,
    "TRADE_FINISHED": MoneyEvent.PAID,
    "TRADE_CLOSED": MoneyEvent.REFUSED,
}
NOT_EXIST: Final = "ACQ.TRADE_NOT_EXIST"
REFUSALS: Final[Mapping[str, Reason]] = {
    "ACQ.PAYMENT_AUTH_CODE_INVALID": Reason.CODE_EXPIRED,
    "ACQ.SOUNDWAVE_PARSER_FAIL": Reason.CODE_WRONG,
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": Reason.INSUFFICIENT,
    "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH": Reason.INSUFFICIENT,
    "ACQ.ERROR_BALANCE_PAYMENT_DISABLE": Reason.INSUFFICIENT,
    "ACQ.BUYER_SELLER_EQUAL": Reason.REFUSED,
    "ACQ.TRADE_BUYER_NOT_MATCH": Reason.REFUSED,
    "ACQ.BUYER_ENABLE_STATUS_FORBID": Reason.REFUSED,
    "ACQ.PULL_MOBILE_CASHIER_FAIL": Reason.REFUSED,
    "ACQ.MOBILE_PAYMENT_SWITCH_OFF": Reason.REFUSED,
    "ACQ.PAYMENT_FAIL": Reason.REFUSED,
    "ACQ.PAYMENT_REQUEST_HAS_RISK": Reason.REFUSED,
    "ACQ.NO_PAYMENT_INSTRUMENTS_AVAILABLE": Reason.INSUFFICIENT,
    "ACQ.TOTAL_FEE_EXCEED": Reason.REFUSED,
    "ACQ.INVALID_PARAMETER": Reason.REFUSED,
    "ACQ.ACCESS_FORBIDDEN": Reason.REFUSED,
    "ACQ.EXIST_FORBIDDEN_WORD": Reason.REFUSED,
    "ACQ.PARTNER_ERROR": Reason.REFUSED,
    "isv.invalid-signature": Reason.REFUSED,
    "isv.invalid-app-id": Reason.REFUSED,
    "isv.insufficient-isv-permissions": Reason.REFUSED,
}
"""Errors after which nothing was charged for sure."""
REFUND_CODES: Final[Mapping[str, RefundAnswer]] = {
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": RefundAnswer.NO_FUNDS,
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": RefundAnswer.ABNORMAL,
    "ACQ.REASON_TRADE_BEEN_FREEZEN": RefundAnswer.ABNORMAL,
    "ACQ.TRADE_NOT_EXIST": RefundAnswer.ABNORMAL,
    "ACQ.TRADE_HAS_FINISHED": RefundAnswer.ABNORMAL,
    "ACQ.TRADE_STATUS_ERROR": RefundAnswer.ABNORMAL,
    "ACQ.DISCORDANT_REPEAT_REQUEST": RefundAnswer.ABNORMAL,
    "ACQ.REASON_TRADE_REFUND_FEE_ERR": RefundAnswer.ABNORMAL,
    "ACQ.INVALID_PARAMETER": RefundAnswer.ABNORMAL,
    "ACQ.BUYER_NOT_EXIST": RefundAnswer.ABNORMAL,
}


class Reply(BaseModel):
    """What all answers have, and the fields of those we ask for."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    code: str
    sub_code: str = ""
    out_trade_no: str | None = None
    trade_no: str | None = None
    trade_status: str | None = None
    total_amount: str | None = None
    gmt_payment: str | None = None
    send_pay_date: str | None = None
    qr_code: str | None = None
    retry_flag: str | None = None
    action: str | None = None
    fund_change: str | None = None
    refund_status: str | None = None
    refund_amount: str | None = None
    bill_download_url: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """Who we are to Alipay."""

    gateway_url: str
    app_id: str
    private: rsa.RSAPrivateKey
    public: rsa.RSAPublicKey
    notify_url: str
    seller_id: str | None = None
    timeout_s: float = 10.0


class Alipay:
    """See `ports.Channel`."""

    name = ChannelName.ALIPAY

    def __init__(self, http: aiohttp.ClientSession, app: App, clock: Clock) -> None:
        self._http = http
        self._app = app
        self._clock = clock

    async def submit(self, charge: Charge) -> Evidence:
        """See the port."""
        is_code = charge.method is Method.PAYMENT_CODE
        content: dict[str, Any] = {  # Any: a JSON document
            "out_trade_no": charge.trade_no,
            "subject": charge.description[:DESCRIPTION_MAX],
            "total_amount": to_yuan(charge.amount_fen),
            "terminal_id": charge.kiosk[:32],
        }
        minutes = max(1, -(-int((charge.expires_at - self._clock.utc()).total_seconds()) // 60))
        content |= (
            {"scene": "bar_code", "auth_code": charge.code, "timeout_express": f"{minutes}m"}
            if is_code
            else {"qr_code_timeout_express": f"{minutes}m"}
        )
        method = "alipay.trade.pay" if is_code else "alipay.trade.precreate"
        try:
            reply = await self._call(method, content, is_notified=True)
        except NoAnswer as lost:
            return _lost(Source.RESPONSE, None if lost.was_sent else Reason.CHANNEL_DOWN)
        if reply.code == DONE and not is_code and reply.qr_code:
            return Evidence(MoneyEvent.WAITING, Source.RESPONSE, qr_text=reply.qr_code)
        if reply.code == DONE and is_code and reply.out_trade_no == charge.trade_no:
            return self._evidence(reply, MoneyEvent.PAID, Source.RESPONSE)
        if reply.code == WAITING:
            return Evidence(MoneyEvent.WAITING, Source.RESPONSE, channel_no=reply.trade_no)
        reason = REFUSALS.get(reply.sub_code)
        return (
            _lost(Source.RESPONSE) if reason is None else Evidence(MoneyEvent.REFUSED, Source.RESPONSE, reason=reason)
        )

    async def query(self, leg: Leg) -> Evidence:
        """See the port."""
        try:
            reply = await self._call("alipay.trade.query", {"out_trade_no": leg.trade_no})
        except NoAnswer:
            return _lost(Source.QUERY)
        if reply.sub_code == NOT_EXIST:
            return Evidence(MoneyEvent.NOT_FOUND, Source.QUERY)
        if reply.code != DONE or reply.out_trade_no != leg.trade_no:
            return _lost(Source.QUERY)
        event = STATES.get(reply.trade_status or "", MoneyEvent.LOST)
        evidence = self._evidence(reply, event, Source.QUERY)
        return replace(evidence, reason=Reason.TIMED_OUT) if event is MoneyEvent.REFUSED else evidence

    async def reverse(self, leg: Leg) -> Evidence:
        """See the port."""
        try:
            reply = await self._call("alipay.trade.cancel", {"out_trade_no": leg.trade_no})
        except NoAnswer:
            return _lost(Source.RESPONSE)
        if reply.sub_code == NOT_EXIST:
            return Evidence(MoneyEvent.CLOSED, Source.RESPONSE)
        if reply.code != DONE or reply.retry_flag == "Y":
            return _lost(Source.RESPONSE)
        event = MoneyEvent.REFUNDED if reply.action == "refund" else MoneyEvent.CLOSED
        return Evidence(event, Source.RESPONSE, channel_no=reply.trade_no)

    async def refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """See the port."""
        content = {
            "out_trade_no": leg.trade_no,
            "refund_amount": to_yuan(refund.amount_fen),
            "out_request_no": refund.refund_no,
            "refund_reason": "退款",
        }
        try:
            reply = await self._call("alipay.trade.refund", content)
        except NoAnswer:
            return RefundAnswer.LOST
        if reply.code == DONE:
            # fund_change N: this request moved nothing, because it was done before or is still being done
            return RefundAnswer.SUCCESS if reply.fund_change == "Y" else RefundAnswer.PROCESSING
        return REFUND_CODES.get(reply.sub_code, RefundAnswer.LOST)

    async def query_refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """See the port."""
        content = {"out_trade_no": leg.trade_no, "out_request_no": refund.refund_no}
        try:
            reply = await self._call("alipay.trade.fastpay.refund.query", content)
        except NoAnswer:
            return RefundAnswer.LOST
        if reply.code != DONE:
            return RefundAnswer.NOT_FOUND if reply.sub_code == NOT_EXIST else RefundAnswer.LOST
        if reply.refund_status == "REFUND_SUCCESS" or (reply.refund_status is None and reply.refund_amount):
            return RefundAnswer.SUCCESS
        return RefundAnswer.NOT_FOUND if not reply.refund_amount else RefundAnswer.PROCESSING

    async def bill(self, day: date) -> Sequence[BillRow]:
        """See the port."""
        content = {"bill_type": "trade", "bill_date": day.isoformat()}
        try:
            reply = await self._call("alipay.data.dataservice.bill.downloadurl.query", content)
            if reply.code != DONE or not reply.bill_download_url:
                if reply.sub_code == "isp.bill_not_exist":
                    return []
                raise BillNotReady(reply.sub_code or reply.code)
            url = URL(reply.bill_download_url, encoded=True)
            answer = await fetch(self._http, Ask("GET", url, {}, timeout_s=60.0, limit=BILL_BYTES))
        except NoAnswer as error:
            raise BillNotReady(str(error)) from error
        if answer.status != _OK:
            raise BillNotReady(str(answer.status))
        return read_bill(answer.body)

    def notification(self, fields: Mapping[str, str]) -> tuple[str, Evidence] | None:
        """The trade number and evidence of a notification; None for one of another kind.

        Raises:
            BadSignature: it is not from Alipay.
        """
        text = _sorted(fields, without={"sign", "sign_type"})
        self._verify(text.encode(), fields.get("sign", ""))
        try:
            reply = Reply.model_validate({**fields, "code": DONE})
        except ValidationError as error:
            raise BadSignature("the notification does not have what it must have") from error
        event = STATES.get(reply.trade_status or "")
        if event is not MoneyEvent.PAID or reply.out_trade_no is None or fields.get("refund_fee"):
            return None
        is_ours = fields.get("app_id") == self._app.app_id
        if self._app.seller_id is not None and fields.get("seller_id") != self._app.seller_id:
            is_ours = False
        return reply.out_trade_no, self._evidence(
            reply, MoneyEvent.PAID if is_ours else MoneyEvent.MISMATCH, Source.NOTIFICATION
        )

    # --- parts ---------------------------------------------------------------------------------------------

    async def _call(self, method: str, content: Mapping[str, Any], *, is_notified: bool = False) -> Reply:  # Any: JSON
        """One signed request and its verified answer.

        Raises:
            NoAnswer: none, or one that Alipay has not signed.
        """
        fields = {
            "app_id": self._app.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": self._clock.utc().astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S"),
            "version": "1.0",
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        if is_notified:
            fields["notify_url"] = self._app.notify_url
        fields["sign"] = self._sign(_sorted(fields))
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
        ask = Ask("POST", URL(self._app.gateway_url), headers, urlencode(fields).encode(), self._app.timeout_s)
        answer = await fetch(self._http, ask)
        if answer.status != _OK:
            raise NoAnswer(f"HTTP {answer.status}")
        return self._reply(answer.body, method.replace(".", "_") + "_response")

    def _reply(self, body: bytes, name: str) -> Reply:
        """Cut the response object out of the text and check its signature.

        Raises:
            NoAnswer: it is not there, or not signed by Alipay.
        """
        try:
            text = body.decode()
            whole = json.loads(text)
            known = name if name in whole else "error_response"
            start = text.index(f'"{known}"') + len(known) + 2
            start = text.index("{", start)
            _, end = json.JSONDecoder().raw_decode(text, start)
            self._verify(text[start:end].encode(), str(whole.get("sign", "")))
            return Reply.model_validate(whole[known])
        except (ValueError, KeyError, TypeError, BadSignature) as error:
            raise NoAnswer("an answer that Alipay has not signed") from error

    def _sign(self, text: str) -> str:
        return base64.b64encode(self._app.private.sign(text.encode(), padding.PKCS1v15(), SHA256())).decode()

    def _verify(self, data: bytes, signature: str) -> None:
        try:
            self._app.public.verify(base64.b64decode(signature, validate=True), data, padding.PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise BadSignature("the signature does not fit") from error

    def _evidence(self, reply: Reply, event: MoneyEvent, source: Source) -> Evidence:
        try:
            amount = None if reply.total_amount is None else from_yuan(reply.total_amount)
        except MoneyError:
            amount, event = None, MoneyEvent.MISMATCH
        return Evidence(
            event,
            source,
            channel_no=reply.trade_no,
            amount_fen=amount,
            paid_at=_moment(reply.gmt_payment or reply.send_pay_date),
        )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE).astimezone(UTC)
    except ValueError:
        return None


def _sorted(fields: Mapping[str, str], without: set[str] | frozenset[str] = frozenset({"sign"})) -> str:
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name not in without and fields[name] != "")


def _lost(source: Source, reason: Reason | None = None) -> Evidence:
    return Evidence(MoneyEvent.LOST, source, reason=reason)
