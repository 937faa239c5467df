"""The HIS over SOAP: one operation `Invoke(method, xml)` that takes and gives text with XML in it.

The envelope is made and read by zeep from the hospital's WSDL; bytes travel over our own connections. Inside, field
names are those of the JSON style, methods are written in camelCase, money is yuan, and success is always 0.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

import aiohttp
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]  # lxml has no types
from lxml.etree import tostring as serialise
from zeep import Client, Settings
from zeep.exceptions import Error as ZeepError
from zeep.transports import Transport

from patient_platform.his.client import CODES
from patient_platform.his.ports import HisCode, HisNotAsked, HisRefused, HisUnreachable
from patient_platform.money import Fen, MoneyError, from_yuan, to_yuan

ANSWER_BYTES: Final = 8_000_000
WSDL_BYTES: Final = 1_000_000
MONEY: Final = frozenset({"amount", "reg_fee", "should_money", "total", "price", "self_pay"})
LISTS: Final = frozenset(
    {"patients", "departments", "doctors", "schedules", "time_zones", "bills", "items", "rows", "recipe_ids"}
)
METHODS: Final[Mapping[str, str]] = {
    "patient/find": "patientFind",
    "patient/create": "patientCreate",
    "register/department_list": "departmentList",
    "register/schedule_group": "scheduleGroup",
    "register/schedule_details": "scheduleDetails",
    "register/schedule_lock": "scheduleLock",
    "register/schedule_unlock": "scheduleUnlock",
    "register/register_commit": "registerCommit",
    "register/register_refund": "registerRefund",
    "bill/unpaidfees": "unpaidFees",
    "bill/unpaidfees_details": "unpaidFeesDetails",
    "bill/settlement_pre": "settlementPre",
    "bill/charge_commit": "chargeCommit",
    "bill/charge_refund": "chargeRefund",
    "other/trade_check": "tradeCheck",
    "other/trade_list": "tradeList",
}
_DECLARED: Final = re.compile(rb'\s*<\?xml[^>]*encoding="([A-Za-z0-9._-]{1,40})"')
_CHINESE: Final = frozenset({"gb2312", "gbk", "gb18030", "cp936"})
_HTTP_OK: Final = 200
_DONE, _BUSINESS = "0", "1"


class SoapWire:
    """Sends operations as SOAP; see `client.Wire`."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, token: str, *, timeout_s: float, concurrency: int
    ) -> None:
        self._http = http
        self._url = url
        self._token = token
        self._timeout_s = timeout_s
        self._gate = asyncio.Semaphore(concurrency)
        self._client: Client | None = None
        self._opening = asyncio.Lock()

    async def call(self, operation: str, parameters: Mapping[str, Any], *, ok: int = 1) -> Any:  # noqa: ANN401, ARG002 - SOAP has one number for success
        """See `client.Wire`."""
        try:
            async with asyncio.timeout(self._timeout_s), self._gate:
                client = await self._opened()
                text = _request(self._token, parameters)
                body = await self._post(_envelope(client, METHODS[operation], text), operation)
        except aiohttp.ClientConnectorError as error:
            raise HisNotAsked(f"the HIS cannot be reached for {operation}") from error
        except (TimeoutError, aiohttp.ClientError, ZeepError, XMLSyntaxError) as error:
            raise HisUnreachable(f"the HIS gave no answer to {operation}") from error
        return _data(body, operation)

    async def _opened(self) -> Client:
        async with self._opening:
            if self._client is None:
                wsdl = await self._get(self._url if "?" in self._url else f"{self._url}?wsdl")
                self._client = await asyncio.to_thread(_client, self._url, wsdl)
            return self._client

    async def _get(self, url: str) -> bytes:
        async with self._http.get(url, allow_redirects=False) as response:
            if response.status != _HTTP_OK:
                raise HisUnreachable(f"the HIS answered HTTP {response.status} for its WSDL")
            return await _read(response, WSDL_BYTES)

    async def _post(self, data: bytes, operation: str) -> str:
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        async with self._http.post(
            self._url.partition("?")[0], data=data, headers=headers, allow_redirects=False
        ) as response:
            if response.status != _HTTP_OK:
                raise HisUnreachable(f"the HIS answered HTTP {response.status} to {operation}")
            answer = _text(await _read(response, ANSWER_BYTES), response.charset)
        try:
            root = fromstring(answer)
        except (ParseError, DefusedXmlException, ValueError) as error:
            raise HisUnreachable(f"the HIS gave no usable answer to {operation}") from error
        found = next((item for item in root.iter() if item.tag.endswith("}InvokeResult") or item.tag == "return"), None)
        inner = _first_text(root) if found is None else found.text
        if not inner:
            raise HisUnreachable(f"the HIS gave an empty answer to {operation}")
        return str(inner)


class _NoTransport(Transport):
    """Gives zeep the one document it is built from; everything else it would fetch is refused."""

    def __init__(self, wsdl: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # zeep has no types
        self._wsdl: bytes | None = wsdl

    def load(self, url: str) -> bytes:
        """The WSDL, once. Raises: HisUnreachable for anything it includes."""
        wsdl, self._wsdl = self._wsdl, None
        if wsdl is None:
            raise HisUnreachable(f"the WSDL refers to another document: {url[:100]}")
        return wsdl


def _client(url: str, wsdl: bytes) -> Client:
    settings = Settings(strict=True, forbid_entities=True, forbid_external=True, forbid_dtd=True)
    return Client(url, transport=_NoTransport(wsdl), settings=settings)  # type: ignore[no-untyped-call]  # see above


def _envelope(client: Client, method: str, text: str) -> bytes:
    made = client.create_message(client.service, "Invoke", method=method, xml=text)  # type: ignore[no-untyped-call]  # see above
    return bytes(serialise(made, xml_declaration=True, encoding="utf-8"))


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = b""
    async for part in response.content.iter_chunked(65_536):
        body += part
        if len(body) > limit:
            raise HisUnreachable("the HIS's answer has no end")
    return body


def _text(body: bytes, charset: str | None) -> str:
    """The characters of a document; XML parsers here do not know the Chinese encodings.

    Raises:
        HisUnreachable: they are not in the encoding that was said.
    """
    declared = _DECLARED.match(body)
    name = (charset or (declared[1].decode("ascii") if declared else "utf-8")).lower()
    try:
        return body.decode("gb18030" if name in _CHINESE else name)
    except (UnicodeDecodeError, LookupError) as error:
        raise HisUnreachable("the HIS's answer is not in the encoding it names") from error


def _first_text(root: Element) -> str | None:
    """The first text inside the body's only answer."""
    return next((item.text for item in root.iter() if item.text and item.text.lstrip().startswith("<")), None)


def _request(token: str, parameters: Mapping[str, Any]) -> str:
    root = Element("request")
    head = SubElement(root, "head")
    SubElement(head, "token").text = token
    SubElement(head, "requestId").text = secrets.token_hex(8)
    inside = SubElement(root, "params")
    for name, value in parameters.items():
        _put(inside, name, value)
    return tostring(root, encoding="unicode")


def _put(parent: Element, name: str, value: Any) -> None:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        holder = SubElement(parent, name)
        for item in value:
            SubElement(holder, "item").text = str(item)
    elif name in MONEY and isinstance(value, int):
        SubElement(parent, name).text = to_yuan(Fen(value))
    else:
        SubElement(parent, name).text = str(value)


def _data(text: str, operation: str) -> Any:  # noqa: ANN401 - JSON
    try:
        root = fromstring(text)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise HisUnreachable(f"the HIS gave no usable answer to {operation}") from error
    result = root.findtext("resultCode", "")
    if result == _BUSINESS:
        number = root.findtext("errCode", "")
        raise HisRefused(CODES.get(int(number), HisCode.REFUSED) if number.isdecimal() else HisCode.REFUSED)
    if result != _DONE:
        raise HisUnreachable(f"the HIS answered {result[:10]!r} to {operation}")
    data = root.find("data")
    try:
        return {} if data is None else _read_item(data)
    except MoneyError as error:
        raise HisUnreachable(f"the HIS gave no usable amount to {operation}") from error


def _read_item(element: Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in element:
        if child.tag in LISTS:
            found[child.tag] = [_read_item(item) if len(item) else (item.text or "") for item in child]
        elif child.tag in MONEY:
            found[child.tag] = from_yuan((child.text or "").strip())
        else:
            found[child.tag] = child.text or ""
    return found
