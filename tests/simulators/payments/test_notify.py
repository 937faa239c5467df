"""Notices: sealed and signed, sent until they are taken."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from kit.clock import ManualClock
from simulators.payments.keys import APPID, MCHID
from simulators.payments.notify import ALIPAY_WAITS_S, WECHAT_WAITS_S
from support.payment_merchant import Merchant, Said


@dataclass(slots=True)
class Mailbox:
    """Where the merchant is notified."""

    url: str = ""
    status: int = 204
    text: str = ""
    letters: list[Said] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        self.letters.append(Said(0, dict(request.headers), await request.read()))
        self.came.set()
        return web.Response(status=self.status, text=self.text or None)

    async def arrived(self, count: int) -> list[Said]:
        async with asyncio.timeout(5):
            while len(self.letters) < count:
                self.came.clear()
                await self.came.wait()
        return self.letters


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    app = web.Application()
    app.router.add_post("/notify", box.take)
    async with TestServer(app) as server:
        box.url = str(server.make_url("/notify"))
        yield box


async def scanned(merchant: Merchant, url: str, number: str = "ORDER0001") -> None:
    """A paid native order."""
    body = {"appid": APPID, "mchid": MCHID, "description": "挂号", "notify_url": url, "out_trade_no": number}
    said = await merchant.v3("POST", "/v3/pay/transactions/native", body | {"amount": {"total": 250}})
    await merchant.sim("POST", "/phone/pay", {"qr": said.json["code_url"]})


def opened(merchant: Merchant, letter: Said) -> Any:  # noqa: ANN401 - JSON of many shapes
    """What is in a notice, once its signature is right."""
    stamp, nonce = letter.headers["Wechatpay-Timestamp"], letter.headers["Wechatpay-Nonce"]
    text = f"{stamp}\n{nonce}\n".encode() + letter.text + b"\n"
    signature = base64.b64decode(letter.headers["Wechatpay-Signature"])
    merchant.keys.platform.public_key().verify(signature, text, PKCS1v15(), SHA256())
    resource = letter.json["resource"]
    key = (merchant.keys.folder / "apiv3").read_bytes()
    sealed = base64.b64decode(resource["ciphertext"])
    return json.loads(AESGCM(key).decrypt(resource["nonce"].encode(), sealed, resource["associated_data"].encode()))


async def notices(merchant: Merchant, state: str) -> list[Any]:
    """The notices, once the newest one is in this state."""
    async with asyncio.timeout(5):
        while True:
            found = (await merchant.sim("GET", "/state"))["notices"]
            if found and found[-1]["state"] == state:
                return list(found)


async def tried(merchant: Merchant, count: int) -> Any:  # noqa: ANN401 - JSON of many shapes
    async with asyncio.timeout(5):
        while True:
            (found,) = (await merchant.sim("GET", "/state"))["notices"]
            if found["tries"] >= count:
                return found


async def test_a_paid_order_is_told_sealed_and_signed(merchant: Merchant, mailbox: Mailbox) -> None:
    await scanned(merchant, mailbox.url)
    (letter,) = await mailbox.arrived(1)
    assert letter.json["event_type"] == "TRANSACTION.SUCCESS"
    content = opened(merchant, letter)
    assert (content["out_trade_no"], content["trade_state"], content["amount"]["total"]) == (
        "ORDER0001",
        "SUCCESS",
        250,
    )
    assert (await notices(merchant, "taken"))[0]["answers"] == ["204"]


async def test_code_payments_of_wechat_have_no_notice(merchant: Merchant) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code())
    assert (await merchant.sim("GET", "/state"))["notices"] == []


async def test_a_refund_is_told_when_it_lands(merchant: Merchant, mailbox: Mailbox, clock: ManualClock) -> None:
    await merchant.code_pay("ORDER0001", await merchant.code())
    await merchant.refund("ORDER0001", "REFUND01", 60, url=mailbox.url)
    clock.advance(2)
    await merchant.query("ORDER0001")
    (letter,) = await mailbox.arrived(1)
    assert letter.json["event_type"] == "REFUND.SUCCESS"
    content = opened(merchant, letter)
    assert (content["refund_status"], content["amount"]["refund"]) == ("SUCCESS", 60)


async def test_a_refused_notice_comes_again_until_it_is_given_up(
    merchant: Merchant, mailbox: Mailbox, clock: ManualClock
) -> None:
    mailbox.status = 500
    await scanned(merchant, mailbox.url)
    for tries, wait_s in enumerate(WECHAT_WAITS_S, start=1):
        await tried(merchant, tries)
        clock.advance(wait_s - 1)
        await merchant.sim("GET", "/state")
        clock.advance(1)
        merchant.server.notifier.wake()
    (notice,) = await notices(merchant, "given_up")
    assert notice["tries"] == len(WECHAT_WAITS_S) + 1 == len(mailbox.letters) == 16


async def test_alipay_wants_to_read_success(merchant: Merchant, mailbox: Mailbox, clock: ManualClock) -> None:
    merchant.notify_url, mailbox.status, mailbox.text = mailbox.url, 200, "ok"
    code = await merchant.code("alipay")
    biz = {"out_trade_no": "A1", "scene": "bar_code", "auth_code": code, "subject": "缴费", "total_amount": "1"}
    await merchant.alipay("alipay.trade.pay", biz)
    await tried(merchant, 1)
    mailbox.text = "success"
    clock.advance(ALIPAY_WAITS_S[0])
    merchant.server.notifier.wake()
    first, second = await mailbox.arrived(2)
    assert (await notices(merchant, "taken"))[0]["tries"] == 2
    for letter in (first, second):
        fields = dict(parse_qsl(letter.text.decode()))
        signature = base64.b64decode(fields.pop("sign"))
        assert fields.pop("sign_type") == "RSA2"
        text = "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
        merchant.keys.alipay.public_key().verify(signature, text, PKCS1v15(), SHA256())
        assert (fields["trade_status"], fields["total_amount"]) == ("TRADE_SUCCESS", "1.00")


async def test_notices_go_wrong_as_scripted(merchant: Merchant, mailbox: Mailbox) -> None:
    await merchant.fault("wechat.notify", "duplicate")
    await scanned(merchant, mailbox.url)
    one, two = await mailbox.arrived(2)
    assert one == two
    await notices(merchant, "taken")
    await merchant.fault("wechat.notify", "bad_signature")
    await scanned(merchant, mailbox.url, "ORDER0002")
    with pytest.raises(InvalidSignature):
        opened(merchant, (await mailbox.arrived(3))[-1])
    await notices(merchant, "taken")
    await merchant.fault("wechat.notify", "wrong_amount", delta_fen=-249)
    await scanned(merchant, mailbox.url, "ORDER0003")
    assert opened(merchant, (await mailbox.arrived(4))[-1])["amount"]["total"] == 1
    await notices(merchant, "taken")
    await merchant.fault("wechat.notify", "clock_skew", seconds=-86_400)
    await scanned(merchant, mailbox.url, "ORDER0004")
    letter = (await mailbox.arrived(5))[-1]
    assert int(letter.headers["Wechatpay-Timestamp"]) == int(merchant.clock.utc().timestamp()) - 86_400


async def test_a_lost_answer_brings_the_notice_again(merchant: Merchant, mailbox: Mailbox, clock: ManualClock) -> None:
    await merchant.fault("wechat.notify", "drop_after")
    await scanned(merchant, mailbox.url)
    await tried(merchant, 1)
    clock.advance(15)
    merchant.server.notifier.wake()
    one, two = await mailbox.arrived(2)
    assert one.json["id"] == two.json["id"]


async def test_a_late_notice_lets_the_next_one_by(merchant: Merchant, mailbox: Mailbox, clock: ManualClock) -> None:
    await merchant.fault("wechat.notify", "reorder", seconds=3)
    await scanned(merchant, mailbox.url, "ORDER0001")
    await scanned(merchant, mailbox.url, "ORDER0002")
    await mailbox.arrived(1)
    clock.advance(3)
    merchant.server.notifier.wake()
    letters = await mailbox.arrived(2)
    assert [opened(merchant, one)["out_trade_no"] for one in letters] == ["ORDER0002", "ORDER0001"]


async def test_a_probe_cannot_be_right(merchant: Merchant, mailbox: Mailbox) -> None:
    mailbox.status = 401
    assert await merchant.sim("POST", "/notices/probe", {"url": mailbox.url}) == {"status": 401}
    assert mailbox.letters[0].headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")


async def test_a_taken_notice_can_be_replayed(merchant: Merchant, mailbox: Mailbox) -> None:
    await scanned(merchant, mailbox.url)
    (notice,) = await notices(merchant, "taken")
    await merchant.sim("POST", f"/notices/{notice['number']}/again")
    assert len(await mailbox.arrived(2)) == 2
    assert (await merchant.sim("POST", "/notices/0/again"))["code"] == "no_such_notice"


async def test_nobody_outside_this_machine_is_notified(merchant: Merchant) -> None:
    await scanned(merchant, "http://pay.example.com/notify")
    (notice,) = await notices(merchant, "given_up")
    assert notice["tries"] == 0


async def test_a_notice_may_claim_another_merchant_or_key(merchant: Merchant, mailbox: Mailbox) -> None:
    await merchant.fault("wechat.notify", "wrong_amount", delta_fen=0, mchid="1")
    await scanned(merchant, mailbox.url)
    assert opened(merchant, (await mailbox.arrived(1))[0])["mchid"] == "1"
    await notices(merchant, "taken")
    await merchant.fault("wechat.notify", "bad_signature", serial="PUB_KEY_ID_0")
    await scanned(merchant, mailbox.url, "ORDER0002")
    letter = (await mailbox.arrived(2))[1]
    assert letter.headers["Wechatpay-Serial"] == "PUB_KEY_ID_0"
    assert opened(merchant, letter)["out_trade_no"] == "ORDER0002"
