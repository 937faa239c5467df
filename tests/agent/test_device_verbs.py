"""A page reads, scans and prints: the whole agent, its WebSocket, and simulated devices on real lines."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulators.devices.id_card_reader import ReaderFault, SimulatedCard
from simulators.devices.receipt_printer import PrinterFault
from simulators.people import People
from support.device_page import Page
from support.pdf import pdf
from support.simulated_kiosk import DEVICES, QUICK, Kiosk, running
from support.waiting import wait_for

RECEIPT = {"elements": [{"type": "text", "text": "挂号凭条"}, {"type": "pair", "label": "姓名", "value": "赵样例"}]}


@pytest.fixture
def kiosk() -> Kiosk:
    return Kiosk()


@pytest.fixture
async def page(tmp_path: Path, kiosk: Kiosk) -> AsyncIterator[Page]:
    async with running(tmp_path, kiosk) as opened:
        yield opened


async def test_status_names_every_device(page: Page) -> None:
    answer = await page.ask("Common.Status")
    devices = {one["component"]: one for one in answer["payload"]["devices"]}
    assert list(devices) == list(DEVICES)
    assert devices["id_reader"]["device"] == "online"
    assert devices["id_reader"]["serial"] == "05.01-20151239-0123456789-42"


async def test_a_document_is_read(page: Page, kiosk: Kiosk) -> None:
    person = People(7).person()
    number = await page.send("IdCardReader.Read", {"photo": True})
    kiosk.reader.put(SimulatedCard(person))
    answer = await page.end(number)
    assert answer["header"]["completionCode"] == "success"
    read = answer["payload"]
    assert (read["name"], read["number"], read["number_is_valid"]) == (person.name, person.number, True)
    assert base64.b64decode(read["photo"]).startswith(b"WLf")


async def test_nobody_comes(page: Page) -> None:
    answer = await page.end(await page.send("IdCardReader.Read", timeout_ms=100))
    assert answer["header"]["completionCode"] == "timeOut"


async def test_the_first_medium_wins(page: Page, kiosk: Kiosk) -> None:
    number = await page.send("Media.ReadFirst", {"cards": []})
    await wait_for(lambda: kiosk.scanner.is_lit, what="the scanner's light")
    kiosk.scanner.show("131234567890123456")
    first = (await page.end(number))["payload"]["first"]
    assert (first["medium"], first["text"], first["component"]) == ("code", "131234567890123456", "scanner")
    await wait_for(lambda: kiosk.is_ready(*QUICK), what="readers that rest")
    again = await page.send("Media.ReadFirst", {"cards": []})
    kiosk.reader.put(SimulatedCard(People(8).person()))
    assert (await page.end(again))["payload"]["first"]["medium"] == "id_card"
    await wait_for(lambda: not kiosk.scanner.is_lit, what="a dark scanner")


async def test_a_reader_in_trouble_does_not_stop_the_others(page: Page, kiosk: Kiosk) -> None:
    kiosk.reader.script(ReaderFault.STATUS, value=0x41, after=1, times=30)
    kiosk.reader.put(SimulatedCard(People(9).person()))
    number = await page.send("Media.ReadFirst", {"cards": []})
    trouble = await page.until(lambda said: said["header"]["name"] == "Media.ReaderTrouble")
    assert trouble["payload"]["component"] == "id_reader"
    await wait_for(lambda: kiosk.scanner.is_lit, what="the scanner's light")
    kiosk.scanner.show("131234567890123456")
    assert (await page.end(number))["payload"]["first"]["medium"] == "code"


async def test_a_cancelled_reader_goes_dark(page: Page, kiosk: Kiosk) -> None:
    number = await page.send("BarcodeReader.Read", {"expect": ["wechat_pay"]})
    await wait_for(lambda: kiosk.scanner.is_lit, what="the scanner's light")
    await page.send("Common.Cancel", {"requestIds": [number]})
    assert (await page.end(number))["header"]["completionCode"] == "canceled"
    await wait_for(lambda: not kiosk.scanner.is_lit, what="a dark scanner")


async def test_two_commands_for_one_reader_at_once(page: Page, kiosk: Kiosk) -> None:
    first = await page.send("IdCardReader.Read")
    second = await page.ask("IdCardReader.Read")
    assert (second["header"]["completionCode"], second["payload"]["errorCode"]) == ("deviceNotReady", "device_busy")
    kiosk.reader.put(SimulatedCard(People(3).person()))
    assert (await page.end(first))["header"]["completionCode"] == "success"


def _job(said: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = said["payload"]["job"]
    return job


async def test_a_receipt_comes_out_once(page: Page, kiosk: Kiosk) -> None:
    await wait_for(kiosk.is_ready, what="the receipt printer")
    order = {"key": "visit-1", "kind": "receipt", "receipt": RECEIPT}
    done = await page.ask("Printer.Print", order)
    assert (done["header"]["completionCode"], _job(done)["state"]) == ("success", "printed")
    again = await page.ask("Printer.Print", order)
    assert _job(again)["no"] == _job(done)["no"]
    assert len(kiosk.receipts.receipts) == 1
    other = await page.ask("Printer.Print", order | {"receipt": {"elements": [{"type": "rule"}]}})
    assert other["payload"]["errorCode"] == "printRefused"
    states = [_job(said)["state"] for said in page.heard if said["header"]["name"] == "Printer.JobChangedEvent"]
    assert states == ["queued", "printing", "printed"]


async def test_no_paper_is_told_and_refilled(page: Page, kiosk: Kiosk) -> None:
    await wait_for(kiosk.is_ready, what="the receipt printer")
    kiosk.receipts.script(PrinterFault.PAPER_OUT)
    await page.until(lambda said: "paper_out" in said["payload"].get("faults", []))
    order = {"key": "visit-2", "kind": "receipt", "receipt": RECEIPT, "expires_s": 0.1}
    refused = await page.ask("Printer.Print", order)
    assert (refused["header"]["completionCode"], refused["payload"]["errorCode"]) == ("userError", "failed")
    assert (_job(refused)["fault"], _job(refused)["patient_key"]) == ("paper_out", "paper_out")
    kiosk.receipts.repair()
    await page.until(lambda said: said["payload"].get("faults") == [])
    copy = await page.ask("Printer.Reprint", {"no": _job(refused)["no"], "key": "visit-2-again"})
    assert (_job(copy)["state"], _job(copy)["copy_no"]) == ("printed", 0)


async def test_a_report_and_its_copy(page: Page, kiosk: Kiosk) -> None:
    order = {"key": "report-1", "kind": "report", "pdf": base64.b64encode(pdf(3)).decode()}
    done = await page.ask("Printer.Print", order)
    assert (done["header"]["completionCode"], _job(done)["state"]) == ("success", "printed")
    assert kiosk.reports.pages_total == 3
    copy = await page.ask("Printer.Reprint", {"no": _job(done)["no"], "key": "report-1-copy"})
    assert copy["payload"]["errorCode"] == "printRefused"


TICKET = {
    "paper": "queue_ticket", "hospital": "测试市人民医院", "patient": "赵*例", "printed_at": "10:00",
    "department": "超声科", "place": "4F", "number": "U027", "waiting": 6,
}  # fmt: skip


async def test_a_ticket_of_the_hospital_is_seen_and_printed(page: Page, kiosk: Kiosk) -> None:
    await wait_for(kiosk.is_ready, what="the receipt printer")
    seen = await page.ask("Printer.Preview", {"paper": TICKET})
    assert base64.b64decode(seen["payload"]["png"]).startswith(b"\x89PNG")
    done = await page.ask("Printer.Print", {"key": "t-1", "kind": "ticket", "paper": TICKET})
    assert _job(done)["state"] == "printed"
    assert len(kiosk.receipts.receipts) == 1


WRONG: tuple[dict[str, Any], ...] = (
    {"kind": "receipt"},
    {"kind": "report", "receipt": RECEIPT},
    {"kind": "receipt", "receipt": {"elements": [{"type": "cut"}]}},
    {"kind": "receipt", "receipt": RECEIPT, "copies": 2},
    {"kind": "ticket", "paper": TICKET, "receipt": RECEIPT},
    {"kind": "report", "paper": TICKET},
    {"kind": "report", "pdf": "%%%"},
    {"kind": "report", "pdf": "abcde"},
)


async def test_what_cannot_be_printed_is_refused(page: Page, kiosk: Kiosk) -> None:
    for wrong in WRONG:
        answer = await page.ask("Printer.Print", {"key": "k", **wrong})
        assert answer["header"]["completionCode"] == "invalidData", wrong
    assert (await page.ask("Printer.Jobs"))["payload"]["jobs"] == []
    assert kiosk.receipts.receipts == []


async def test_a_pin_block_is_told_once(page: Page, kiosk: Kiosk) -> None:
    number = await page.send("Keyboard.PinEntry", {"account": "123456789012"})
    await wait_for(lambda: kiosk.pad.is_entering, what="the pad's turn")
    kiosk.pad.press("123456E")
    answer = await page.end(number)
    assert answer["header"]["completionCode"] == "success"
    assert len(answer["payload"]["block"]) == 16


async def test_a_light_shows_the_way(page: Page, kiosk: Kiosk) -> None:
    answer = await page.ask("Lights.SetLight", {"place": "card_reader", "mode": "on"})
    assert answer["header"]["completionCode"] == "success"
    await wait_for(lambda: kiosk.board.lights[1], what="the light")
    dark = await page.ask("Lights.SetLight", {"place": "nowhere", "mode": "on"})
    assert dark["payload"]["errorCode"] == "noSuchLight"
