"""Everybody at 07:30, ends of months, and pages of other releases (section 16 of the reference), over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from kit.clock import ManualClock
from kit.supervise import TaskGroup, spawn
from patient_platform.contract import HEADER
from patient_platform.his.ports import HisUnreachable
from patient_platform.his.rest import RestWire
from patient_platform.money import Fen
from patient_platform.payment.channels.pace import BURST, Pace
from patient_platform.payment.channels.wechat_v2 import WechatV2
from patient_platform.payment.channels.wechat_v3 import WechatV3
from patient_platform.payment.model import ChannelName, Method
from patient_platform.payment.ports import Charge
from patient_platform.payment.store import ORDERS
from patient_platform.reconciliation.model import BatchState
from simulators.payments.keys import Keys
from support.patient_site import patient_site
from support.stepped_site import START, SteppedSite, stepped_site

KIOSKS = 40
PATIENTS = 40


async def test_56_every_slot_is_sold_once_however_many_want_it(till: SteppedSite) -> None:
    doctors = await till.site.call("GET", f"sessions/{await till.site.identify(1)}/departments/D01/doctors")
    doctor = doctors["doctors"][0]["doctor"]

    async def wants(number: int) -> tuple[int, str, int]:
        kiosk = f"kiosk-{number}"
        here = f"sessions/{await till.site.identify(1 + number, kiosk)}"
        shown = await till.site.call("GET", f"{here}/departments/D01/doctors/{doctor}/slots", kiosk=kiosk)
        slot = shown["slots"][number % 4]
        body = {name: slot[name] for name in ("schedule", "number")}
        lock = await till.site.call("POST", f"{here}/slot-locks", body, kiosk=kiosk)
        return lock.status, str(lock.body.get("code", "")), slot["number"]

    async with TaskGroup() as group:
        tasks = [spawn(group, wants(number), f"kiosk-{number}") for number in range(PATIENTS)]
    answers = [task.result() for task in tasks]
    assert {(status, code) for status, code, _ in answers} == {(201, ""), (409, "slot_taken")}
    sold = [number for status, _, number in answers if status == 201]
    assert sorted(sold) == sorted({number for _, _, number in answers})
    assert len(till.site.his.desk.hospital.books.locks) == len(sold)


class Counter:
    """A HIS that counts how many ask it at the same time."""

    def __init__(self) -> None:
        self.now = self.most = self.all = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, _request: web.Request) -> web.Response:
        """Take a moment."""
        self.now += 1
        self.all += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.02)
            await self.may_answer.wait()
        finally:
            self.now -= 1
        return web.json_response({"code": 1, "msg": "", "data": {}})


@asynccontextmanager
async def serving(counter: Counter) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hisapi/{operation:.+}", counter.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hisapi"
    finally:
        await runner.cleanup()


async def test_56_the_his_is_never_asked_by_more_than_it_takes() -> None:
    counter = Counter()
    async with serving(counter) as url, aiohttp.ClientSession() as http, TaskGroup() as group:
        wire = RestWire(http, url, "token", timeout_s=5.0, concurrency=4)
        tasks = [spawn(group, wire.call("patient/find", {}), "ask") for _ in range(KIOSKS)]
        await asyncio.wait(tasks)
    assert (counter.most, counter.all) == (4, KIOSKS)


async def test_56_who_waits_too_long_in_the_line_is_told_so_and_was_never_sent() -> None:
    counter = Counter()
    counter.may_answer.clear()
    async with serving(counter) as url, aiohttp.ClientSession() as http:
        wire = RestWire(http, url, "token", timeout_s=0.5, concurrency=1)
        async with TaskGroup() as group:
            tasks = [spawn(group, _tried(wire), "ask") for _ in range(3)]
        assert [task.result() for task in tasks] == [False, False, False]
        assert counter.all < len(tasks)
        counter.may_answer.set()
        assert await _tried(wire)


async def _tried(wire: RestWire) -> bool:
    try:
        await wire.call("patient/find", {})
    except HisUnreachable:
        return False
    return True


async def test_56_a_channel_is_asked_at_its_own_pace() -> None:
    pace, loop = Pace(100.0), asyncio.get_running_loop()
    begun_s = loop.time()
    async with TaskGroup() as group:
        tasks = [spawn(group, _turn(pace, loop), "turn") for _ in range(60)]
    passed = sorted(task.result() - begun_s for task in tasks)
    for number, at_s in enumerate(passed):  # nobody earlier than its turn; how late a busy machine is proves nothing
        assert at_s >= (number - BURST) / 100.0 - 0.001, (number, at_s)


class Counted(Pace):
    """Counts turns."""

    turns = 0

    async def turn(self) -> None:
        """See `Pace`."""
        self.turns += 1


@pytest.mark.parametrize("code_api", ["v3", "v2"])
async def test_56_every_call_to_wechat_waits_for_its_turn(
    code_api: str, site_keys: Keys, tmp_path: Path, sqlite_platform_url: str
) -> None:
    clock = ManualClock(START)
    async with patient_site(
        site_keys, tmp_path, sqlite_platform_url, clock=clock, drives=False, code_api=code_api
    ) as site:
        wechat = site.platform.raw[ChannelName.WECHAT]
        newer = wechat.newer if isinstance(wechat, WechatV2) else wechat
        assert isinstance(newer, WechatV3)
        newer.pace = counted = Counted(1.0)
        charge = Charge(
            "01K000000000000000000000AB01", Fen(100), "门诊缴费", Method.PAYMENT_CODE, "kiosk-1", START, code="1"
        )
        await wechat.submit(charge)
    assert counted.turns == 1


async def test_56_two_processes_can_share_what_a_merchant_may_call(till: SteppedSite) -> None:
    settings = till.site.platform.settings
    assert settings.wechat is not None
    half = settings.wechat.model_copy(update={"calls_per_s": 13.0})
    await till.restart(settings.model_copy(update={"wechat": half}))
    wechat = till.site.platform.raw[ChannelName.WECHAT]
    assert isinstance(wechat, WechatV3)
    assert wechat.pace.per_s == 13.0


async def _turn(pace: Pace, loop: asyncio.AbstractEventLoop) -> float:
    await pace.turn()
    return loop.time()


EVENINGS = {
    "leap day": (datetime(2028, 2, 28, 15, 50, tzinfo=UTC), date(2028, 2, 28), date(2028, 2, 29)),
    "after the leap day": (datetime(2028, 2, 29, 15, 50, tzinfo=UTC), date(2028, 2, 29), date(2028, 3, 1)),
    "no leap day": (datetime(2027, 2, 28, 15, 50, tzinfo=UTC), date(2027, 2, 28), date(2027, 3, 1)),
    "new year": (datetime(2026, 12, 31, 15, 50, tzinfo=UTC), date(2026, 12, 31), date(2027, 1, 1)),
}


@pytest.mark.parametrize("evening", EVENINGS)
async def test_57_a_day_is_chinas_whatever_the_calendar_does(
    evening: str, site_keys: Keys, tmp_path: Path, sqlite_platform_url: str
) -> None:
    start, day, following = EVENINGS[evening]
    async with stepped_site(site_keys, tmp_path, sqlite_platform_url, start) as till:
        first = await till.order_bills(1)
        await till.pay_by_code(first)
        await till.pass_time(15 * 60.0)  # midnight has passed in China, in UTC it is still the day before
        second = await till.order_bills(2, "kiosk-2")
        await till.pay_by_code(second, "kiosk-2")
        async with till.site.platform.database.read() as connection:
            kept = (await connection.execute(ORDERS.select().with_only_columns(ORDERS.c.created_at))).scalars().all()
        assert sorted(kept) == [start, start + timedelta(minutes=15)]
        assert {moment.utcoffset() for moment in kept} == {timedelta(0)}
        await till.pass_time(40 * 3_600.0)
        for one, order in ((day, first), (following, second)):
            batches = await till.site.platform.reconciliation.run(one)
            assert [batch.state for batch in batches] == [BatchState.DONE, BatchState.DONE]
            assert sum(batch.counts.get("OK", 0) for batch in batches) == 1, (one, order)
            assert all(batch.is_balanced for batch in batches)


@pytest.mark.parametrize("spoken", ["0", "2", "99", "one", ""])
async def test_58_a_page_of_another_contract_changes_nothing(till: SteppedSite, spoken: str) -> None:
    url = f"{till.site.url}/platform/v1/status"
    headers = {"X-Test-Kiosk": "kiosk-1", HEADER: spoken}
    async with till.site.http.get(url, headers=headers) as answer:
        problem = await answer.json()
    assert (answer.status, problem["code"]) == (400, "contract_unsupported")
    assert "contract 1" in str(problem)


async def test_58_this_page_and_the_one_before_it_are_understood(till: SteppedSite) -> None:
    for headers in ({}, {HEADER: "1"}):
        url = f"{till.site.url}/platform/v1/status"
        async with till.site.http.get(url, headers={"X-Test-Kiosk": "kiosk-1", **headers}) as answer:
            assert answer.status == 200
