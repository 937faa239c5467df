"""The demo's outside world: wallets, a HIS, and the patient platform between them and the kiosks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from simulators.demo.facts import PlatformFacts, write_private
from simulators.demo.plan import Plan, entry_point
from simulators.demo.processes import Children

HOST = "127.0.0.1"
Json = Mapping[str, Any]  # Any: a JSON document


class Outside:
    """Everything patients' money needs."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._payments_file = plan.payments_dir / "payments.json"
        self._his_file = plan.his_dir / "his.json"

    async def start(self, children: Children) -> None:
        """Start the simulators; they are there as soon as `is_up`."""
        plan = self._plan
        for file in (self._payments_file, self._his_file):
            file.unlink(missing_ok=True)
        command = [entry_point("kiosk-sim"), "payments", "run", "--dir", str(plan.payments_dir)]
        await children.start("payments", [*command, "--port", str(plan.ports.payments), "--seed", str(plan.seed)])
        command = [entry_point("kiosk-sim"), "his", "run", "--past-slots", "--dir", str(plan.his_dir)]
        await children.start("his", [*command, "--port", str(plan.ports.his), "--seed", str(plan.seed)])

    async def is_up(self) -> bool:
        """Whether both answer."""
        return self._payments_file.is_file() and self._his_file.is_file()

    async def start_platform(self, children: Children, fleet_environ: Mapping[str, str]) -> None:
        """Give it a certificate of the fleet, settings and a store, and start it."""
        plan = self._plan
        tls = plan.platform_dir / "tls"
        command = [entry_point("fleet-server"), "platform-cert", "--out", str(tls), "--name", "localhost"]
        await children.run("platform-cert", [*command, "--name", HOST], fleet_environ)
        await asyncio.to_thread(write_private, plan.platform_dir / "patient.toml", self._settings())
        program = entry_point("patient-platform")
        await children.run("platform-migrate", [program, "migrate", "--data-dir", str(plan.platform_dir)])
        await children.start("patient-platform", [program, "run", "--data-dir", str(plan.platform_dir)])

    def facts(self) -> PlatformFacts:
        """Where everything is."""
        ports = self._plan.ports
        return PlatformFacts(
            url=f"https://localhost:{ports.platform}",
            data_dir=str(self._plan.platform_dir),
            notify_url=f"http://{HOST}:{ports.notify}",
            payments_url=f"http://{HOST}:{ports.payments}/sim/",
            his_url=f"http://{HOST}:{ports.his}/sim/",
        )

    def _settings(self) -> str:
        plan = self._plan
        payments: Json = json.loads(self._payments_file.read_bytes())
        his: Json = json.loads(self._his_file.read_bytes())
        wechat, alipay = payments["wechat"], payments["alipay"]
        tls = plan.platform_dir / "tls"
        sections: dict[str, dict[str, object]] = {
            "": {"data_dir": str(plan.platform_dir)},
            "kiosk_api": {
                "host": HOST,
                "port": plan.ports.platform,
                "certificate_file": str(tls / "server.pem"),
                "key_file": str(tls / "server.key"),
                "client_ca_file": str(tls / "ca.pem"),
                "client_crl_file": str(plan.fleet_dir / "broker" / "crl.pem"),
            },
            "notify": {"host": HOST, "port": plan.ports.notify, "public_url": f"http://{HOST}:{plan.ports.notify}"},
            "his": {"url": his["base_url"], "token_file": his["token_file"]},
            "wechat": {
                "base_url": wechat["base_url"],
                "mchid": wechat["mchid"],
                "appid": wechat["appid"],
                "merchant_key_file": wechat["merchant_key_file"],
                "merchant_serial": wechat["merchant_serial"],
                "apiv3_key_file": wechat["apiv3_key_file"],
                "apiv2_key_file": wechat["apiv2_key_file"],
            },
            "wechat.platform_keys": {wechat["public_key_id"]: wechat["platform_public_key_file"]},
            "alipay": {
                "gateway_url": alipay["gateway_url"],
                "app_id": alipay["app_id"],
                "app_key_file": alipay["app_private_key_file"],
                "alipay_key_file": alipay["alipay_public_key_file"],
                "seller_id": alipay["seller_id"],
            },
        }
        return "\n".join(_section(name, values) for name, values in sections.items())


def _section(name: str, values: Mapping[str, object]) -> str:
    lines = [f"[{name}]"] if name else []
    lines += [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join([*lines, ""])
