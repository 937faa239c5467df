"""From fault to proof with everything running: kiosk, broker, server, a phone, a person, and the month's report."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest

from kit.clock import SystemClock
from support.fleet_desk import FleetDesk, Json, Phone, fleet_desk, paging_environ, phone
from support.kiosk_journey import Demo, Desk, desk, ready
from support.ports import free_port
from support.processes import Child
from support.tree import ROOT
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]
BENCH, PRINTER = "kiosk-1", "receipt_printer"
ZONE_S = 8 * 3_600
CONTRACT = ROOT / "fleet_server" / "sla" / "contract.toml"


class Ward:
    """A demo, whoever is on duty, and the phone."""

    def __init__(self, demo: Demo, staff: FleetDesk, called: Phone, folder: Path) -> None:
        self.demo = demo
        self.staff = staff
        self.phone = called
        self.folder = folder
        self.kid: str = demo.facts["kiosks"][0]["kid"]

    async def one(self, cause: str, where: str = "", state: str = "open") -> Json:
        """The only incident of a cause at a place, as soon as it is there."""

        async def found() -> list[Json]:
            return [one for one in await self.staff.incidents(cause, state) if where in one["scope_name"]]

        return (await wait_for(found, timeout_s=120.0, what=f"an incident {cause} {where}", poll_s=0.2))[0]

    async def order(self, incident: Json, *states: str) -> Json:
        """The work order of an incident, once it is in one of these states."""

        async def found() -> list[Json]:
            order = await self.staff.order_of(incident["id"])
            return [order] if order is not None and (not states or order["state"] in states) else []

        return (await wait_for(found, timeout_s=60.0, what=f"an order in {states}", poll_s=0.2))[0]

    async def case(self, number: int) -> Json:
        """The line of the month's report about an incident."""
        local = datetime.fromtimestamp(SystemClock().utc().timestamp() + ZONE_S)  # noqa: DTZ006 - only its month
        report = await self.staff.get(f"sla/report?month={local:%Y-%m}")
        cases = [line for line in report["cases"] if line["number"] == number]
        assert len(cases) == 1, report["cases"]
        found: Json = cases[0]
        return found


@asynccontextmanager
async def running(folder: Path, kiosks: int) -> AsyncIterator[Ward]:
    """A demo that calls a phone."""
    async with phone() as called:
        environ = {
            "DEMO_DIR": str(folder / "demo"),
            "DEMO_KIOSKS": str(kiosks),
            "DEMO_FULL": "1",
            "DEMO_PORT": str(free_port()),
            **paging_environ(folder / "paging", called),
        }
        with Child.of_module("simulators", "demo", log_dir=folder, env=environ, name="demo") as child:
            file = folder / "demo" / "demo.json"
            await wait_for(lambda: file.is_file() or not child.is_running, timeout_s=180.0, what="the demo")
            assert child.is_running, child.log()
            async with aiohttp.ClientSession() as http:
                demo = Demo(http, json.loads(file.read_bytes()))
                await ready(demo, 1)
                async with fleet_desk(demo.facts) as staff:
                    await staff.post("sla/contract", {"toml": CONTRACT.read_text(encoding="utf-8")}, "PUT")
                    yield Ward(demo, staff, called, folder)
            child.send(signal.SIGINT)
            await wait_for(lambda: not child.is_running, timeout_s=60.0, what="the demo ends")


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with running(tmp_path, 3) as found:
        yield found


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


async def tried_by_an_engineer(ward: Ward, page: Desk, engineer: str) -> None:
    """Maintenance is opened with a code of this kiosk, the printer is tried, and the record is signed."""
    data = ward.folder / "demo" / "agents" / ward.kid
    environ = {"KIOSK_DATA_DIR": str(data)}
    with Child.of_module("agent", "maintenance", "code", log_dir=ward.folder, env=environ, name="code") as child:
        await wait_for(lambda: not child.is_running, timeout_s=20.0, what="a maintenance code")
        code = "".join(letter for letter in child.log().split("维护码")[1].split("\n")[0] if letter.isdigit())[:8]
    opened = await page.page.ask("Maintenance.Open", {"code": code, "engineer": engineer})
    pass_word = opened["payload"]["pass_word"]
    number = await page.page.send(
        "Maintenance.Test", {"pass_word": pass_word, "component": PRINTER, "test": "print_receipt"}
    )
    tried = (await page.page.end(number))["payload"]
    assert tried["outcome"] == "asked", tried
    seen = await page.page.ask("Maintenance.Confirm", {"pass_word": pass_word, "no": tried["no"], "is_good": True})
    assert seen["payload"]["outcome"] == "passed"
    assert (await page.page.ask("Maintenance.Close", {"pass_word": pass_word}))["payload"]


async def test_paper_from_the_alarm_to_the_report(ward: Ward) -> None:
    began = SystemClock().utc()
    await ward.demo.device(BENCH, PRINTER, "paper_out")
    incident = await ward.one("paper_out", ward.kid)
    await wait_for(lambda: ward.phone.of(incident["name"]), timeout_s=10.0, what="the phone rings")
    assert ward.phone.of(incident["name"])[0]["severity"] == "major"
    assert ward.phone.rang[0][0].timestamp() - began.timestamp() < 10
    order = await ward.order(incident)
    assert order["state"] == "new"
    assert order["missing"]

    taken = await ward.staff.post(f"incidents/{incident['id']}/acknowledge", {"note": "我去换纸"})
    assert (await ward.order(incident, "responded"))["assignee"] == ward.demo.facts["staff"]["username"]
    rung = len(ward.phone.of(incident["name"]))

    async with desk(ward.demo, 1) as page:
        shown = await page.page.ask("Kiosk.CheckInCode")
        assert await ward.staff.post("orders/check-in", {"code": shown["payload"]["code"]}) != []
        assert (await ward.order(incident, "on_site"))["on_site"]["by"] == ward.demo.facts["staff"]["username"]
        await ward.demo.device(BENCH, PRINTER, "refill")
        await tried_by_an_engineer(ward, page, "2017")
        verified = await ward.order(incident, "verified", "closed")
        for person in (31, 32, 33):
            await page.pay_bill(person)
    closed = await ward.order(incident, "closed")
    assert [line["kind"] for line in closed["timeline"]][:3] == ["opened", "responded", "checked_in"]
    assert len(ward.phone.of(incident["name"])) == rung  # nobody was called again

    line = await ward.case(incident["number"])
    began_at, answered = closed["since"], taken["acknowledged_at"]
    assert seconds_between(began_at, line["began_at"]) == pytest.approx(0, abs=1)
    assert line["response_s"] == pytest.approx(seconds_between(began_at, answered), abs=1)
    assert line["repair_s"] == pytest.approx(seconds_between(began_at, verified["repaired"]["at"]), abs=1)
    assert not line["is_response_breached"]
    assert not line["is_repair_breached"]


async def test_a_broker_that_hangs_is_one_incident_of_the_server(ward: Ward) -> None:
    """A demo ends with any of its processes, so the broker is stopped like one that hangs: nobody hears anybody."""
    broker = ward.demo.facts["pids"]["mosquitto"]
    os.kill(broker, signal.SIGSTOP)
    try:
        incident = await ward.one("broker_down")
        assert incident["scope"] == "server"
        await wait_for(lambda: len(ward.phone.of(incident["name"])) == 2, timeout_s=30.0, what="both phones ring")
        await ward.staff.post(f"incidents/{incident['id']}/acknowledge", {})
    finally:
        os.kill(broker, signal.SIGCONT)

    async def is_over() -> bool:
        found = await ward.staff.incidents("broker_down")
        return found[0]["recovered_at"] is not None

    await wait_for(is_over, timeout_s=90.0, what="the broker is back", poll_s=0.2)
    assert await ward.staff.incidents("kiosk_offline") == []  # what nobody could hear is not the kiosks' fault
    detail = await ward.staff.get(f"incidents/{incident['id']}")
    line = await ward.case(incident["number"])
    assert line["response_s"] == pytest.approx(seconds_between(detail["since"], detail["acknowledged_at"]), abs=1)
    assert line["repair_s"] == pytest.approx(seconds_between(detail["since"], detail["recovered_at"]), abs=1)


@pytest.mark.timeout(600)
async def test_a_power_cut_of_a_hundred_kiosks_is_one_incident(tmp_path: Path) -> None:
    async with running(tmp_path, 101) as ward:
        control = ward.demo.facts["control_url"]

        async def power(*, on: bool) -> None:
            async with ward.demo.http.post(f"{control}/api/v1/power", json={"on": on}) as response:
                assert response.ok, await response.text()

        async def online() -> bool:
            return int((await ward.staff.get("kiosks?presence=online&limit=1"))["total"]) == 101

        await wait_for(online, timeout_s=60.0, what="all kiosks online", poll_s=0.5)
        cut = SystemClock().utc().timestamp()
        await power(on=False)
        await ward.demo.device(BENCH, PRINTER, "paper_out")
        paper = await ward.one("paper_out", ward.kid)
        assert SystemClock().utc().timestamp() - cut < 30
        incident = await ward.one("kiosk_offline")
        await wait_for(lambda: ward.phone.of(incident["name"]), timeout_s=60.0, what="the phone rings")
        assert SystemClock().utc().timestamp() - cut < 90

        async def members() -> bool:
            detail = await ward.staff.get(f"incidents/{incident['id']}")
            return len({member["kid"] for member in detail["members"]}) == 100

        await wait_for(members, timeout_s=60.0, what="a hundred members", poll_s=0.5)
        assert len(await ward.staff.incidents("kiosk_offline")) == 1
        assert len(ward.phone.of(incident["name"])) <= 2
        assert paper["id"] != incident["id"]

        await power(on=True)

        async def is_over() -> bool:
            return (await ward.staff.incidents("kiosk_offline"))[0]["recovered_at"] is not None

        await wait_for(is_over, timeout_s=120.0, what="all are back", poll_s=0.5)
        detail = await ward.staff.get(f"incidents/{incident['id']}")
        line = await ward.case(incident["number"])
        assert line["kiosks"] == 100
        assert line["repair_s"] == pytest.approx(seconds_between(detail["since"], detail["recovered_at"]), abs=1)
