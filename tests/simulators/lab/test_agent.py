"""A whole agent with the demonstration's profile on the devices of a lab."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from support.lab_agent import page_at_work
from support.pdf import pdf
from support.waiting import wait_for

RECEIPT = {"elements": [{"type": "text", "text": "挂号凭条"}, {"type": "pair", "label": "姓名", "value": "赵样例"}]}


@pytest.mark.timeout(30)
async def test_every_device_of_the_demonstration_works(tmp_path: Path) -> None:
    async with page_at_work(tmp_path) as (tester, page, agent):
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
    async with page_at_work(tmp_path) as (tester, page, agent):

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
