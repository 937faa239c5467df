"""Patients' money: thirty kiosks that pay all day, what a page waits for, and a day of thirty thousand rows."""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import web

from bench.figures import percentile
from bench.harness import Better, Goal, Row, interleave, load_note, row, say
from bench.site import Site, site
from kit.store import Database, upgrade
from kit.supervise import TaskGroup, spawn
from simulators.demo.outside import Outside
from simulators.demo.plan import Plan, Ports
from simulators.demo.processes import Children
from support.ports import free_port
from support.waiting import wait_for

KIOSKS = 30
EVERY_S = 20.0
WINDOW_S = 80.0
REQUESTS = 400
ROWS = 30_000
_KEYS = count(1)
_FIRST_PATIENT = 20
_MIB = 1024.0


@dataclass(slots=True)
class Kiosk:
    """One kiosk with its certificate and what it waited for."""

    http: aiohttp.ClientSession
    url: str
    number: int
    waits: list[float]
    steps: dict[str, list[float]] = field(default_factory=dict)

    async def call(self, name: str, method: str, path: str, body: object = None, key: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """One request, timed."""
        headers = {"Idempotency-Key": key} if key else {}
        started_s = monotonic()
        async with self.http.request(method, f"{self.url}/platform/v1/{path}", json=body, headers=headers) as response:
            found = await response.json()
            assert response.ok, (name, found)
        waited_s = monotonic() - started_s
        self.waits.append(waited_s)
        self.steps.setdefault(name, []).append(waited_s)
        return found


@dataclass(slots=True)
class Shop:
    """The platform with everything around it."""

    outside: Outside
    kiosks: list[Kiosk]
    his: dict[str, Any]
    http: aiohttp.ClientSession
    tls: ssl.SSLContext
    """As the platform's own server has it."""


async def payments() -> list[Row]:
    """All rows."""
    return [*await _transactions(), *await _days()]


async def _transactions() -> list[Row]:
    async with site() as place, _shop(place) as shop:
        say(f"{KIOSKS} kiosks, a transaction every {EVERY_S:g} s each")
        ends: list[float] = []
        async with TaskGroup() as group:
            for kiosk in shop.kiosks:
                _ = spawn(group, _pay_all_day(shop, kiosk, ends), f"kiosk-{kiosk.number}")
        waits = [wait for kiosk in shop.kiosks for wait in kiosk.waits]
        note = f"{len(ends)} transactions, {len(waits)} requests{load_note()}"
        figures = await _bare(shop)
    absolute = Goal(Better.LESS, 0.5, absolute=True)
    return [
        row("payments.platform_p99", "s", percentile(waits, 0.99), None, absolute, note),
        row(
            "payments.paid_to_receipt_p99",
            "s",
            percentile(ends, 0.99),
            None,
            Goal(Better.LESS, 2.0, absolute=True),
            note,
        ),
        row(
            "payments.status_vs_bare",
            "ms",
            1000 * figures["ours"],
            1000 * figures["bare"],
            Goal(Better.LESS, 2.0),
            "one request of a known kiosk, revocations asked, against a bare handler behind the same TLS",
        ),
    ]


async def _pay_all_day(shop: Shop, kiosk: Kiosk, ends: list[float]) -> None:
    until_s = monotonic() + WINDOW_S
    await asyncio.sleep(EVERY_S * kiosk.number / KIOSKS)
    while monotonic() < until_s:
        started_s = monotonic()
        ends.append(await _pay(shop, kiosk))
        await asyncio.sleep(max(0.0, EVERY_S - (monotonic() - started_s)))


async def _pay(shop: Shop, kiosk: Kiosk) -> float:
    """A whole transaction; seconds from the code at the scanner to the receipt."""
    patient = f"P{_FIRST_PATIENT + kiosk.number:06d}"
    async with shop.http.post(f"{shop.his['control_url']}/bills", json={"patient_id": patient}) as response:
        assert response.ok
    visit = f"26{_FIRST_PATIENT + kiosk.number:08d}"
    medium = {"kind": "visit_number", "text": visit}
    session = (await kiosk.call("identify", "POST", "sessions", {"medium": medium}))["session"]
    shown = await kiosk.call("bills", "GET", f"sessions/{session}/bills")
    body = {
        "business": "bill",
        "bills": [bill["bill"] for bill in shown["bills"]],
        "bill_hash": shown["bill_hash"],
    }
    order = await kiosk.call("order", "POST", f"sessions/{session}/orders", body)
    phone = f"{shop.outside.facts().payments_url}phone/code"
    async with shop.http.post(
        phone, json={"wallet": "wechat", "balance_fen": 10**9, "asks_password": False}
    ) as response:
        code = (await response.json())["code"]
    pay = {"channel": "wechat", "method": "payment_code", "code": code}
    started_s = monotonic()
    seen = await kiosk.call("pay", "POST", f"orders/{order['order']}/pay", pay, key=f"bench-{next(_KEYS)}")
    while seen["advice"] != "print":
        path = f"orders/{order['order']}?after={seen['version']}&wait_s=10"
        async with kiosk.http.get(f"{kiosk.url}/platform/v1/{path}") as response:
            seen = await response.json()
    await kiosk.call("receipt", "GET", f"orders/{order['order']}/receipt")
    ended_s = monotonic() - started_s
    for state in ("printing", "printed"):
        await kiosk.call("paper", "POST", f"orders/{order['order']}/fulfilment", {"state": state})
    return ended_s


@asynccontextmanager
async def _shop(place: Site) -> AsyncIterator[Shop]:
    hospital = place.hospital
    hospital.run("fleet_server", "lab-identities", "--count", str(KIOSKS), "--out", str(hospital.identities_dir))
    ports = Ports(0, 0, 0, 0, 0, free_port(), free_port(), free_port(), free_port(), ())
    plan = Plan(hospital.fleet_dir.parent, KIOSKS, 0, None, ports)
    outside, children = Outside(plan), Children(plan.folder / "logs")
    try:
        await outside.start(children)
        await wait_for(outside.is_up, timeout_s=60.0, what="wallets and HIS")
        his = json.loads((plan.his_dir / "his.json").read_bytes())
        await outside.start_platform(children, {"FLEET_DATA_DIR": str(hospital.fleet_dir)})
        async with aiohttp.ClientSession() as http:
            await wait_for(lambda: _answers(http, outside), timeout_s=60.0, what="the platform")
            kiosks = [_kiosk(place, outside, number) for number in range(KIOSKS)]
            try:
                yield Shop(outside, kiosks, his, http, _server_tls(plan.platform_dir / "tls"))
            finally:
                for kiosk in kiosks:
                    await kiosk.http.close()
    finally:
        await children.stop()


def _server_tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _answers(http: aiohttp.ClientSession, outside: Outside) -> bool:
    try:
        async with http.get(f"{outside.facts().notify_url}/metrics") as response:
            return response.ok
    except aiohttp.ClientError:
        return False


def _kiosk(place: Site, outside: Outside, number: int) -> Kiosk:
    folder = place.hospital.identities_dir / f"sim-{number + 1:04d}"
    context = ssl.create_default_context(cafile=str(place.hospital.identities_dir / "ca.pem"))
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
    return Kiosk(http, outside.facts().url, number, [])


async def _bare(shop: Shop) -> dict[str, float]:
    """Seconds of one request in a row: the platform's status, and a handler that says one word."""
    app = web.Application()

    async def word(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app.router.add_get("/", word)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=shop.tls).start()
    kiosk = shop.kiosks[0]

    async def timed(http: aiohttp.ClientSession, url: str) -> float:
        started_s = monotonic()
        for _ in range(REQUESTS):
            async with http.get(url) as response:
                await response.read()
        return (monotonic() - started_s) / REQUESTS

    try:
        found = await interleave(
            {
                "ours": lambda: timed(kiosk.http, f"{kiosk.url}/platform/v1/status"),
                "bare": lambda: timed(kiosk.http, f"https://localhost:{port}/"),
            }
        )
        return dict(found)
    finally:
        await runner.cleanup()


# --- a day of thirty thousand rows ----------------------------------------------------------------------------


async def _days() -> list[Row]:
    """Measured in a process of its own, for its memory."""
    say(f"a day of {ROWS:,} rows")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.payments", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    found = json.loads(said)
    note = f"bill read and balanced, movements out of SQLite, compared{load_note()}"
    return [
        row("payments.reconcile_30000", "s", found["seconds"], None, Goal(Better.LESS, 2.0, absolute=True), note),
        row("payments.reconcile_rss", "MiB", found["mib"], None, Goal(Better.LESS, 300.0, absolute=True), note),
    ]


async def _measure_day(folder: Path) -> dict[str, float]:
    from patient_platform.app import MIGRATIONS  # noqa: PLC0415 - only the child process pays for it
    from patient_platform.his.ports import HisTrade  # noqa: PLC0415 - see above
    from patient_platform.money import Fen  # noqa: PLC0415 - see above
    from patient_platform.payment.channels.wechat_bill import read_bill  # noqa: PLC0415 - see above
    from patient_platform.payment.model import ChannelName  # noqa: PLC0415 - see above
    from patient_platform.payment.movements import movements_of  # noqa: PLC0415 - see above
    from patient_platform.reconciliation.rules import compare, counts  # noqa: PLC0415 - see above
    from patient_platform.reconciliation.service import books_of  # noqa: PLC0415 - see above

    url = f"sqlite:///{folder / 'patient.sqlite3'}"
    await asyncio.to_thread(upgrade, url, MIGRATIONS)
    database = Database(url)
    day, noon = date(2026, 11, 22), datetime(2026, 11, 22, 4, tzinfo=UTC)
    numbers = [f"01K{number:023d}01" for number in range(ROWS)]
    await _fill(database, numbers, noon)
    text = _bill_text(numbers)
    his = [HisTrade(number, None, Fen(1_234), noon, f"H{number}") for number in numbers]
    started_s = monotonic()
    bill = await asyncio.to_thread(read_bill, text, "", "1900000109")
    window = (noon - timedelta(hours=13), noon + timedelta(hours=13))
    moved = await movements_of(database, ChannelName.WECHAT, window, {row.trade_no for row in bill})
    found = counts(compare(books_of(day, moved), bill, his))
    seconds = monotonic() - started_s
    await database.close()
    assert found == {"OK": ROWS}, found
    return {"seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB}


async def _fill(database: Database, numbers: list[str], noon: datetime) -> None:
    from sqlalchemy import insert  # noqa: PLC0415 - see above

    from patient_platform.payment.store import LEGS, ORDERS  # noqa: PLC0415 - see above

    order = {
        "version": 9,
        "kiosk": "kiosk-1",
        "session": "s",
        "patient": "p",
        "business": "bill",
        "keys": [],
        "subject": {},
        "amount_fen": 1_234,
        "created_at": noon,
        "expires_at": noon,
        "posting": "posted",
        "posting_tries": 1,
        "posted_at": noon,
        "posted": {},
        "fulfilment": "printed",
        "prints": 1,
        "is_released": True,
        "is_over": True,
    }
    leg = {
        "kind": "cash",
        "channel": "wechat",
        "method": "payment_code",
        "amount_fen": 1_234,
        "state": "paid",
        "paid_at": noon,
        "was_paid": True,
        "not_found": 0,
        "queries": 0,
        "reversals": 0,
        "tail_checks": 0,
    }
    async with database.write() as connection:
        for start in range(0, len(numbers), 1_000):
            part = numbers[start : start + 1_000]
            await connection.execute(insert(ORDERS), [{"order": number[:26], **order} for number in part])
            await connection.execute(
                insert(LEGS), [{"trade_no": number, "order": number[:26], **leg} for number in part]
            )


def _bill_text(numbers: list[str]) -> bytes:
    head = "交易时间,公众账号ID,商户号,微信订单号,商户订单号,交易状态,应结订单金额,手续费,订单金额,申请退款金额"
    cells = "`2026-11-22 12:00:00,`wx8888888888888888,`1900000109,`4200{0},`{0},`SUCCESS,`12.34,`0.00000,`12.34,`0.00"
    rows = [cells.format(number) for number in numbers]
    total = f"{len(numbers) * 1_234 // 100}.{len(numbers) * 1_234 % 100:02d}"
    return "\r\n".join(
        [head, *rows, "总交易单数,订单总金额,申请退款总金额", f"`{len(numbers)},`{total},`0.00"]
    ).encode()


def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(asyncio.run(_measure_day(Path(folder)))))


if __name__ == "__main__":
    _main()
