"""A merchant at the simulated wallets; what it signs, it signs by itself."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from kit.clock import ManualClock
from simulators.payments.keys import APP_ID, APPID, MCHID, Keys
from simulators.payments.server import PaymentServer

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
"""10:00 in China."""


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON of many shapes
        return json.loads(self.text)


@dataclass(slots=True)
class DistantMerchant:
    """The platform's side, by hand, at wallets that run anywhere."""

    base_url: str
    now: Callable[[], datetime]
    http: aiohttp.ClientSession
    keys: Keys
    notify_url: str = field(default="", kw_only=True)

    async def v3(self, method: str, target: str, body: object = None, **changes: str) -> Said:
        """A signed V3 call; `changes` spoil a part of the authorization."""
        text = b"" if body is None else json.dumps(body).encode()
        stamp = changes.get("timestamp", str(int(self.now().timestamp())))
        nonce = secrets.token_hex(16)
        signed = f"{method}\n{changes.get('signed_target', target)}\n{stamp}\n{nonce}\n".encode() + text + b"\n"
        signature = base64.b64encode(self.keys.merchant.sign(signed, PKCS1v15(), SHA256())).decode()
        headers = {
            "Authorization": (
                f'WECHATPAY2-SHA256-RSA2048 mchid="{changes.get("mchid", MCHID)}",nonce_str="{nonce}",'
                f'timestamp="{stamp}",serial_no="{self.keys.merchant_serial}",signature="{signature}"'
            ),
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        url = f"{self.base_url}{target}"
        async with self.http.request(method, url, data=text or None, headers=headers) as response:
            return Said(response.status, dict(response.headers), await response.read())

    async def sim(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - the same
        """A tester's or a payer's call."""
        async with self.http.request(method, f"{self.base_url}/sim{path}", json=body) as response:
            return await response.json()

    async def code(self, wallet: str = "wechat", **wishes: object) -> str:
        """A fresh payment code."""
        row = await self.sim("POST", "/phone/code", {"wallet": wallet, **wishes})
        return str(row["code"])

    async def fault(self, operation: str, fault: str, **args: object) -> None:
        """Script a fault."""
        lines = await self.sim("POST", "/faults", {"operation": operation, "fault": fault, **args})
        assert lines["faults"], lines

    async def code_pay(self, number: str, code: str, fen: int = 100) -> Said:
        """V3 code payment."""
        body = {
            "appid": APPID,
            "mchid": MCHID,
            "description": "门诊缴费",
            "out_trade_no": number,
            "payer": {"auth_code": code},
            "amount": {"total": fen, "currency": "CNY"},
            "scene_info": {"device_id": "K001"},
        }
        return await self.v3("POST", "/v3/pay/transactions/codepay", body)

    async def query(self, number: str) -> Said:
        """V3 query by the merchant's number."""
        return await self.v3("GET", f"/v3/pay/transactions/out-trade-no/{number}?mchid={MCHID}")

    async def reverse(self, number: str) -> Said:
        """V3 reversal."""
        target = f"/v3/pay/transactions/out-trade-no/{number}/reverse"
        return await self.v3("POST", target, {"appid": APPID, "mchid": MCHID})

    async def refund(self, number: str, refund_number: str, fen: int, of_fen: int = 100, url: str = "") -> Said:
        """V3 refund."""
        amount = {"refund": fen, "total": of_fen, "currency": "CNY"}
        body = {"out_trade_no": number, "out_refund_no": refund_number, "amount": amount, "notify_url": url}
        return await self.v3("POST", "/v3/refund/domestic/refunds", body)

    async def alipay(self, method: str, biz: object, **changes: str) -> Said:
        """A signed call of the gateway; `changes` are fields put in after signing."""
        fields = {
            "app_id": APP_ID,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": "2026-11-23 10:00:00",
            "version": "1.0",
            "notify_url": self.notify_url,
            "biz_content": json.dumps(biz, ensure_ascii=False),
        }
        fields = {name: value for name, value in fields.items() if value}
        text = "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
        fields["sign"] = base64.b64encode(self.keys.app.sign(text, PKCS1v15(), SHA256())).decode()
        fields |= changes
        async with self.http.post(f"{self.base_url}/gateway.do", data=fields) as response:
            return Said(response.status, dict(response.headers), await response.read())

    def alipay_content(self, said: Said) -> Any:  # noqa: ANN401 - JSON of many shapes
        """What the gateway says, once its signature over the raw text is right."""
        match = re.fullmatch(rb'\{"(\w+_response)":(\{.*\}),"sign":"([^"]+)"\}', said.text, re.DOTALL)
        assert match is not None, said.text
        signature = base64.b64decode(match.group(3))
        self.keys.alipay.public_key().verify(signature, match.group(2), PKCS1v15(), SHA256())
        return json.loads(match.group(2))


@dataclass(slots=True)
class Merchant(DistantMerchant):
    """One at wallets of the same process."""

    server: PaymentServer
    clock: ManualClock
