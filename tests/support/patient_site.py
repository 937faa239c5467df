"""The patient platform on real sockets: simulated wallets and HIS, a store, the kiosk API, and its drivers running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from kit.clock import Clock, SystemClock
from kit.supervise import TaskGroup, spawn
from kit.web import Guard, GuardSettings, HttpServer
from patient_platform.app import Platform, build, client_session, kiosk_api, notify_server
from patient_platform.identity.access import KioskPrincipal
from patient_platform.settings import Settings
from simulators.his.server import HisServer
from simulators.his.server import Place as HisPlace
from simulators.payments.keys import Keys
from simulators.payments.server import PaymentServer
from simulators.payments.server import Place as PaymentPlace

_KEYS = count(1)
TOKEN = "his-token"
Json = dict[str, Any]  # Any: a JSON document


@dataclass(slots=True)
class Answer:
    """Status and document."""

    status: int
    body: Json

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return self.body[name]


@dataclass(slots=True)
class PatientSite:
    """Everything patients' money needs, and a kiosk's hand on it."""

    platform: Platform
    wallets: PaymentServer
    his: HisServer
    http: aiohttp.ClientSession
    url: str
    notify_url: str

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        kiosk: str = "kiosk-1",
        key: str | None = None,
    ) -> Answer:
        """One request of a kiosk."""
        headers = {"X-Test-Kiosk": kiosk} | ({"Idempotency-Key": key} if key else {})
        async with self.http.request(method, f"{self.url}/platform/v1/{path}", json=body, headers=headers) as response:
            text = await response.text()
            return Answer(response.status, json.loads(text) if text else {})

    async def identify(self, number: int = 1, kiosk: str = "kiosk-1") -> str:
        """Patient `number` of the HIS lays an identity card on the reader; the session."""
        patient = self.his.desk.hospital.books.patients[f"P{number:06d}"]
        medium = {"kind": "id_card", "name": patient.name, "number": patient.id_card}
        found = await self.call("POST", "sessions", {"medium": medium}, kiosk=kiosk)
        assert found.status == 201, found
        return str(found["session"])

    async def order_bills(self, session: str, kiosk: str = "kiosk-1") -> Answer:
        """An order for everything this patient has to pay."""
        shown = await self.call("GET", f"sessions/{session}/bills", kiosk=kiosk)
        body = {
            "business": "bill",
            "bills": [bill["bill"] for bill in shown["bills"]],
            "bill_hash": shown["bill_hash"],
        }
        return await self.call("POST", f"sessions/{session}/orders", body, kiosk=kiosk)

    async def pay(self, order: str, kiosk: str = "kiosk-1", **body: object) -> Answer:
        """Begin to pay."""
        return await self.call("POST", f"orders/{order}/pay", body, kiosk=kiosk, key=f"key-{next(_KEYS)}")

    async def until(self, order: str, kiosk: str = "kiosk-1", **wanted: object) -> Answer:
        """Watch an order as a page does, until it is as wanted."""
        found = await self.call("GET", f"orders/{order}", kiosk=kiosk)
        for _ in range(60):
            if all(found.body.get(name) == value for name, value in wanted.items()):
                return found
            path = f"orders/{order}?after={found['version']}&wait_s=2"
            found = await self.call("GET", path, kiosk=kiosk)
        raise AssertionError(f"never {wanted}: {found.body}")

    async def code(self, wallet: str = "wechat", **options: object) -> str:
        """A payment code on somebody's phone."""
        return str((await self.phone("code", wallet=wallet, balance_fen=10_000_000, **options))["code"])

    async def phone(self, act: str, **body: object) -> Json:
        """Something a phone does."""
        return await self._post(f"{self.wallets.http.url}/sim/phone/{act}", body)

    async def wallet_fault(self, operation: str, fault: str, **arguments: object) -> None:
        """Script a fault of a wallet."""
        await self._post(f"{self.wallets.http.url}/sim/faults", {"operation": operation, "fault": fault, **arguments})

    async def his_fault(self, operation: str, fault: str, **arguments: object) -> None:
        """Script a fault of the HIS."""
        await self._post(f"{self.his.http.url}/sim/faults", {"operation": operation, "fault": fault, **arguments})

    async def _post(self, url: str, body: Mapping[str, object]) -> Json:
        async with self.http.post(url, json=body) as response:
            found: Json = await response.json()
            assert response.status < 300, found
            return found


@asynccontextmanager
async def patient_site(
    keys: Keys,
    folder: Path,
    store_url: str,
    *,
    style: str = "rest",
    code_api: str = "v3",
    clock: Clock | None = None,
    drives: bool = True,
) -> AsyncIterator[PatientSite]:
    """Run it all; without `drives` nothing is done about orders by itself."""
    place = HisPlace(offers_past=clock is None)  # in memory; a test on the real clock waits for no office hours
    clock = clock or SystemClock()
    wallets = PaymentServer(keys, clock, PaymentPlace())
    his = await asyncio.to_thread(HisServer, clock, place)
    await asyncio.to_thread(_write_token, folder / TOKEN, his.token)
    async with TaskGroup() as group, client_session() as http:
        tasks = [spawn(group, one.run(), one.name) for one in (*wallets.services, *his.services)]
        await wallets.started()
        await his.started()
        settings = settings_of(keys, wallets, his, folder, store_url, style=style, code_api=code_api)
        platform = await asyncio.to_thread(build, settings, clock, http)
        api, notify = kiosk_server(platform), notify_server(platform)
        services = (api, notify, platform.payments) if drives else (api, notify)
        tasks += [spawn(group, one.run(), one.name) for one in services]
        await api.started()
        await notify.started()
        try:
            yield PatientSite(platform, wallets, his, http, api.url, notify.url)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await platform.database.close()


def _write_token(file: Path, token: str) -> None:
    file.touch(mode=0o600)
    file.write_text(token)


def kiosk_server(platform: Platform) -> HttpServer:
    """The kiosk API where kiosks say who they are; the real one reads certificates."""

    async def authenticate(request: web.Request) -> KioskPrincipal | None:
        name = request.headers.get("X-Test-Kiosk")
        return None if name is None else KioskPrincipal(name)

    app = web.Application()
    kiosk_api(platform, authenticate).mount(app)
    guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1"}), origin_required=False))
    return HttpServer("kiosk-api", app, guard=guard, port=0)


def settings_of(
    keys: Keys,
    wallets: PaymentServer,
    his: HisServer,
    folder: Path,
    store_url: str,
    *,
    style: str,
    code_api: str,
) -> Settings:
    """Settings that point at the simulators."""
    facts = keys.facts(wallets.http.url)
    wechat, alipay = facts["wechat"], facts["alipay"]
    url = f"{his.http.url}/hisapi" if style == "rest" else his.soap.url
    return Settings.model_validate(
        {
            "data_dir": folder / "patient",
            "database_url": store_url,
            "kiosk_api": {"host": "127.0.0.1", "port": 0},
            "notify": {"host": "127.0.0.1", "port": 0, "public_url": "http://127.0.0.1:9"},
            "his": {"style": style, "url": url, "token_file": folder / TOKEN, "timeout_s": 2.0},
            "wechat": {
                "base_url": wechat["base_url"],
                "mchid": wechat["mchid"],
                "appid": wechat["appid"],
                "merchant_key_file": wechat["merchant_key_file"],
                "merchant_serial": wechat["merchant_serial"],
                "platform_keys": {wechat["public_key_id"]: wechat["platform_public_key_file"]},
                "apiv3_key_file": wechat["apiv3_key_file"],
                "apiv2_key_file": wechat["apiv2_key_file"],
                "code_api": code_api,
                "timeout_s": 2.0,
            },
            "alipay": {
                "gateway_url": alipay["gateway_url"],
                "app_id": alipay["app_id"],
                "app_key_file": alipay["app_private_key_file"],
                "alipay_key_file": alipay["alipay_public_key_file"],
                "seller_id": alipay["seller_id"],
                "timeout_s": 2.0,
            },
        }
    )
