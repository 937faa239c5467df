"""WeChat Pay, API version 2, for payment codes: micropay, orderquery, reverse. Everything else goes to version 3.

XML with HMAC-SHA256 signatures; a reversal wants a client certificate and may say `recall=Y`: send it again.
Sources: pay.weixin.qq.com 4011937125 (micropay), 4011937361 (reverse). Never run against the real gateway.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

import aiohttp
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from yarl import URL

from kit.clock import Clock
from patient_platform.errors import SetupError
from patient_platform.money import Fen
from patient_platform.payment.channels.answers import Ask, NoAnswer, fetch
from patient_platform.payment.channels.wechat_v3 import REFUSALS, STATE_REASONS, STATES, WechatV3
from patient_platform.payment.model import ChannelName, Leg, Method, MoneyEvent, Reason, Refund
from patient_platform.payment.ports import BillRow, Charge, Evidence, RefundAnswer, Source
from patient_platform.settings import WechatSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

DESCRIPTION_MAX: Final = 40
_ZONE: Final = timezone(timedelta(hours=8))
_OK: Final = 200
_WAITING: Final = frozenset({"USERPAYING"})
_NOT_FOUND: Final = frozenset({"ORDERNOTEXIST"})
_SURE: Final[Mapping[str, Reason]] = {
    **REFUSALS,
    "AUTH_CODE_ERROR": Reason.CODE_WRONG,
    "ORDERREVERSED": Reason.REFUSED,
    "BUYER_MISMATCH": Reason.REFUSED,
    "NOTSUPORTCARD": Reason.REFUSED,
    "APPID_NOT_EXIST": Reason.REFUSED,
    "MCHID_NOT_EXIST": Reason.REFUSED,
    "LACK_PARAMS": Reason.REFUSED,
    "XML_FORMAT_ERROR": Reason.REFUSED,
    "SIGNERROR": Reason.REFUSED,
    "TRADE_ERROR": Reason.REFUSED,
}


@dataclass(frozen=True, slots=True)
class MerchantV2:
    """Who we are to version 2."""

    base_url: str
    mchid: str
    appid: str
    key: bytes
    tls: ssl.SSLContext | None
    timeout_s: float


class WechatV2:
    """See `ports.Channel`; `newer` does everything that is not a payment code."""

    name = ChannelName.WECHAT

    def __init__(self, http: aiohttp.ClientSession, merchant: MerchantV2, newer: WechatV3, clock: Clock) -> None:
        self.newer = newer
        self._http = http
        self._merchant = merchant
        self._clock = clock

    @classmethod
    def of(cls, settings: WechatSettings, http: aiohttp.ClientSession, newer: WechatV3, clock: Clock) -> WechatV2:
        """From the settings.

        Raises:
            SetupError: the key of version 2 is missing, or the client certificate cannot be used.
        """
        if settings.apiv2_key_file is None:
            raise SetupError("code_api v2 needs apiv2_key_file")
        tls: ssl.SSLContext | None = None
        if settings.client_certificate_file is not None:
            tls = ssl.create_default_context()
            try:
                tls.load_cert_chain(settings.client_certificate_file, settings.client_key_file)
            except OSError as error:
                raise SetupError("the WeChat client certificate cannot be used") from error
        merchant = MerchantV2(
            settings.base_url.rstrip("/"),
            settings.mchid,
            settings.appid,
            settings.apiv2_key_file.read().encode(),
            tls,
            settings.timeout_s,
        )
        return cls(http, merchant, newer, clock)

    async def submit(self, charge: Charge) -> Evidence:
        """See the port."""
        if charge.method is not Method.PAYMENT_CODE:
            return await self.newer.submit(charge)
        fields = {
            "body": charge.description[:DESCRIPTION_MAX],
            "out_trade_no": charge.trade_no,
            "total_fee": str(charge.amount_fen),
            "spbill_create_ip": "127.0.0.1",
            "device_info": charge.kiosk[:32],
            "auth_code": charge.code or "",
        }
        try:
            reply = await self._call("/pay/micropay", fields)
        except NoAnswer as lost:
            reason = None if lost.was_sent else Reason.CHANNEL_DOWN
            return Evidence(MoneyEvent.LOST, Source.RESPONSE, reason=reason)
        if reply.get("result_code") == "SUCCESS":
            return self._paid(reply, charge.trade_no, Source.RESPONSE)
        code = reply.get("err_code", "")
        if code in _WAITING:
            return Evidence(MoneyEvent.WAITING, Source.RESPONSE)
        if code in _SURE:
            return Evidence(MoneyEvent.REFUSED, Source.RESPONSE, reason=_SURE[code])
        return Evidence(MoneyEvent.LOST, Source.RESPONSE)

    async def query(self, leg: Leg) -> Evidence:
        """See the port."""
        if leg.method is not Method.PAYMENT_CODE:
            return await self.newer.query(leg)
        try:
            reply = await self._call("/pay/orderquery", {"out_trade_no": leg.trade_no})
        except NoAnswer:
            return Evidence(MoneyEvent.LOST, Source.QUERY)
        if reply.get("err_code", "") in _NOT_FOUND:
            return Evidence(MoneyEvent.NOT_FOUND, Source.QUERY)
        state = reply.get("trade_state", "")
        event = STATES.get(state, MoneyEvent.LOST)
        if reply.get("result_code") != "SUCCESS" or event is MoneyEvent.LOST:
            return Evidence(MoneyEvent.LOST, Source.QUERY)
        if event is MoneyEvent.PAID:
            return self._paid(reply, leg.trade_no, Source.QUERY)
        return Evidence(
            event, Source.QUERY, paid_at=_moment(reply.get("time_end", "")), reason=STATE_REASONS.get(state)
        )

    async def reverse(self, leg: Leg) -> Evidence:
        """See the port."""
        if leg.method is not Method.PAYMENT_CODE:
            return await self.newer.reverse(leg)
        try:
            reply = await self._call("/secapi/pay/reverse", {"out_trade_no": leg.trade_no}, tls=self._merchant.tls)
        except NoAnswer:
            return Evidence(MoneyEvent.LOST, Source.RESPONSE)
        if reply.get("result_code") != "SUCCESS" or reply.get("recall", "N") == "Y":
            return Evidence(MoneyEvent.LOST, Source.RESPONSE)
        event = MoneyEvent.REFUNDED if leg.was_paid else MoneyEvent.CLOSED
        return Evidence(event, Source.RESPONSE)

    async def refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """See the port."""
        return await self.newer.refund(leg, refund)

    async def query_refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """See the port."""
        return await self.newer.query_refund(leg, refund)

    async def bill(self, day: date) -> Sequence[BillRow]:
        """See the port."""
        return await self.newer.bill(day)

    def _paid(self, reply: Mapping[str, str], trade_no: str, source: Source) -> Evidence:
        if reply.get("out_trade_no") != trade_no:
            return Evidence(MoneyEvent.LOST, source)
        if reply.get("mch_id") != self._merchant.mchid or reply.get("appid") != self._merchant.appid:
            return Evidence(MoneyEvent.MISMATCH, source)
        fee = reply.get("total_fee", "")
        amount = Fen(int(fee)) if fee.isascii() and fee.isdecimal() else None
        return Evidence(
            MoneyEvent.PAID,
            source,
            channel_no=reply.get("transaction_id"),
            amount_fen=amount,
            paid_at=_moment(reply.get("time_end", "")),
        )

    async def _call(self, path: str, fields: Mapping[str, str], *, tls: ssl.SSLContext | None = None) -> dict[str, str]:
        """One signed request and its verified answer.

        Raises:
            NoAnswer: none, or one that WeChat has not signed.
        """
        await self.newer.pace.turn()
        merchant = self._merchant
        whole = {
            **fields,
            "appid": merchant.appid,
            "mch_id": merchant.mchid,
            "nonce_str": secrets.token_hex(16),
            "sign_type": "HMAC-SHA256",
        }
        whole["sign"] = sign(whole.items(), merchant.key)
        ask = Ask(
            "POST",
            URL(merchant.base_url + path),
            {"Content-Type": "text/xml; charset=utf-8"},
            _xml(whole),
            merchant.timeout_s,
            tls=tls,
        )
        answer = await fetch(self._http, ask)
        if answer.status != _OK:
            raise NoAnswer(f"HTTP {answer.status}")
        reply = _fields(answer.body)
        if reply.get("return_code") != "SUCCESS":
            raise NoAnswer("the request was not understood")
        if not hmac.compare_digest(reply.get("sign", ""), sign(reply.items(), merchant.key)):
            raise NoAnswer("an answer that WeChat has not signed")
        return reply


def sign(fields: Iterable[tuple[str, str]], key: bytes) -> str:
    """HMAC-SHA256 over the sorted fields, in upper-case hex."""
    text = "&".join(f"{name}={value}" for name, value in sorted(fields) if name != "sign" and value)
    return hmac.new(key, f"{text}&key={key.decode()}".encode(), hashlib.sha256).hexdigest().upper()


def _xml(fields: Mapping[str, str]) -> bytes:
    root = Element("xml")
    for name, value in fields.items():
        SubElement(root, name).text = value
    return bytes(tostring(root, encoding="utf-8"))


def _fields(body: bytes) -> dict[str, str]:
    try:
        root = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise NoAnswer("an answer that is no XML") from error
    return {child.tag: (child.text or "").strip() for child in root}


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=_ZONE).astimezone(UTC)
    except ValueError:
        return None
