"""The SOAP interface: a WSDL with one operation, text with XML in it both ways, money in yuan.

Answers are GBK with character references for what GBK does not have, as such systems send them. Written by hand: a
SOAP library on this side would share the mistakes of the one on the other.
"""

from __future__ import annotations

from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring
from xml.sax.saxutils import escape

from aiohttp import web
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from simulators.faults import Fault
from simulators.his.desk import Desk, HangUp, hang_up
from simulators.his.model import Code, Refused

SPACE: Final = "urn:hospital:selfservice"
MONEY: Final = frozenset({"amount", "reg_fee", "should_money", "total", "price", "self_pay"})
METHODS: Final = {
    "patientFind": "patient/find",
    "patientCreate": "patient/create",
    "departmentList": "register/department_list",
    "scheduleGroup": "register/schedule_group",
    "scheduleDetails": "register/schedule_details",
    "scheduleLock": "register/schedule_lock",
    "scheduleUnlock": "register/schedule_unlock",
    "registerCommit": "register/register_commit",
    "registerRefund": "register/register_refund",
    "unpaidFees": "bill/unpaidfees",
    "unpaidFeesDetails": "bill/unpaidfees_details",
    "settlementPre": "bill/settlement_pre",
    "chargeCommit": "bill/charge_commit",
    "chargeRefund": "bill/charge_refund",
    "tradeCheck": "other/trade_check",
    "tradeList": "other/trade_list",
}


class Soap:
    """The handlers; `add_to` mounts them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.url = ""

    def add_to(self, app: web.Application) -> None:
        """Mount WSDL and operation."""
        app.router.add_get("/soap", self._wsdl)
        app.router.add_post("/soap", self._invoke)

    async def _wsdl(self, _request: web.Request) -> web.Response:
        return web.Response(text=WSDL.format(space=SPACE, url=self.url), content_type="text/xml")

    async def _invoke(self, request: web.Request) -> web.StreamResponse:
        try:
            envelope = fromstring(await request.read())
            method = _inside(envelope, "method")
            asked = fromstring(_inside(envelope, "xml"))
        except (ParseError, DefusedXmlException, ValueError, LookupError):
            return web.Response(status=500, text=FAULT, content_type="text/xml")
        try:
            data, wrong = await self._desk.perform(self._operation(asked, method), _parameters(asked))
        except HangUp:
            return hang_up(request)
        except Refused as refused:
            return _answer(_refusal(refused.code, refused.text))
        if wrong.does(Fault.HTTP_500):
            return web.Response(status=500, text=FAULT, content_type="text/xml")
        root = Element("response")
        SubElement(root, "resultCode").text = "0"
        SubElement(root, "resultMsg").text = "成功"
        _fill(SubElement(root, "data"), data)
        text = tostring(root, encoding="unicode")
        return _answer(text[: len(text) // 2] if wrong.does(Fault.MALFORMED) else text)

    def _operation(self, asked: Element, method: str) -> str:
        if asked.findtext("head/token") != self._desk.token:
            raise Refused(Code.TOKEN, "令牌错误")
        if method not in METHODS:
            raise Refused(Code.PARAMETER, "未知方法")
        return METHODS[method]


def _inside(envelope: Element, name: str) -> str:
    found = next((one.text for one in envelope.iter() if one.tag.rpartition("}")[2] == name), None)
    if found is None:
        raise LookupError(name)
    return found


def _parameters(asked: Element) -> dict[str, Any]:  # Any: a JSON document
    found: dict[str, Any] = {}
    for one in asked.find("params") or ():
        if len(one):
            found[one.tag] = [item.text or "" for item in one]
        elif one.tag in MONEY:
            found[one.tag] = _fen(one.text or "")
        else:
            found[one.tag] = one.text or ""
    return found


def _fen(text: str) -> int:
    yuan, _, decimals = text.partition(".")
    if not (yuan + decimals).isdecimal() or len(decimals) > 2:  # noqa: PLR2004 - fen
        raise Refused(Code.PARAMETER, "金额格式错误")
    return int(yuan or "0") * 100 + int((decimals or "0").ljust(2, "0"))


def _fill(parent: Element, data: dict[str, Any]) -> None:  # Any: a JSON document
    for name, value in data.items():
        child = SubElement(parent, name)
        if isinstance(value, list):
            for item in value:
                _fill(SubElement(child, "item"), item)
        elif name in MONEY:
            child.text = f"{'-' if value < 0 else ''}{abs(value) // 100}.{abs(value) % 100:02d}"
        else:
            child.text = "" if value is None else str(value)


def _refusal(code: Code, text: str) -> str:
    is_ours = code >= Code.SLOT_TAKEN
    number = f"<errCode>{int(code)}</errCode>" if is_ours else ""
    return f"<response><resultCode>{1 if is_ours else -1}</resultCode><resultMsg>{text}</resultMsg>{number}</response>"


def _answer(text: str) -> web.Response:
    body = ANSWER.format(space=SPACE, text=escape(text)).encode("gbk", "xmlcharrefreplace")
    return web.Response(body=body, headers={"Content-Type": "text/xml; charset=GBK"})


ANSWER: Final = (
    '<?xml version="1.0" encoding="GBK"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
    '<soap:Body><InvokeResponse xmlns="{space}"><InvokeResult>{text}</InvokeResult></InvokeResponse>'
    "</soap:Body></soap:Envelope>"
)
FAULT: Final = (
    '<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>error</faultstring></soap:Fault>"
    "</soap:Body></soap:Envelope>"
)
WSDL: Final = """<?xml version="1.0" encoding="utf-8"?>
<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="{space}" targetNamespace="{space}">
  <wsdl:types><xs:schema elementFormDefault="qualified" targetNamespace="{space}">
    <xs:element name="Invoke"><xs:complexType><xs:sequence>
      <xs:element name="method" type="xs:string"/><xs:element name="xml" type="xs:string"/>
    </xs:sequence></xs:complexType></xs:element>
    <xs:element name="InvokeResponse"><xs:complexType><xs:sequence>
      <xs:element name="InvokeResult" type="xs:string"/>
    </xs:sequence></xs:complexType></xs:element>
  </xs:schema></wsdl:types>
  <wsdl:message name="InvokeIn"><wsdl:part name="parameters" element="t:Invoke"/></wsdl:message>
  <wsdl:message name="InvokeOut"><wsdl:part name="parameters" element="t:InvokeResponse"/></wsdl:message>
  <wsdl:portType name="SelfService"><wsdl:operation name="Invoke">
    <wsdl:input message="t:InvokeIn"/><wsdl:output message="t:InvokeOut"/>
  </wsdl:operation></wsdl:portType>
  <wsdl:binding name="SelfServiceSoap" type="t:SelfService">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="Invoke"><soap:operation soapAction="" style="document"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input><wsdl:output><soap:body use="literal"/></wsdl:output>
    </wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="SelfService"><wsdl:port name="SelfServiceSoap" binding="t:SelfServiceSoap">
    <soap:address location="{url}"/>
  </wsdl:port></wsdl:service>
</wsdl:definitions>
"""
