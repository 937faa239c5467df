"""A patient at a full kiosk of a running demo, as the page does it: devices on the channel, the platform by the proxy.

Everything that the kiosk's own local API answers is timed, but not what waits for people, paper or others' money.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from support.device_page import Page, open_page
from support.waiting import wait_for

Json = dict[str, Any]  # Any: whatever JSON a service answers


@dataclass(slots=True)
class Demo:
    """A running demo, and what testers can do to it."""

    http: aiohttp.ClientSession
    facts: Json

    async def device(self, bench: str, component: str, act: str, **arguments: object) -> None:
        """Do something to a device of a kiosk."""
        lab = self.facts["lab"]
        url = f"{lab['control_url']}/api/v1/kiosks/{bench}/devices/{component}/actions"
        body = {"action": act, "arguments": arguments}
        await self._post(url, body, {"Authorization": f"Bearer {lab['token']}"})

    async def receipts(self, bench: str) -> list[str]:
        """Every paper that came out of a receipt printer, as text."""
        lab = self.facts["lab"]
        url = f"{lab['control_url']}/api/v1/kiosks/{bench}/devices/receipt_printer/receipts"
        headers = {"Authorization": f"Bearer {lab['token']}"}
        async with self.http.get(url, headers=headers) as response:
            return [item["text"] for item in (await response.json())["items"]]

    async def code(self) -> str:
        """The code of a phone with money."""
        body = {"wallet": "wechat", "balance_fen": 10**9, "asks_password": False}
        found = await self._post(f"{self.facts['platform']['payments_url']}phone/code", body, {})
        return str(found["code"])

    async def bill(self, person: int) -> None:
        """A doctor writes a bill."""
        his = json.loads((Path(self.facts["platform"]["data_dir"]).parent / "his" / "his.json").read_bytes())
        await self._post(f"{his['control_url']}/bills", {"patient_id": f"P{person:06d}"}, {})

    async def _post(self, url: str, body: Json, headers: dict[str, str]) -> Json:
        async with self.http.post(url, json=body, headers=headers) as response:
            text = await response.text()
            assert response.ok, text
            found: Json = json.loads(text) if text else {}
            return found


@dataclass(slots=True)
class Desk:
    """One kiosk and the page on it; `waits` are seconds."""

    demo: Demo
    bench: str
    url: str
    headers: dict[str, str]
    page: Page
    waits: list[float] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    async def pay_bill(self, person: int) -> None:
        """From the card on the reader to the paper in the hand."""
        await self.demo.bill(person)
        lease = (await self._ask("Session.Begin", {}))["lease"]
        number = await self.page.send("Media.ReadFirst", {"cards": ["social"]})
        await self.demo.device(self.bench, "id_reader", "insert_card", person=person)
        read = (await self.page.end(number))["payload"]["first"]
        await self.demo.device(self.bench, "id_reader", "remove_card")
        medium = {"kind": "id_card", "name": read["name"], "number": read["number"]}
        session = (await self._call("POST", "sessions", {"medium": medium}))["session"]
        shown = await self._call("GET", f"sessions/{session}/bills")
        bills = [bill["bill"] for bill in shown["bills"]]
        wanted = {"business": "bill", "bills": bills, "bill_hash": shown["bill_hash"]}
        order = await self._call("POST", f"sessions/{session}/orders", wanted)
        await self._ask("Session.Pay", {"lease": lease, "paying": True})
        number = await self.page.send("BarcodeReader.Read", {"expect": ["wechat_pay", "alipay_pay"]})
        await self.demo.device(self.bench, "scanner", "scan", text=await self.demo.code())
        code = (await self.page.end(number))["payload"]["text"]
        await self._paid(order["order"], code)
        await self._printed(order["order"])
        await self._ask("Session.Pay", {"lease": lease, "paying": False})
        await self._call("DELETE", f"sessions/{session}")
        await self._ask("Session.End", {"lease": lease})

    async def _paid(self, order: str, code: str) -> None:
        body = {"channel": "wechat", "method": "payment_code", "code": code}
        key = {"Idempotency-Key": f"key-{order}"}
        seen = await self._call("POST", f"orders/{order}/pay", body, key, is_timed=False)
        while seen["advice"] != "print":
            seen = await self._call("GET", f"orders/{order}?after={seen['version']}&wait_s=10", is_timed=False)

    async def _printed(self, order: str) -> None:
        receipt = await self._call("GET", f"orders/{order}/receipt")
        await self._call("POST", f"orders/{order}/fulfilment", {"state": "printing"})
        paper = {"paper": receipt["template"], "fields": receipt["fields"], "lines": receipt["lines"]}
        number = await self.page.send("Printer.Print", {"key": f"order-{order}", "kind": "receipt", "paper": paper})
        done = await self.page.end(number)
        assert done["header"]["completionCode"] == "success", done
        await self._call("POST", f"orders/{order}/fulfilment", {"state": "printed"})

    async def _ask(self, name: str, payload: Json) -> Json:
        started_s = monotonic()
        answer = await self.page.ask(name, payload)
        self.waits.append(monotonic() - started_s)
        assert answer["header"]["completionCode"] == "success", answer
        found: Json = answer["payload"]
        return found

    async def _call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
        *,
        is_timed: bool = True,
    ) -> Json:
        started_s = monotonic()
        given = self.headers | (headers or {})
        url = f"{self.url}/platform/v1/{path}"
        async with self.demo.http.request(method, url, json=body, headers=given) as response:
            text = await response.text()
        if is_timed:
            self.waits.append(monotonic() - started_s)
        assert response.ok, (method, path, text)
        self.answers.append(text)
        found: Json = json.loads(text) if text else {}
        return found


@asynccontextmanager
async def desk(demo: Demo, number: int) -> AsyncIterator[Desk]:
    """The page of full kiosk `number`, the first is 1; its receipt printer's papers are taken at once."""
    kiosk = next(one for one in demo.facts["kiosks"] if one["bench"] == f"kiosk-{number}")
    token = Path(kiosk["token_file"]).read_text(encoding="ascii").strip()
    url = kiosk["local_api_url"]
    headers = {"Authorization": f"Bearer {token}", "X-Platform-Contract": "1", "Origin": url}
    async with open_page(int(url.rpartition(":")[2]), token) as page:
        yield Desk(demo, f"kiosk-{number}", url, headers, page)


async def ready(demo: Demo, number: int) -> None:
    """Wait until a kiosk of the demo serves patients."""
    kiosk = next(one for one in demo.facts["kiosks"] if one["bench"] == f"kiosk-{number}")

    async def is_ready() -> bool:
        try:
            async with demo.http.get(f"{kiosk['local_api_url']}/api/v1/health") as response:
                return response.ok and Path(kiosk["token_file"]).is_file()
        except aiohttp.ClientError:
            return False

    await wait_for(is_ready, timeout_s=60.0, what=f"kiosk-{number}")
