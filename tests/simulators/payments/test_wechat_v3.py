"""WeChat Pay V3 as the public documents have it."""

from __future__ import annotations

import base64

import aiohttp
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from kit.clock import ManualClock
from simulators.payments.keys import APPID, MCHID
from support.payment_merchant import Merchant, Said


def error(said: Said) -> tuple[int, str]:
    return said.status, said.json["code"]


async def state(merchant: Merchant, number: str) -> str:
    return str((await merchant.query(number)).json["trade_state"])


async def test_a_payment_code_pays_once(merchant: Merchant) -> None:
    code = await merchant.code()
    assert len(code) == 18
    assert code[:2] in {"10", "11", "12", "13", "14", "15"}
    paid = await merchant.code_pay("ORDER0001", code)
    assert paid.status == 200
    assert paid.json["trade_state"] == "SUCCESS"
    assert paid.json["trade_type"] == "MICROPAY"
    assert paid.json["amount"]["total"] == 100
    assert paid.json["success_time"] == "2026-11-23T10:00:00+08:00"
    assert (await merchant.query("ORDER0001")).json == paid.json
    assert error(await merchant.code_pay("ORDER0001", code)) == (400, "ORDERPAID")
    assert error(await merchant.code_pay("ORDER0002", code)) == (400, "AUTH_CODE_INVALID")


async def test_every_answer_is_signed_by_the_wallet(merchant: Merchant) -> None:
    for said in (await merchant.code_pay("ORDER0001", await merchant.code()), await merchant.query("ORDER9999")):
        stamp, nonce = said.headers["Wechatpay-Timestamp"], said.headers["Wechatpay-Nonce"]
        text = f"{stamp}\n{nonce}\n".encode() + said.text + b"\n"
        signature = base64.b64decode(said.headers["Wechatpay-Signature"])
        merchant.keys.platform.public_key().verify(signature, text, PKCS1v15(), SHA256())
        assert said.headers["Wechatpay-Serial"].startswith("PUB_KEY_ID_")


@pytest.mark.parametrize(
    "change",
    [{"mchid": "1"}, {"timestamp": "1"}, {"signed_target": "/v3/else"}],
    ids=["mchid", "timestamp", "signature"],
)
async def test_a_wrong_authorization_is_refused(merchant: Merchant, change: dict[str, str]) -> None:
    target = f"/v3/pay/transactions/out-trade-no/ORDER0001?mchid={MCHID}"
    assert error(await merchant.v3("GET", target, **change)) == (401, "SIGN_ERROR")


async def test_a_code_lives_a_minute(merchant: Merchant, clock: ManualClock) -> None:
    code = await merchant.code()
    clock.advance(61)
    assert error(await merchant.code_pay("ORDER0001", code)) == (400, "AUTH_CODE_EXPIRED")
    assert error(await merchant.query("ORDER0001")) == (404, "ORDER_NOT_EXIST")


async def test_a_poor_payer_pays_nothing(merchant: Merchant) -> None:
    assert error(await merchant.code_pay("ORDER0001", await merchant.code(balance_fen=99))) == (403, "NOT_ENOUGH")


async def test_a_password_is_waited_for(merchant: Merchant) -> None:
    code = await merchant.code(asks_password=True)
    assert error(await merchant.code_pay("ORDER0001", code)) == (202, "USERPAYING")
    assert await state(merchant, "ORDER0001") == "USERPAYING"
    await merchant.sim("POST", "/phone/password", {"code": code})
    assert await state(merchant, "ORDER0001") == "SUCCESS"


async def test_a_payer_who_refuses_has_not_paid(merchant: Merchant) -> None:
    code = await merchant.code(asks_password=True)
    await merchant.code_pay("ORDER0001", code)
    await merchant.sim("POST", "/phone/cancel", {"trade": "ORDER0001"})
    assert await state(merchant, "ORDER0001") == "PAYERROR"
    assert (await merchant.reverse("ORDER0001")).status == 200
    assert await state(merchant, "ORDER0001") == "REVOKED"


async def test_nobody_waits_for_a_password_for_ever(merchant: Merchant, clock: ManualClock) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code(asks_password=True))
    clock.advance(46)
    assert await state(merchant, "ORDER0001") == "REVOKED"


async def test_a_reversal_pays_a_paid_trade_back(merchant: Merchant, clock: ManualClock) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code())
    for _ in range(2):
        assert (await merchant.reverse("ORDER0001")).json["out_trade_no"] == "ORDER0001"
    assert await state(merchant, "ORDER0001") == "REVOKED"
    (trade,) = (await merchant.sim("GET", "/state"))["trades"]
    assert trade["refunded_fen"] == 100
    assert len(trade["refunds"]) == 1
    assert error(await merchant.reverse("ORDER9999")) == (404, "ORDER_NOT_EXIST")


async def test_who_types_cannot_be_reversed(merchant: Merchant) -> None:
    code = await merchant.code(asks_password=True)
    await merchant.code_pay("ORDER0001", code)
    await merchant.sim("POST", "/phone/typing", {"code": code})
    assert error(await merchant.reverse("ORDER0001")) == (202, "USERPAYING")
    await merchant.sim("POST", "/phone/password", {"code": code})
    assert (await merchant.reverse("ORDER0001")).status == 200
    assert (await merchant.sim("GET", "/state"))["trades"][0]["refunded_fen"] == 100


async def native(merchant: Merchant, number: str, **more: object) -> Said:
    body = {
        "appid": APPID,
        "mchid": MCHID,
        "description": "门诊缴费",
        "out_trade_no": number,
        "notify_url": "http://127.0.0.1:9/notify",
        "amount": {"total": 250},
        **more,
    }
    return await merchant.v3("POST", "/v3/pay/transactions/native", body)


async def close(merchant: Merchant, number: str) -> Said:
    return await merchant.v3("POST", f"/v3/pay/transactions/out-trade-no/{number}/close", {"mchid": MCHID})


async def test_a_shown_code_is_paid_by_scanning(merchant: Merchant) -> None:
    qr = (await native(merchant, "ORDER0001")).json["code_url"]
    assert qr.startswith("weixin://wxpay/bizpayurl?pr=")
    assert (await native(merchant, "ORDER0001")).json["code_url"] == qr
    assert error(await native(merchant, "ORDER0001", amount={"total": 251})) == (403, "OUT_TRADE_NO_USED")
    assert await state(merchant, "ORDER0001") == "NOTPAY"
    await merchant.sim("POST", "/phone/pay", {"qr": qr})
    assert await state(merchant, "ORDER0001") == "SUCCESS"
    assert error(await close(merchant, "ORDER0001")) == (400, "ORDER_PAID")
    assert (await merchant.sim("POST", "/phone/pay", {"qr": qr})) == {"code": "trade_paid"}


async def test_a_closed_order_cannot_be_paid(merchant: Merchant) -> None:
    qr = (await native(merchant, "ORDER0001")).json["code_url"]
    for _ in range(2):
        assert (await close(merchant, "ORDER0001")).status == 204
    assert (await merchant.sim("POST", "/phone/pay", {"qr": qr})) == {"code": "trade_closed"}
    assert await state(merchant, "ORDER0001") == "CLOSED"
    assert error(await native(merchant, "ORDER0001")) == (400, "ORDER_CLOSED")


async def test_a_time_limit_ends_paying_but_not_the_order(merchant: Merchant, clock: ManualClock) -> None:
    said = await native(merchant, "ORDER0001", time_expire="2026-11-23T10:03:00+08:00")
    clock.advance(181)
    assert (await merchant.sim("POST", "/phone/pay", {"qr": said.json["code_url"]})) == {"code": "code_expired"}
    assert await state(merchant, "ORDER0001") == "NOTPAY"


async def test_code_payments_are_reversed_and_orders_closed(merchant: Merchant) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code(asks_password=True))
    assert error(await close(merchant, "ORDER0001")) == (400, "INVALID_REQUEST")
    await native(merchant, "ORDER0002")
    assert error(await merchant.reverse("ORDER0002")) == (400, "INVALID_REQUEST")


async def test_refunds_never_exceed_the_payment(merchant: Merchant, clock: ManualClock) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code())
    first = await merchant.refund("ORDER0001", "REFUND01", 60)
    assert first.json["status"] == "PROCESSING"
    assert (await merchant.refund("ORDER0001", "REFUND01", 60)).json == first.json
    assert error(await merchant.refund("ORDER0001", "REFUND01", 61)) == (400, "INVALID_REQUEST")
    assert error(await merchant.refund("ORDER0001", "REFUND02", 41)) == (400, "INVALID_REQUEST")
    assert await state(merchant, "ORDER0001") == "REFUND"
    clock.advance(2)
    found = await merchant.v3("GET", "/v3/refund/domestic/refunds/REFUND01")
    assert found.json["status"] == "SUCCESS"
    assert found.json["amount"]["refund"] == 60
    assert error(await merchant.v3("GET", "/v3/refund/domestic/refunds/REFUND99")) == (404, "RESOURCE_NOT_EXISTS")


async def test_refunds_need_money_and_an_open_card(merchant: Merchant, clock: ManualClock) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code())
    await merchant.sim("POST", "/settings", {"merchant_balance_fen": 10})
    assert error(await merchant.refund("ORDER0001", "REFUND01", 60)) == (403, "NOT_ENOUGH")
    await merchant.sim("POST", "/settings", {"merchant_balance_fen": -1, "refunds_fail": True})
    await merchant.refund("ORDER0001", "REFUND01", 60)
    clock.advance(2)
    found = await merchant.v3("GET", "/v3/refund/domestic/refunds/REFUND01")
    assert found.json["status"] == "ABNORMAL"


async def test_a_wrong_field_is_named(merchant: Merchant) -> None:
    said = await native(merchant, "ORDER0001", amount={"total": 0.01})
    assert error(said) == (400, "PARAM_ERROR")
    assert said.json["detail"]["field"] == "/amount/total"


# --- faults -----------------------------------------------------------------------------------------------


async def test_nothing_happens_before_a_drop_and_all_before_a_drop_after(merchant: Merchant) -> None:
    code = await merchant.code()
    await merchant.fault("wechat.codepay", "drop_before")
    with pytest.raises(aiohttp.ClientConnectionError):
        await merchant.code_pay("ORDER0001", code)
    assert error(await merchant.query("ORDER0001")) == (404, "ORDER_NOT_EXIST")
    await merchant.fault("wechat.codepay", "drop_after")
    with pytest.raises(aiohttp.ClientConnectionError):
        await merchant.code_pay("ORDER0001", code)
    assert await state(merchant, "ORDER0001") == "SUCCESS"


async def test_errors_of_the_wallet_can_be_scripted(merchant: Merchant) -> None:
    code = await merchant.code()
    await merchant.fault("wechat.codepay", "http_500")
    await merchant.fault("wechat.codepay", "http_500", status=429, code="FREQUENCY_LIMITED")
    assert error(await merchant.code_pay("ORDER0001", code)) == (500, "SYSTEM_ERROR")
    assert error(await merchant.code_pay("ORDER0001", code)) == (429, "FREQUENCY_LIMITED")
    assert (await merchant.code_pay("ORDER0001", code)).status == 200


async def test_an_answer_may_be_broken_forged_slow_or_wrong(merchant: Merchant) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code())
    await merchant.fault("wechat.query", "malformed")
    with pytest.raises(ValueError, match="line 1"):
        _ = (await merchant.query("ORDER0001")).json
    await merchant.fault("wechat.query", "wrong_amount", delta_fen=-99)
    assert (await merchant.query("ORDER0001")).json["amount"]["total"] == 1
    await merchant.fault("wechat.query", "delay", seconds=0.05)
    assert await state(merchant, "ORDER0001") == "SUCCESS"
    await merchant.fault("wechat.query", "clock_skew", seconds=-400)
    said = await merchant.query("ORDER0001")
    assert int(said.headers["Wechatpay-Timestamp"]) == int(merchant.clock.utc().timestamp()) - 400
    await merchant.fault("wechat.query", "bad_signature")
    said = await merchant.query("ORDER0001")
    text = f"{said.headers['Wechatpay-Timestamp']}\n{said.headers['Wechatpay-Nonce']}\n".encode() + said.text + b"\n"
    signature = base64.b64decode(said.headers["Wechatpay-Signature"])
    with pytest.raises(InvalidSignature):
        merchant.keys.platform.public_key().verify(signature, text, PKCS1v15(), SHA256())


async def test_money_may_come_after_the_answer(merchant: Merchant, clock: ManualClock) -> None:
    await merchant.fault("wechat.codepay", "late_success", seconds=5)
    assert error(await merchant.code_pay("ORDER0001", await merchant.code())) == (500, "SYSTEM_ERROR")
    assert await state(merchant, "ORDER0001") == "USERPAYING"
    clock.advance(6)
    assert await state(merchant, "ORDER0001") == "SUCCESS"


async def test_a_payer_may_be_quicker_than_the_reversal(merchant: Merchant) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code(asks_password=True))
    await merchant.fault("wechat.query", "late_success")
    assert await state(merchant, "ORDER0001") == "USERPAYING"
    await merchant.fault("wechat.reverse", "drop_after")
    with pytest.raises(aiohttp.ClientConnectionError):
        await merchant.reverse("ORDER0001")
    assert await state(merchant, "ORDER0001") == "REVOKED"
    assert (await merchant.sim("GET", "/state"))["trades"][0]["refunded_fen"] == 100


async def test_a_duplicate_changes_nothing_more(merchant: Merchant) -> None:
    await merchant.fault("wechat.codepay", "duplicate")
    said = await merchant.code_pay("ORDER0001", await merchant.code())
    assert error(said) == (400, "ORDERPAID")
    assert len((await merchant.sim("GET", "/state"))["trades"]) == 1


async def test_only_faults_that_can_strike_are_taken(merchant: Merchant) -> None:
    said = await merchant.sim("POST", "/faults", {"operation": "wechat.native", "fault": "reorder"})
    assert said["code"] == "no_such_fault"
    assert (await merchant.sim("DELETE", "/faults")) == {"faults": []}
