"""The simulated wallets with our own channels on the other end of real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from kit.clock import ManualClock
from kit.supervise import TaskGroup, spawn
from patient_platform.app import client_session
from patient_platform.money import Fen
from patient_platform.payment.channels.alipay import Alipay, App
from patient_platform.payment.channels.wechat_signing import WechatKeys, private_key, public_key
from patient_platform.payment.channels.wechat_v3 import Merchant, WechatV3
from patient_platform.payment.model import ChannelName, Leg, LegKind, Method, Money
from patient_platform.payment.ports import Channel, Charge
from simulators.payments.keys import Keys
from simulators.payments.server import PaymentServer, Place

_NUMBERS = count(1)


@dataclass(slots=True)
class Wallets:
    """Both wallets, and us as their merchant."""

    server: PaymentServer
    clock: ManualClock
    http: aiohttp.ClientSession
    wechat: WechatV3
    alipay: Alipay

    def channel(self, name: ChannelName) -> Channel:
        """One of ours."""
        return self.wechat if name is ChannelName.WECHAT else self.alipay

    async def post(self, path: str, **body: object) -> dict[str, Any]:  # Any: a JSON document
        """Something testers or phones do."""
        async with self.http.post(f"{self.server.http.url}/sim/{path}", json=body) as response:
            found: dict[str, Any] = await response.json()
            assert response.status < 300, found
            return found

    async def fault(self, operation: str, fault: str, **arguments: object) -> None:
        """Script a fault."""
        await self.post("faults", operation=operation, fault=fault, **arguments)

    async def code(self, name: ChannelName, *, asks_password: bool = False, balance_fen: int = 1_000_000) -> str:
        """A payment code on somebody's phone."""
        made = await self.post("phone/code", wallet=name.value, balance_fen=balance_fen, asks_password=asks_password)
        return str(made["code"])

    def charge(self, method: Method, code: str | None = None, amount_fen: int = 1234) -> Charge:
        """Something to pay for."""
        number = f"01K{next(_NUMBERS):023d}01"
        until = self.clock.utc() + timedelta(seconds=120)
        return Charge(number, Fen(amount_fen), "门诊缴费", method, "kiosk-1", until, code)

    def leg(self, name: ChannelName, charge: Charge, state: Money = Money.UNKNOWN, *, was_paid: bool = False) -> Leg:
        """The leg of a charge."""
        return Leg(
            charge.trade_no,
            LegKind.CASH,
            name,
            charge.method,
            charge.amount_fen,
            state,
            self.clock.utc(),
            was_paid=was_paid,
        )


@asynccontextmanager
async def wallets(keys: Keys, clock: ManualClock, folder: Path, timeout_s: float = 1.0) -> AsyncIterator[Wallets]:
    """Run the wallets."""
    server = PaymentServer(keys, clock, Place(folder))
    async with TaskGroup() as group:
        tasks = [spawn(group, one.run(), one.name) for one in server.services]
        await server.started()
        async with client_session() as http:
            yield Wallets(
                server,
                clock,
                http,
                wechat_of(keys, server, clock, http, timeout_s),
                alipay_of(keys, server, clock, http, timeout_s),
            )
        for task in tasks:
            task.cancel()


def wechat_of(
    keys: Keys, server: PaymentServer, clock: ManualClock, http: aiohttp.ClientSession, timeout_s: float
) -> WechatV3:
    """Our client, with the keys a merchant has."""
    facts = keys.facts(server.http.url)["wechat"]
    own = WechatKeys(
        facts["mchid"],
        facts["merchant_serial"],
        private_key(Path(facts["merchant_key_file"]).read_text()),
        {facts["public_key_id"]: public_key(Path(facts["platform_public_key_file"]).read_bytes())},
        Path(facts["apiv3_key_file"]).read_bytes(),
    )
    return WechatV3(http, Merchant(server.http.url, facts["appid"], own, "http://127.0.0.1:9/none", timeout_s), clock)


def alipay_of(
    keys: Keys, server: PaymentServer, clock: ManualClock, http: aiohttp.ClientSession, timeout_s: float
) -> Alipay:
    """Our client, with the keys an application has."""
    facts = keys.facts(server.http.url)["alipay"]
    app = App(
        facts["gateway_url"],
        facts["app_id"],
        private_key(Path(facts["app_private_key_file"]).read_text()),
        public_key(Path(facts["alipay_public_key_file"]).read_bytes()),
        "http://127.0.0.1:9/none",
        facts["seller_id"],
        timeout_s,
    )
    return Alipay(http, app, clock)
