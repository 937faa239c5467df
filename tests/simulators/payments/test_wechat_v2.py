"""WeChat Pay V2 as the public documents have it; the document is read by a parser that is not ours."""

from __future__ import annotations

import hashlib
import hmac

import aiohttp
import pytest
from defusedxml.ElementTree import ParseError, fromstring

from kit.clock import ManualClock
from simulators.payments.keys import APPID, MCHID
from support.payment_merchant import Merchant


def signature(fields: dict[str, str], key: str, kind: str) -> str:
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name]) + f"&key={key}"
    if kind == "MD5":
        return hashlib.md5(text.encode()).hexdigest().upper()  # noqa: S324 - the wallet's choice
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest().upper()


async def call(merchant: Merchant, path: str, kind: str = "HMAC-SHA256", **given: str) -> dict[str, str]:
    """A signed call; the answer's signature is checked."""
    key = merchant.keys.apiv2
    fields = {"appid": APPID, "mch_id": MCHID, "nonce_str": "5K8264ILTKCH16CQ", "sign_type": kind, **given}
    fields["sign"] = given.get("sign") or signature(fields, key, kind)
    body = "<xml>" + "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items()) + "</xml>"
    headers = {"Content-Type": "text/xml"}
    async with merchant.http.post(f"{merchant.server.http.url}{path}", data=body, headers=headers) as response:
        said = {one.tag: one.text or "" for one in fromstring(await response.text())}
    if said["return_code"] == "SUCCESS":
        assert said.pop("sign") == signature(said, key, kind)
    return said


async def pay(merchant: Merchant, number: str, code: str, kind: str = "MD5") -> dict[str, str]:
    given = {"body": "门诊缴费", "out_trade_no": number, "total_fee": "100", "spbill_create_ip": "127.0.0.1"}
    return await call(merchant, "/pay/micropay", kind, auth_code=code, **given)


async def query(merchant: Merchant, number: str) -> str:
    said = await call(merchant, "/pay/orderquery", out_trade_no=number)
    return said.get("trade_state") or said["err_code"]


@pytest.mark.parametrize("kind", ["MD5", "HMAC-SHA256"])
async def test_a_payment_code_pays_once(merchant: Merchant, kind: str) -> None:
    code = await merchant.code()
    said = await pay(merchant, "ORDER0001", code, kind)
    assert (said["result_code"], said["total_fee"], said["trade_type"]) == ("SUCCESS", "100", "MICROPAY")
    assert said["time_end"] == "20261123100000"
    assert await query(merchant, "ORDER0001") == "SUCCESS"
    assert (await pay(merchant, "ORDER0001", code))["err_code"] == "ORDERPAID"
    assert (await pay(merchant, "ORDER0002", code))["err_code"] == "AUTH_CODE_ERROR"
    assert (await merchant.query("ORDER0001")).json["transaction_id"] == said["transaction_id"]


async def test_a_password_is_waited_for_and_a_reversal_called_again(merchant: Merchant) -> None:
    code = await merchant.code(asks_password=True)
    assert (await pay(merchant, "ORDER0001", code))["err_code"] == "USERPAYING"
    assert await query(merchant, "ORDER0001") == "USERPAYING"
    await merchant.sim("POST", "/phone/typing", {"code": code})
    busy = await call(merchant, "/secapi/pay/reverse", out_trade_no="ORDER0001")
    assert (busy["result_code"], busy["recall"]) == ("FAIL", "Y")
    await merchant.sim("POST", "/phone/password", {"code": code})
    done = await call(merchant, "/secapi/pay/reverse", out_trade_no="ORDER0001")
    assert (done["result_code"], done["recall"]) == ("SUCCESS", "N")
    assert await query(merchant, "ORDER0001") == "REVOKED"
    assert (await merchant.sim("GET", "/state"))["trades"][0]["refunded_fen"] == 100


async def test_what_went_wrong_has_its_old_name(merchant: Merchant, clock: ManualClock) -> None:
    old = await merchant.code()
    clock.advance(61)
    assert (await pay(merchant, "ORDER0001", old))["err_code"] == "AUTHCODEEXPIRE"
    assert (await pay(merchant, "ORDER0001", "1"))["err_code"] == "AUTH_CODE_INVALID"
    assert (await pay(merchant, "ORDER0001", await merchant.code(balance_fen=1)))["err_code"] == "NOTENOUGH"
    assert await query(merchant, "ORDER0001") == "ORDERNOTEXIST"


async def test_a_wrong_signature_is_told_without_one(merchant: Merchant) -> None:
    said = await call(merchant, "/pay/orderquery", out_trade_no="ORDER0001", sign="0" * 32)
    assert said == {"return_code": "FAIL", "return_msg": "签名错误"}


@pytest.mark.parametrize("body", ["", "<xml>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><xml></xml>"])
async def test_no_document_is_no_request(merchant: Merchant, body: str) -> None:
    url = f"{merchant.server.http.url}/pay/orderquery"
    async with merchant.http.post(url, data=body, headers={"Content-Type": "text/xml"}) as response:
        assert "XML格式错误" in await response.text()


async def test_faults_of_the_old_interface(merchant: Merchant, clock: ManualClock) -> None:
    code = await merchant.code()
    await merchant.fault("wechat.micropay", "http_500", code="BANKERROR")
    assert (await pay(merchant, "ORDER0001", code))["err_code"] == "BANKERROR"
    await merchant.fault("wechat.micropay", "late_success", seconds=5)
    assert (await pay(merchant, "ORDER0001", code))["err_code"] == "SYSTEMERROR"
    clock.advance(5)
    assert await query(merchant, "ORDER0001") == "SUCCESS"
    await merchant.fault("wechat.orderquery", "bad_signature")
    with pytest.raises(AssertionError):
        await query(merchant, "ORDER0001")
    await merchant.fault("wechat.orderquery", "malformed")
    with pytest.raises(ParseError):
        await query(merchant, "ORDER0001")
    await merchant.fault("wechat.reverse_v2", "drop_after")
    with pytest.raises(aiohttp.ClientConnectionError):
        await call(merchant, "/secapi/pay/reverse", out_trade_no="ORDER0001")
    assert await query(merchant, "ORDER0001") == "REVOKED"
