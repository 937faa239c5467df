"""An engineer tries simulated devices on real lines, and what the kiosk keeps of it for the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.__main__ import main
from simulators.devices.id_card_reader import SimulatedCard
from simulators.devices.receipt_printer import PrinterFault
from simulators.people import People
from support.device_page import Page
from support.simulated_kiosk import Kiosk, running
from support.waiting import wait_for


class Desk:
    """A page with maintenance open."""

    def __init__(self, page: Page, pass_word: str) -> None:
        self.page = page
        self._pass_word = pass_word

    async def ask(self, name: str, **payload: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = await self.page.ask(f"Maintenance.{name}", {"pass_word": self._pass_word, **payload})
        said: dict[str, Any] = answer["payload"]
        assert answer["header"]["completionCode"] == "success", said
        return said

    async def begin(self, name: str, **payload: Any) -> int:  # noqa: ANN401 - JSON
        return await self.page.send(f"Maintenance.{name}", {"pass_word": self._pass_word, **payload})


@pytest.fixture
def kiosk() -> Kiosk:
    return Kiosk()


@pytest.fixture
async def page(tmp_path: Path, kiosk: Kiosk) -> AsyncIterator[Page]:
    async with running(tmp_path, kiosk) as opened:
        yield opened


@pytest.fixture
async def desk(page: Page, kiosk: Kiosk) -> Desk:
    return Desk(page, (await enter(page, kiosk))["payload"]["pass_word"])


async def enter(page: Page, kiosk: Kiosk) -> dict[str, Any]:
    assert kiosk.agent is not None
    assert kiosk.agent.maintenance is not None
    maintenance = kiosk.agent.maintenance.get()
    code = await asyncio.to_thread(maintenance._around.codes.issue, kiosk.agent.clock)
    return await page.ask("Maintenance.Open", {"code": code, "engineer": "2017"})


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_devices_are_tried(desk: Desk, kiosk: Kiosk) -> None:
    number = await desk.begin("Test", component="id_reader", test="read_document")
    kiosk.reader.put(SimulatedCard(People(7).person()))
    read = (await desk.page.end(number))["payload"]
    assert (read["outcome"], read["values"]["type"]) == ("passed", "resident")
    assert [said["payload"] for said in desk.page.heard if said["header"]["name"] == "Maintenance.StepEvent"] == [
        {"say": "show_id_card"}
    ]
    inputs = await desk.ask("Test", component="io_board", test="inputs")
    assert inputs["outcome"] == "passed"
    lit = await desk.ask("Test", component="io_board", test="lights")
    assert (lit["outcome"], lit["values"]["lights"]) == ("asked", 4)
    seen = await desk.ask("Confirm", no=lit["no"], is_good=True)
    assert seen["outcome"] == "passed"


async def test_codes_and_keys(desk: Desk, kiosk: Kiosk) -> None:
    scanning = await desk.begin("Test", component="scanner", test="scan")
    await wait_for(lambda: kiosk.scanner.is_lit, what="the scanner's light")
    kiosk.scanner.show("SYNTHETIC-20170707")
    scanned = (await desk.page.end(scanning))["payload"]
    assert (scanned["outcome"], scanned["values"]["characters"]) == ("passed", 18)
    typing = await desk.begin("Test", component="pin_pad", test="keys")
    await wait_for(lambda: kiosk.pad.is_entering, what="the pad to take keys")
    kiosk.pad.press("135790E")
    typed = (await desk.page.end(typing))["payload"]
    assert (typed["outcome"], typed["values"]) == ("passed", {})


async def test_papers_are_printed(desk: Desk, kiosk: Kiosk) -> None:
    await wait_for(lambda: kiosk.is_ready("receipt_printer"), what="the receipt printer")
    receipt = await desk.ask("Test", component="receipt_printer", test="print_receipt")
    assert (receipt["outcome"], receipt["values"]["state"]) == ("asked", "printed")
    await wait_for(lambda: kiosk.is_ready("report_printer"), what="the report printer")
    page = await desk.ask("Test", component="report_printer", test="print_page")
    assert (page["outcome"], page["values"]["impressions"]) == ("asked", 1)


async def test_paper_is_changed(desk: Desk, kiosk: Kiosk) -> None:
    await wait_for(lambda: kiosk.is_ready("receipt_printer"), what="the receipt printer")
    kiosk.receipts.script(PrinterFault.PAPER_OUT)
    await desk.page.until(lambda said: "paper_out" in said["payload"].get("faults", []))
    started = await desk.ask("BeginPaper", component="receipt_printer")
    assert (started["step"], started["choices"], started["is_met"]) == ("open", ["next", "stop"], False)
    kiosk.receipts.script(PrinterFault.COVER_OPEN)
    await desk.page.until(lambda said: said["payload"].get("cover") == "open")
    assert (await desk.ask("Paper"))["is_met"] is True
    for step in ("take_out", "put_in", "close"):
        assert (await desk.ask("MovePaper", event="next"))["step"] == step
    kiosk.receipts.repair()
    looked = await desk.ask("MovePaper", event="next")
    assert (looked["step"], looked.get("why")) == ("look", None)
    assert (await desk.ask("MovePaper", event="good"))["step"] == "done"


async def test_an_engineer_and_a_patient_are_never_there_together(page: Page, kiosk: Kiosk) -> None:
    begun = (await page.ask("Session.Begin"))["payload"]
    assert (await enter(page, kiosk))["payload"] == {"errorCode": "sessionActive"}
    await page.ask("Session.End", {"lease": begun["lease"]})
    opened = (await enter(page, kiosk))["payload"]
    assert {one["component"] for one in opened["devices"]} >= {"id_reader", "receipt_printer"}
    assert (await page.ask("Session.Begin"))["payload"] == {"errorCode": "maintenance"}
    closed = (await page.ask("Maintenance.Close", {"pass_word": opened["pass_word"]}))["payload"]
    assert (closed["results"], closed["is_signed"]) == (0, False)
    assert (await page.ask("Session.Begin"))["header"]["completionCode"] == "success"


async def test_records_hold_what_was_tried_and_nothing_of_the_card(desk: Desk, kiosk: Kiosk) -> None:
    person = People(9).person()
    kiosk.reader.put(SimulatedCard(person))
    await desk.ask("Test", component="id_reader", test="read_document")
    await desk.ask("Close")
    assert kiosk.agent is not None
    kept = await asyncio.to_thread(contents, kiosk.agent.settings.data_dir)
    assert b"maintenance_close" in kept
    assert b"read_document" in kept
    assert person.number.encode() not in kept
    assert person.name.encode() not in kept


def test_the_command_makes_a_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIOSK_DATA_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "none.toml"), "maintenance", "code"])
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    assert "维护码" in shown.out
    assert (tmp_path / "maintenance-code").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("KIOSK_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "none.toml"), "maintenance", "code"])
    assert ended.value.code == 1
