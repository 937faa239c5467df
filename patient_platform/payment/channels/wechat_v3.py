"""WeChat Pay, API version 3: payment codes, Native QR codes, reversal, refund, bills, notifications.

Sources: pay.weixin.qq.com 4012382150 (codepay), the Native and refund pages, 4012084430 (bills). What is signed wrong,
malformed or late is no answer, and no answer is never taken for "not paid". Never run against the real gateway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from yarl import URL

from kit.clock import Clock
from kit.logs import get_logger
from patient_platform.money import Fen
from patient_platform.payment.channels.answers import BILL_BYTES, Answer, Ask, NoAnswer, fetch
from patient_platform.payment.channels.bills import BillInvalid, BillNotReady
from patient_platform.payment.channels.pace import Pace
from patient_platform.payment.channels.wechat_bill import read_bill
from patient_platform.payment.channels.wechat_signing import AGE_MAX_S, BadSignature, ClockDiffers, WechatKeys
from patient_platform.payment.model import ChannelName, Leg, Method, MoneyEvent, Reason, Refund
from patient_platform.payment.ports import BillRow, Charge, Evidence, RefundAnswer, Source

PAY: Final = "/v3/pay/transactions"
REFUNDS: Final = "/v3/refund/domestic/refunds"
DESCRIPTION_MAX: Final = 60
_OK: Final = frozenset({200, 202, 204})
_NOT_FOUND: Final = 404
log = get_logger(__name__)

STATES: Final[Mapping[str, MoneyEvent]] = {
    "SUCCESS": MoneyEvent.PAID,
    "REFUND": MoneyEvent.PAID,
    "NOTPAY": MoneyEvent.WAITING,
    "USERPAYING": MoneyEvent.WAITING,
    "ACCEPT": MoneyEvent.WAITING,
    "CLOSED": MoneyEvent.REFUSED,
    "REVOKED": MoneyEvent.REFUSED,
    "PAYERROR": MoneyEvent.REFUSED,
}
"""`REFUND` means that some of it went back later; that it was paid is all it says of the payment."""
STATE_REASONS: Final = {"CLOSED": Reason.TIMED_OUT, "REVOKED": Reason.TIMED_OUT, "PAYERROR": Reason.REFUSED}
REFUSALS: Final[Mapping[str, Reason]] = {
    "AUTH_CODE_EXPIRED": Reason.CODE_EXPIRED,
    "AUTHCODEEXPIRE": Reason.CODE_EXPIRED,
    "AUTH_CODE_INVALID": Reason.CODE_WRONG,
    "AUTH_CODE_ERROR": Reason.CODE_WRONG,
    "AUTHCODE_USED": Reason.CODE_USED,
    "NOT_ENOUGH": Reason.INSUFFICIENT,
    "NOTENOUGH": Reason.INSUFFICIENT,
    "RULE_LIMIT": Reason.REFUSED,
    "RULELIMIT": Reason.REFUSED,
    "TRADE_ERROR": Reason.REFUSED,
    "PARAM_ERROR": Reason.REFUSED,
    "NO_AUTH": Reason.REFUSED,
    "NOAUTH": Reason.REFUSED,
    "SIGN_ERROR": Reason.REFUSED,
    "MCH_NOT_EXISTS": Reason.REFUSED,
    "APPID_MCHID_NOT_MATCH": Reason.REFUSED,
    "ACCOUNT_ERROR": Reason.REFUSED,
}
"""Errors after which nothing was charged for sure. Every other one is not known: the query tells."""
WAITING_CODES: Final = frozenset({"USERPAYING", "USER_PAYING"})
PAID_CODES: Final = frozenset({"ORDERPAID", "ORDER_PAID"})
CLOSED_CODES: Final = frozenset({"ORDERCLOSED", "ORDER_CLOSED", "ORDER_NOT_EXIST", "ORDERNOTEXIST", "ORDER_REVERSED"})
REFUND_STATES: Final[Mapping[str, RefundAnswer]] = {
    "SUCCESS": RefundAnswer.SUCCESS,
    "PROCESSING": RefundAnswer.PROCESSING,
    "ABNORMAL": RefundAnswer.ABNORMAL,
    "CLOSED": RefundAnswer.ABNORMAL,
}
REFUND_CODES: Final[Mapping[str, RefundAnswer]] = {
    "NOT_ENOUGH": RefundAnswer.NO_FUNDS,
    "NOTENOUGH": RefundAnswer.NO_FUNDS,
    "RESOURCE_NOT_EXISTS": RefundAnswer.ABNORMAL,
    "INVALID_REQUEST": RefundAnswer.ABNORMAL,
    "PARAM_ERROR": RefundAnswer.ABNORMAL,
    "MCH_NOT_EXISTS": RefundAnswer.ABNORMAL,
}


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Amount(_Item):
    total: int
    currency: str = "CNY"


class Transaction(_Item):
    """What the channel says of a payment, in an answer or a notification."""

    out_trade_no: str
    mchid: str
    appid: str
    trade_state: str
    transaction_id: str | None = None
    success_time: AwareDatetime | None = None
    amount: _Amount | None = None


class _Problem(_Item):
    code: str = ""


class _Resource(_Item):
    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str = ""


class _Notification(_Item):
    event_type: str
    resource: _Resource


@dataclass(frozen=True, slots=True)
class Merchant:
    """Who we are to WeChat."""

    base_url: str
    appid: str
    keys: WechatKeys
    notify_url: str
    timeout_s: float = 10.0
    calls_per_s: float = 29.0


class WechatV3:
    """See `ports.Channel`."""

    name = ChannelName.WECHAT

    def __init__(self, http: aiohttp.ClientSession, merchant: Merchant, clock: Clock) -> None:
        self._http = http
        self._merchant = merchant
        self._clock = clock
        self.pace = Pace(merchant.calls_per_s)
        self.skew_s = 0.0
        """By how much WeChat's clock was ahead of ours when it answered last."""

    async def submit(self, charge: Charge) -> Evidence:
        """See the port."""
        body = self._order(charge)
        is_code = charge.method is Method.PAYMENT_CODE
        if is_code:
            body |= {"payer": {"auth_code": charge.code}, "scene_info": {"device_id": charge.kiosk}}
            body.pop("notify_url")
            body.pop("time_expire")
        try:
            answer = await self._call("POST", f"{PAY}/{'codepay' if is_code else 'native'}", body)
        except NoAnswer as lost:
            return _lost(Source.RESPONSE, None if lost.was_sent else Reason.CHANNEL_DOWN)
        if answer.status not in _OK:
            return _refusal(answer)
        if is_code:
            return self._transaction(answer.body, charge.trade_no, Source.RESPONSE)
        return _qr_code(answer.body)

    async def query(self, leg: Leg) -> Evidence:
        """See the port."""
        target = f"{PAY}/out-trade-no/{quote(leg.trade_no)}?mchid={self._merchant.keys.mchid}"
        try:
            answer = await self._call("GET", target)
        except NoAnswer:
            return _lost(Source.QUERY)
        if answer.status == _NOT_FOUND and _code(answer) in CLOSED_CODES:
            return Evidence(MoneyEvent.NOT_FOUND, Source.QUERY)
        if answer.status not in _OK:
            return _lost(Source.QUERY)
        return self._transaction(answer.body, leg.trade_no, Source.QUERY)

    async def reverse(self, leg: Leg) -> Evidence:
        """See the port: a payment code is reversed, which returns money; a QR code's order is closed."""
        is_code = leg.method is Method.PAYMENT_CODE
        body = {"mchid": self._merchant.keys.mchid} | ({"appid": self._merchant.appid} if is_code else {})
        target = f"{PAY}/out-trade-no/{quote(leg.trade_no)}/{'reverse' if is_code else 'close'}"
        try:
            answer = await self._call("POST", target, body)
        except NoAnswer:
            return _lost(Source.RESPONSE)
        if answer.status in _OK:
            event = MoneyEvent.REFUNDED if is_code and leg.was_paid else MoneyEvent.CLOSED
            return Evidence(event, Source.RESPONSE)
        code = _code(answer)
        if code in CLOSED_CODES:
            return Evidence(MoneyEvent.CLOSED, Source.RESPONSE)
        if code in PAID_CODES and not is_code:
            return Evidence(MoneyEvent.NOT_REVERSIBLE, Source.RESPONSE)
        return _lost(Source.RESPONSE)

    async def refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """See the port."""
        body = {
            "out_trade_no": leg.trade_no,
            "out_refund_no": refund.refund_no,
            "reason": "退款",
            "amount": {"refund": refund.amount_fen, "total": leg.amount_fen, "currency": "CNY"},
        }
        try:
            answer = await self._call("POST", REFUNDS, body)
        except NoAnswer:
            return RefundAnswer.LOST
        if answer.status not in _OK:
            return REFUND_CODES.get(_code(answer), RefundAnswer.LOST)
        return _refund_state(answer.body)

    async def query_refund(self, leg: Leg, refund: Refund) -> RefundAnswer:  # noqa: ARG002 - Alipay needs the leg
        """See the port."""
        try:
            answer = await self._call("GET", f"{REFUNDS}/{quote(refund.refund_no)}")
        except NoAnswer:
            return RefundAnswer.LOST
        if answer.status == _NOT_FOUND and _code(answer) == "RESOURCE_NOT_EXISTS":
            return RefundAnswer.NOT_FOUND
        return _refund_state(answer.body) if answer.status in _OK else RefundAnswer.LOST

    async def bill(self, day: date) -> Sequence[BillRow]:
        """See the port."""
        target = f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL&tar_type=GZIP"
        try:
            answer = await self._call("GET", target)
            if answer.status not in _OK:
                code = _code(answer)
                if code == "NO_STATEMENT_EXIST":
                    return []
                raise BillNotReady(code or str(answer.status))
            place = _place(answer.body)
            packed = await self._download(place["download_url"])
        except NoAnswer as error:
            raise BillNotReady(str(error)) from error
        return read_bill(packed, place.get("hash_value", ""), self._merchant.keys.mchid)

    def notification(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Evidence] | None:
        """The trade number and evidence of a notification; None for one of another kind.

        Raises:
            BadSignature: it is not from WeChat, too old, or sealed for somebody else.
        """
        keys = self._merchant.keys
        keys.verify(headers, body, self._clock)
        try:
            message = _Notification.model_validate_json(body)
            opened = keys.unseal(message.resource.nonce, message.resource.associated_data, message.resource.ciphertext)
            if message.event_type != "TRANSACTION.SUCCESS":
                return None
            transaction = Transaction.model_validate_json(opened)
        except ValidationError as error:
            raise BadSignature("the notification does not have what it must have") from error
        return transaction.out_trade_no, self._evidence(transaction, Source.NOTIFICATION)

    # --- parts ---------------------------------------------------------------------------------------------

    def _order(self, charge: Charge) -> dict[str, Any]:  # Any: a JSON document
        return {
            "appid": self._merchant.appid,
            "mchid": self._merchant.keys.mchid,
            "description": charge.description[:DESCRIPTION_MAX],
            "out_trade_no": charge.trade_no,
            "time_expire": charge.expires_at.isoformat(timespec="seconds"),
            "notify_url": self._merchant.notify_url,
            "amount": {"total": charge.amount_fen, "currency": "CNY"},
        }

    async def _call(self, method: str, target: str, body: Mapping[str, Any] | None = None) -> Answer:  # Any: JSON
        """One signed request and its verified answer.

        Raises:
            NoAnswer: none, or one that WeChat has not signed.
        """
        await self.pace.turn()
        text = "" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        keys = self._merchant.keys
        headers = {
            "Authorization": keys.authorization(method, target, text, self._clock),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "hospital-kiosk-platform",
        }
        url = URL(self._merchant.base_url + target, encoded=True)
        data = text.encode() if body is not None else None
        answer = await fetch(self._http, Ask(method, url, headers, data, self._merchant.timeout_s))
        try:
            self._note_skew(keys.verify(answer.headers, answer.body, self._clock))
        except BadSignature as error:
            if isinstance(error, ClockDiffers):
                self._note_skew(error.skew_s)
            raise NoAnswer(str(error)) from error
        return answer

    def _note_skew(self, skew_s: float) -> None:
        """Nobody can pay while the clocks differ, and only this line says why."""
        was_off, is_off = abs(self.skew_s) > AGE_MAX_S, abs(skew_s) > AGE_MAX_S
        self.skew_s = skew_s
        if is_off and not was_off:
            log.error("channel.clock_differs", channel=self.name.value, skew_s=round(skew_s))
        elif was_off and not is_off:
            log.warning("channel.clock_agrees", channel=self.name.value, skew_s=round(skew_s))

    async def _download(self, link: str) -> bytes:
        """The second step: signed by us, not by them; its hash stands in the first answer."""
        url = URL(link, encoded=True)
        keys = self._merchant.keys
        target = url.raw_path_qs
        headers = {"Authorization": keys.authorization("GET", target, "", self._clock)}
        answer = await fetch(self._http, Ask("GET", url, headers, timeout_s=60.0, limit=BILL_BYTES))
        if answer.status not in _OK:
            raise BillNotReady(str(answer.status))
        return answer.body

    def _transaction(self, body: bytes, trade_no: str, source: Source) -> Evidence:
        try:
            transaction = Transaction.model_validate_json(body)
        except ValidationError:
            problem = _problem(body)
            waiting = problem in WAITING_CODES
            return Evidence(MoneyEvent.WAITING, source) if waiting else _lost(source)
        if transaction.out_trade_no != trade_no:
            return _lost(source)
        return self._evidence(transaction, source)

    def _evidence(self, transaction: Transaction, source: Source) -> Evidence:
        merchant = self._merchant
        if transaction.mchid != merchant.keys.mchid or transaction.appid != merchant.appid:
            return Evidence(MoneyEvent.MISMATCH, source)
        amount = transaction.amount
        event = STATES.get(transaction.trade_state, MoneyEvent.LOST)
        if amount is not None and amount.currency != "CNY":
            event = MoneyEvent.MISMATCH
        return Evidence(
            event,
            source,
            channel_no=transaction.transaction_id,
            amount_fen=None if amount is None else Fen(amount.total),
            paid_at=transaction.success_time,
            reason=STATE_REASONS.get(transaction.trade_state),
        )


def _lost(source: Source, reason: Reason | None = None) -> Evidence:
    return Evidence(MoneyEvent.LOST, source, reason=reason)


def _problem(body: bytes) -> str:
    try:
        return _Problem.model_validate_json(body).code
    except ValidationError:
        return ""


def _code(answer: Answer) -> str:
    return _problem(answer.body)


def _refusal(answer: Answer) -> Evidence:
    code = _code(answer)
    if code in WAITING_CODES:
        return Evidence(MoneyEvent.WAITING, Source.RESPONSE)
    reason = REFUSALS.get(code)
    if reason is None:
        return _lost(Source.RESPONSE)
    return Evidence(MoneyEvent.REFUSED, Source.RESPONSE, reason=reason)


class _Native(_Item):
    code_url: str


def _qr_code(body: bytes) -> Evidence:
    try:
        text = _Native.model_validate_json(body).code_url
    except ValidationError:
        return _lost(Source.RESPONSE)
    return Evidence(MoneyEvent.WAITING, Source.RESPONSE, qr_text=text)


class _RefundAnswer(_Item):
    status: str


def _refund_state(body: bytes) -> RefundAnswer:
    try:
        return REFUND_STATES.get(_RefundAnswer.model_validate_json(body).status, RefundAnswer.LOST)
    except ValidationError:
        return RefundAnswer.LOST


class _Place(_Item):
    download_url: str
    hash_value: str = ""


def _place(body: bytes) -> dict[str, str]:
    try:
        return _Place.model_validate_json(body).model_dump()
    except ValidationError as error:
        raise BillInvalid("the answer names no file") from error
