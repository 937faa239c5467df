"""The SOAP interface: bytes by hand, a foreign client on its WSDL, names GBK does not have, and hostile XML."""

from __future__ import annotations

import asyncio
from xml.sax.saxutils import escape

import pytest
import zeep
from defusedxml.ElementTree import fromstring

from support.his_counter import Counter

HEAD = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><Invoke xmlns="urn:hospital:selfservice">'
)
TAIL = "</Invoke></s:Body></s:Envelope>"


def asked(his: Counter, params: str) -> str:
    return (
        f"<request><head><token>{his.token}</token><requestId>1</requestId></head><params>{params}</params></request>"
    )


def envelope(method: str, xml: str) -> bytes:
    return f"{HEAD}<method>{method}</method><xml>{escape(xml)}</xml>{TAIL}".encode()


def inner(answer: bytes) -> str:
    text = answer.decode("gbk").replace(' encoding="GBK"', "")  # expat does not read it
    [found] = [one.text for one in fromstring(text).iter() if one.tag == "{urn:hospital:selfservice}InvokeResult"]
    return str(found)


async def said(his: Counter, method: str, params: str) -> str:
    status, answer = await his.invoke(envelope(method, asked(his, params)))
    assert status == 200
    return inner(answer)


async def test_a_charge_in_yuan(his: Counter) -> None:
    ids = "<recipe_ids><item>R0000004</item><item>R0000005</item></recipe_ids>"
    due = await said(his, "settlementPre", f"<patient_id>P000001</patient_id>{ids}")
    assert due == (
        "<response><resultCode>0</resultCode><resultMsg>成功</resultMsg>"
        "<data><total>151.00</total><self_pay>151.00</self_pay></data></response>"
    )
    pay = f"<patient_id>P000001</patient_id>{ids}<amount>151.00</amount><trade_no>T1</trade_no>"
    first = await said(his, "chargeCommit", pay)
    assert first.startswith("<response><resultCode>0</resultCode>")
    assert await said(his, "chargeCommit", pay) == first
    again = await said(his, "chargeCommit", pay.replace("T1", "T2"))
    assert again == "<response><resultCode>1</resultCode><resultMsg>已缴费</resultMsg><errCode>505</errCode></response>"
    back = "<trade_no>T1</trade_no><refund_no>B1</refund_no><amount>151.00</amount>"
    assert "<resultCode>0<" in await said(his, "chargeRefund", back)
    day = await said(his, "tradeList", "<day>2026-03-02</day><offset>0</offset><length>9</length>")
    assert "<amount>151.00</amount>" in day
    assert "<amount>-151.00</amount>" in day
    assert (await his.call("other/trade_check", trade_no="T1", business="bill"))["data"]["amount"] == 15_100


async def test_locks_say_zero_like_everything_else_here(his: Counter) -> None:
    lock = "<schedule_id>D011-20260303-1</schedule_id><no>1</no><patient_id>P000001</patient_id>"
    answer = await said(his, "scheduleLock", lock)
    assert "<resultCode>0</resultCode>" in answer
    assert "<reg_fee>10.00</reg_fee>" in answer


@pytest.mark.parametrize(("number", "name", "raw"), [(104, "𠮷田树", b"&#134071;"), (95, "龚䶮", b"&#19886;")])
async def test_names_that_gbk_does_not_have(his: Counter, number: int, name: str, raw: bytes) -> None:
    request = envelope("patientFind", asked(his, f"<mzh>26{number:08d}</mzh>"))
    _, answer = await his.invoke(request)
    assert answer.startswith(b'<?xml version="1.0" encoding="GBK"?>')
    assert raw in answer
    assert f"<name>{name}</name>" in inner(answer)


@pytest.mark.parametrize("amount", ["151", "1.5.1", "-151.00", "151.001", "", "∞"])
async def test_amounts_are_plain_yuan(his: Counter, amount: str) -> None:
    ids = "<recipe_ids><item>R0000004</item><item>R0000005</item></recipe_ids><patient_id>P000001</patient_id>"
    answer = await said(his, "chargeCommit", f"{ids}<trade_no>T1</trade_no><amount>{amount}</amount>")
    assert ("<resultCode>0<" in answer) is (amount == "151")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("start", [BOMB, OUTSIDE])
async def test_entities_are_refused_outside_and_inside(his: Counter, start: str) -> None:
    inside = start + asked(his, "<mzh>&a;</mzh>")
    outside = start.encode() + envelope("patientFind", asked(his, "<mzh>1</mzh>"))
    for body in (envelope("patientFind", inside), outside):
        status, answer = await his.invoke(body)
        assert status == 500
        assert b"soap:Fault" in answer
    assert "<resultCode>0<" in await said(his, "departmentList", "")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [(b"x" * 1_500_000, 413), (b"", 500), (b"<a>", 500), (b"\x00" * 100, 500), (b"<a/>", 500), (b"<a>" * 100_000, 500)],
    ids=["huge", "empty", "open", "zeros", "strange", "deep"],
)
async def test_rubbish_is_refused(his: Counter, body: bytes, wanted: int) -> None:
    status, _ = await his.invoke(body)
    assert status == wanted
    assert "<resultCode>0<" in await said(his, "departmentList", "")


async def test_a_stranger_or_a_wrong_method_is_told_minus_one(his: Counter) -> None:
    assert "<resultCode>-1<" in await said(his, "dropTables", "")
    his.token = "guessed"
    assert "<resultCode>-1<" in await said(his, "departmentList", "")


def _foreign(address: str, xml: str) -> str:
    client = zeep.Client(address)  # type: ignore[no-untyped-call]  # zeep has no types
    with client.transport.session:
        return str(client.service.Invoke(method="departmentList", xml=xml))


async def test_a_foreign_client_reads_the_wsdl(his: Counter) -> None:
    address = f"{his.facts['soap_url']}?wsdl"
    answer = await asyncio.to_thread(_foreign, address, asked(his, ""))
    assert "<dept_name>心血管内科</dept_name>" in answer
