"""A client by somebody else, `wechatpayv3`, is content with the simulated WeChat Pay."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
import wechatpayv3  # type: ignore[import-untyped]  # it has no types

from kit.clock import SystemClock
from simulators.payments.desk import Strike
from simulators.payments.keys import APPID, MCHID
from simulators.payments.ledger import china_day
from support.payment_merchant import Merchant


@pytest.fixture
def client(merchant: Merchant) -> Any:  # noqa: ANN401 - the library has no types
    folder = merchant.keys.folder
    # the library reads the real clock: the wallets follow it
    merchant.server.clock.offset_s = SystemClock().utc().timestamp() - merchant.clock.utc().timestamp()
    found = wechatpayv3.WeChatPay(
        wechatpay_type=wechatpayv3.WeChatPayType.CODEPAY,
        mchid=MCHID,
        private_key=(folder / "merchant.pem").read_text(),
        cert_serial_no=merchant.keys.merchant_serial,
        apiv3_key=merchant.keys.apiv3,
        appid=APPID,
        notify_url="http://127.0.0.1:9/notify",
        public_key=(folder / "platform.pub.pem").read_text(),
        public_key_id=merchant.keys.public_key_id,
        timeout=(2, 5),
    )
    found._core._gate_way = merchant.server.http.url
    return found


async def ask(call: Callable[..., Any], **given: object) -> tuple[int, Any]:
    """The library blocks; it verifies every answer that is no error."""
    status, text = await asyncio.to_thread(call, **given)
    return int(status), json.loads(text) if text else None


async def test_another_client_pays_asks_reverses_and_refunds(merchant: Merchant, client: Any) -> None:  # noqa: ANN401
    amount, scene = {"total": 100, "currency": "CNY"}, {"device_id": "K001"}
    for number in ("ORDER0001", "ORDER0002"):
        payer = {"auth_code": await merchant.code()}
        given = {"description": "缴费", "out_trade_no": number, "amount": amount, "payer": payer, "scene_info": scene}
        status, said = await ask(client.pay, **given)
        assert (status, said["trade_state"]) == (200, "SUCCESS")
    assert (await ask(client.codepay_reverse, out_trade_no="ORDER0001"))[0] == 200
    assert (await ask(client.query, out_trade_no="ORDER0001"))[1]["trade_state"] == "REVOKED"
    back = {"refund": 40, "total": 100, "currency": "CNY"}
    status, said = await ask(client.refund, out_trade_no="ORDER0002", out_refund_no="REFUND01", amount=back)
    assert (status, said["amount"]["refund"]) == (200, 40)
    assert (await ask(client.query_refund, out_refund_no="REFUND01"))[1]["out_refund_no"] == "REFUND01"
    status, said = await ask(client.query, out_trade_no="ORDER0009")
    assert (status, said["code"]) == (404, "ORDER_NOT_EXIST")


async def test_another_client_shows_a_code_closes_and_gets_its_bill(merchant: Merchant, client: Any) -> None:  # noqa: ANN401
    native = wechatpayv3.WeChatPayType.NATIVE
    for number in ("ORDER0001", "ORDER0002"):
        given = {"description": "挂号", "out_trade_no": number, "amount": {"total": 250}, "pay_type": native}
        status, said = await ask(client.pay, **given)
        assert status == 200
    await merchant.sim("POST", "/phone/pay", {"qr": said["code_url"]})
    assert (await ask(client.close, out_trade_no="ORDER0001"))[0] == 204
    await merchant.sim("POST", "/settings", {"bills_at_any_time": True})
    status, said = await ask(client.trade_bill, bill_date=china_day(merchant.server.clock.utc()))
    assert status == 200, said
    _, content = await asyncio.to_thread(client.download_bill, url=said["download_url"])
    assert "ORDER0002" in gzip.decompress(content).decode()


async def test_another_client_opens_our_notices(merchant: Merchant, client: Any) -> None:  # noqa: ANN401
    body = {
        "appid": APPID,
        "mchid": MCHID,
        "description": "挂号",
        "out_trade_no": "ORDER0001",
        "notify_url": "http://127.0.0.1:9/",
        "amount": {"total": 250},
    }
    said = await merchant.v3("POST", "/v3/pay/transactions/native", body)
    await merchant.sim("POST", "/phone/pay", {"qr": said.json["code_url"]})
    (notice,) = merchant.server.ledger.book.notices.values()
    letter = merchant.server.notifier.letter(notice, Strike())
    opened = await asyncio.to_thread(client.callback, dict(letter.headers), letter.body)
    assert opened["resource"]["out_trade_no"] == "ORDER0001"
