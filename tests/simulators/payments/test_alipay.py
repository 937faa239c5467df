"""Alipay's gateway as the public documents have it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from cryptography.exceptions import InvalidSignature

from kit.clock import ManualClock
from support.payment_merchant import Merchant


async def call(merchant: Merchant, method: str, **biz: object) -> Any:  # noqa: ANN401 - JSON of many shapes
    return merchant.alipay_content(await merchant.alipay(f"alipay.trade.{method}", biz))


async def pay(merchant: Merchant, number: str, code: str, amount: str = "1.00", **more: object) -> Any:  # noqa: ANN401
    return await call(
        merchant,
        "pay",
        out_trade_no=number,
        scene="bar_code",
        auth_code=code,
        subject="门诊缴费 & 挂号",
        total_amount=amount,
        **more,
    )


async def query(merchant: Merchant, number: str) -> str:
    said = await call(merchant, "query", out_trade_no=number)
    return str(said.get("trade_status") or said["sub_code"])


async def test_a_payment_code_pays_once(merchant: Merchant) -> None:
    code = await merchant.code("alipay")
    assert 25 <= int(code[:2]) <= 30
    paid = await pay(merchant, "A1", code)
    assert (paid["code"], paid["total_amount"], paid["out_trade_no"]) == ("10000", "1.00", "A1")
    assert paid["gmt_payment"] == "2026-11-23 10:00:00"
    assert await query(merchant, "A1") == "TRADE_SUCCESS"
    assert (await pay(merchant, "A1", code))["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"
    assert (await pay(merchant, "A2", code))["sub_code"] == "ACQ.PAYMENT_AUTH_CODE_INVALID"
    assert (await pay(merchant, "A3", await merchant.code()))["sub_code"] == "ACQ.PAYMENT_AUTH_CODE_INVALID"


async def test_a_password_is_waited_for_until_the_time_limit(merchant: Merchant, clock: ManualClock) -> None:
    first, second = await merchant.code("alipay", asks_password=True), await merchant.code("alipay", asks_password=True)
    assert (await pay(merchant, "A1", first))["code"] == "10003"
    assert (await pay(merchant, "A2", second, timeout_express="2m"))["code"] == "10003"
    await merchant.sim("POST", "/phone/password", {"code": first})
    assert await query(merchant, "A1") == "TRADE_SUCCESS"
    clock.advance(119)
    assert await query(merchant, "A2") == "WAIT_BUYER_PAY"
    clock.advance(2)
    assert await query(merchant, "A2") == "TRADE_CLOSED"


async def test_a_cancel_closes_or_pays_back(merchant: Merchant) -> None:
    await pay(merchant, "A1", await merchant.code("alipay"))
    await pay(merchant, "A2", await merchant.code("alipay", asks_password=True))
    assert (await call(merchant, "cancel", out_trade_no="A1"))["action"] == "refund"
    assert "action" not in await call(merchant, "cancel", out_trade_no="A1")
    assert (await call(merchant, "cancel", out_trade_no="A2"))["action"] == "close"
    unknown = await call(merchant, "cancel", out_trade_no="A9")
    assert (unknown["code"], unknown["retry_flag"], "trade_no" in unknown) == ("10000", "N", False)
    assert [await query(merchant, number) for number in ("A1", "A2")] == ["TRADE_CLOSED", "TRADE_CLOSED"]


async def test_a_cancel_closes_even_while_the_payer_types(merchant: Merchant) -> None:
    code = await merchant.code("alipay", asks_password=True)
    await pay(merchant, "A1", code)
    await merchant.sim("POST", "/phone/typing", {"code": code})
    assert (await call(merchant, "cancel", out_trade_no="A1"))["action"] == "close"
    assert await merchant.sim("POST", "/phone/password", {"code": code}) == {"code": "trade_closed"}


async def test_a_day_later_a_cancel_is_too_late(merchant: Merchant, clock: ManualClock) -> None:
    await pay(merchant, "A1", await merchant.code("alipay"))
    clock.advance(86_401)
    assert (await call(merchant, "cancel", out_trade_no="A1"))["sub_code"] == "ACQ.TRADE_CANCEL_TIME_OUT"


async def test_a_shown_code_is_no_trade_before_it_is_scanned(merchant: Merchant) -> None:
    made = await call(merchant, "precreate", out_trade_no="A1", subject="挂号", total_amount="12.5")
    assert made["qr_code"].startswith("https://qr.alipay.com/bax")
    assert await query(merchant, "A1") == "ACQ.TRADE_NOT_EXIST"
    await merchant.sim("POST", "/phone/scan", {"qr": made["qr_code"]})
    assert await query(merchant, "A1") == "WAIT_BUYER_PAY"
    await merchant.sim("POST", "/phone/pay", {"qr": made["qr_code"]})
    assert (await call(merchant, "query", out_trade_no="A1"))["total_amount"] == "12.50"
    other = await call(merchant, "precreate", out_trade_no="A2", subject="挂号", total_amount="12.5")
    await call(merchant, "cancel", out_trade_no="A2")
    assert await merchant.sim("POST", "/phone/pay", {"qr": other["qr_code"]}) == {"code": "trade_closed"}


async def test_refunds_are_told_once_and_never_exceed(merchant: Merchant) -> None:
    await pay(merchant, "A1", await merchant.code("alipay"))
    asked = {"out_trade_no": "A1", "refund_amount": "0.40", "out_request_no": "R1"}
    first = await call(merchant, "refund", **asked)
    assert (first["fund_change"], first["refund_fee"]) == ("Y", "0.40")
    assert (await call(merchant, "refund", **asked))["fund_change"] == "N"
    assert await query(merchant, "A1") == "TRADE_SUCCESS"
    too_much = await call(merchant, "refund", **(asked | {"refund_amount": "0.61", "out_request_no": "R2"}))
    assert too_much["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    rest = await call(merchant, "refund", **(asked | {"refund_amount": "0.6", "out_request_no": "R3"}))
    assert rest["refund_fee"] == "1.00"
    assert await query(merchant, "A1") == "TRADE_CLOSED"
    found = await call(merchant, "fastpay.refund.query", out_trade_no="A1", out_request_no="R1")
    assert (found["refund_status"], found["refund_amount"]) == ("REFUND_SUCCESS", "0.40")
    missing = await call(merchant, "fastpay.refund.query", out_trade_no="A1", out_request_no="R9")
    assert missing == {"code": "10000", "msg": "Success"}


@pytest.mark.parametrize("amount", ["0.001", "-1", "1e3", "1,00", "0"])
async def test_odd_amounts_are_refused(merchant: Merchant, amount: str) -> None:
    said = await pay(merchant, "A1", await merchant.code("alipay"), amount)
    assert said["sub_code"] == "ACQ.INVALID_PARAMETER"


@pytest.mark.parametrize(
    ("change", "sub_code"),
    [
        ({"biz_content": "{}"}, "isv.invalid-signature"),
        ({"app_id": "1"}, "isv.invalid-app-id"),
        ({"sign_type": "RSA"}, "isv.invalid-signature-type"),
        ({"charset": "gbk"}, "isv.invalid-charset"),
    ],
)
async def test_a_changed_request_is_refused(merchant: Merchant, change: dict[str, str], sub_code: str) -> None:
    said = await merchant.alipay("alipay.trade.query", {"out_trade_no": "A1"}, **change)
    content = merchant.alipay_content(said)
    assert (content["code"], content["sub_code"]) == ("40002", sub_code)


async def test_slashes_are_escaped_and_the_raw_text_is_signed(merchant: Merchant) -> None:
    biz = {"out_trade_no": "A1", "subject": "挂号", "total_amount": "1"}
    said = await merchant.alipay("alipay.trade.precreate", biz)
    assert b'"https:\\/\\/qr.alipay.com\\/bax' in said.text


async def test_faults_of_the_gateway(merchant: Merchant) -> None:
    code = await merchant.code("alipay")
    await merchant.fault("alipay.pay", "http_500")
    assert (await merchant.alipay("alipay.trade.pay", {})).status == 500
    await merchant.fault("alipay.pay", "http_500", code="20000", sub_code="isp.unknow-error")
    assert (await pay(merchant, "A1", code))["sub_code"] == "isp.unknow-error"
    await merchant.fault("alipay.pay", "drop_after")
    with pytest.raises(aiohttp.ClientConnectionError):
        await pay(merchant, "A1", code)
    assert await query(merchant, "A1") == "TRADE_SUCCESS"
    await merchant.fault("alipay.query", "bad_signature")
    with pytest.raises(InvalidSignature):
        await query(merchant, "A1")
    await merchant.fault("alipay.query", "wrong_amount", delta_fen=-1)
    assert (await call(merchant, "query", out_trade_no="A1"))["total_amount"] == "0.99"


async def test_money_may_come_after_the_answer(merchant: Merchant, clock: ManualClock) -> None:
    await merchant.fault("alipay.pay", "late_success", seconds=10)
    assert (await pay(merchant, "A1", await merchant.code("alipay")))["code"] == "20000"
    assert await query(merchant, "A1") == "WAIT_BUYER_PAY"
    clock.advance(10)
    assert await query(merchant, "A1") == "TRADE_SUCCESS"
