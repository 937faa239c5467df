"""A whole agent with the demonstration's profile on the devices of a lab."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.app import Agent, prepare
from agent.settings import DevicesSettings, LocalApiSettings, Settings
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.lab.card_service import CardService
from simulators.lab.devices.card_reader import CardReader
from simulators.lab.kiosk import LabKiosk
from simulators.lab.lab import Lab, one_kiosk
from support.card_service import socket_dir
from support.device_page import Page, open_page
from support.lab_bench import QUICK, Engineer, running
from support.pdf import pdf
from support.tree import ROOT
from support.waiting import wait_for

PROFILE = ROOT / "firmware_profiles/kiosks/demo_full.yaml"
RECEIPT = {"elements": [{"type": "text", "text": "挂号凭条"}, {"type": "pair", "label": "姓名", "value": "赵样例"}]}


def _agent(folder: Path, kiosk: LabKiosk) -> Agent:
    prepare(folder / "data")
    devices = DevicesSettings(kiosk_profile=PROFILE, ports=kiosk.ports, retry_cap_s=0.05)
    settings = Settings(data_dir=folder / "data", local_api=LocalApiSettings(port=0), devices=devices)
    return Agent(settings, SystemClock(), "boot")


def _kiosk(folder: Path) -> LabKiosk:
    kiosk = one_kiosk("kiosk-1", "demo_full", QUICK, folder / "kiosk-1", SystemClock(), 1)
    service = CardService(folder / "pcscd", "kiosk-1")
    service.prepare(socket_dir())
    kiosk.devices["card_reader"] = CardReader("card_reader", "generic-pcsc", service)
    return kiosk


@asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[tuple[Engineer, Page, Agent]]:
    kiosk = await asyncio.to_thread(_kiosk, folder)
    stop = asyncio.Event()
    async with running(Lab([kiosk], SystemClock()), folder) as tester:
        agent = await asyncio.to_thread(_agent, folder, kiosk)
        async with asyncio.TaskGroup() as group:
            serving = spawn(group, agent.run(stop=stop), "agent")
            await agent.local_api.started()
            async with open_page(agent.local_api.port, agent.token.value) as page:
                yield tester, page, agent
            stop.set()
            await serving


@pytest.mark.timeout(30)
async def test_every_device_of_the_demonstration_works(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (tester, page, agent):
        manager = agent.devices
        assert manager is not None
        await wait_for(
            lambda: {seen.component for seen in manager.seen() if seen.state != "ready"} == set(),
            what="all devices",
            timeout_s=15,
        )
        number = await page.send("IdCardReader.Read")
        await tester.do("id_reader", "insert_card", kind="resident", person=7)
        read = (await page.end(number))["payload"]
        assert read["name"] == (await tester.state("id_reader"))["name"]

        number = await page.send("BarcodeReader.Read", {"expect": ["wechat_pay"]})
        await tester.do("scanner", "scan", kind="wechat_pay")
        assert (await page.end(number))["header"]["completionCode"] == "success"

        number = await page.send("CardReader.Read", {"accept": ["social"]})
        await tester.do("card_reader", "insert", kind="social_security", person=7)
        assert (await page.end(number))["payload"]["card"]["holder"]["name"] == read["name"]
        await tester.do("card_reader", "remove")

        done = await page.ask("Printer.Print", {"key": "visit-1", "kind": "receipt", "receipt": RECEIPT})
        assert done["payload"]["job"]["state"] == "printed"
        path = "/api/v1/kiosks/kiosk-1/devices/receipt_printer/receipts"
        assert "赵样例" in (await tester.ask("GET", path))[1]["items"][0]["text"]

        order = {"key": "report-1", "kind": "report", "pdf": base64.b64encode(pdf(2)).decode()}
        assert (await page.ask("Printer.Print", order))["payload"]["job"]["state"] == "printed"

        number = await page.send("Keyboard.PinEntry", {"account": "123456789012"})
        await tester.do("pin_pad", "type", digits="123456")
        assert (await page.end(number))["header"]["completionCode"] == "success"

        await page.ask("Lights.SetLight", {"place": "card_reader", "mode": "on"})
        await wait_for(lambda: tester.core("io_board").lights[1], what="the light")


@pytest.mark.timeout(30)
async def test_paper_that_runs_out_changes_what_patients_can_do(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (tester, page, agent):

        def states() -> dict[str, str]:
            return {status.function: status.state.value for status in agent.view.state().functions}

        await wait_for(lambda: set(states().values()) == {"available"}, what="all functions", timeout_s=15)
        await tester.do("receipt_printer", "paper_out")
        told = await page.until(
            lambda message: (
                message["header"]["name"] == "Common.FunctionsChanged"
                and any(one["state"] == "lost" for one in message["payload"]["functions"])
            )
        )
        lost = {one["function"] for one in told["payload"]["functions"] if one["state"] == "lost"}
        assert lost == {"pay_by_card", "inpatient_deposit", "print_receipt", "print_ticket"}
        assert states()["pay"] == "degraded"
        assert states()["print_report"] == "available"
        await tester.do("io_board", "set_input", input="output_full", on=True)
        await wait_for(lambda: states()["print_report"] == "lost", what="a full tray")
        await tester.do("io_board", "set_input", input="output_full", on=False)
        await tester.do("receipt_printer", "refill")
        await wait_for(lambda: set(states().values()) == {"available"}, what="functions after the refill")
        done = await page.ask("Printer.Print", {"key": "visit-2", "kind": "receipt", "receipt": RECEIPT})
        assert done["payload"]["job"]["state"] == "printed"

        def left_mm() -> float:
            papers = [one for one in agent.view.state().consumables if one.component == "receipt_printer"]
            return papers[0].remaining or 0.0

        await wait_for(lambda: 100_000.0 < left_mm() < 150_000.0, what="paper that was counted")
