"""Alarms over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet_server.app import openapi_document
from fleet_server.settings import Settings
from fleet_server.staff.permissions import Role
from kit.clock import ManualClock
from support.staff_site import StaffSite, staff_site
from wire.faults import FACTS, Fault


@pytest.fixture
async def staff(fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    """Serve the API, once on each store, with somebody who may look."""
    async with staff_site(fleet_url, manual_clock, tmp_path) as site:
        await site.adds("viewer", Role.VIEWER)
        yield site


async def test_open_alarms_and_all_of_them(staff: StaffSite) -> None:
    session = await staff.session("viewer")
    alerts, fault = staff.server.core.alerts, next(iter(Fault))
    for number in range(3):
        await alerts.raise_alarm(f"k-{number:04d}", "host", fault, {"n": number})
        staff.clock.advance(1)
    await alerts.clear_alarm("k-0001", "host", fault)
    found = (await staff.call("GET", "/api/v1/alarms", session=session)).document
    assert [item["id"] for item in found["items"]] == [f"k-0002/host/{fault}", f"k-0000/host/{fault}"]
    assert found["items"][0]["title_zh"] == FACTS[fault].zh
    assert (found["items"][0]["is_open"], found["items"][0]["cleared_at"]) == (True, None)
    everything = (await staff.call("GET", "/api/v1/alarms?state=all&limit=1", session=session)).document
    assert (len(everything["items"]), everything["total"]) == (1, 3)
    one = (await staff.call("GET", "/api/v1/alarms?state=all&kid=k-0001", session=session)).document
    assert [(item["kid"], item["is_open"]) for item in one["items"]] == [("k-0001", False)]


@pytest.mark.parametrize("query", ["state=closed", "limit=0", "limit=1001", "x=1", "kid=" + "k" * 41])
async def test_questions_nobody_can_answer(staff: StaffSite, query: str) -> None:
    session = await staff.session("viewer")
    assert (await staff.call("GET", f"/api/v1/alarms?{query}", session=session)).status == 422


async def test_the_catalogue_has_every_code_in_both_languages(staff: StaffSite) -> None:
    session = await staff.session("viewer")
    found = (await staff.call("GET", "/api/v1/alarms/catalogue", session=session)).document
    assert {item["code"] for item in found["items"]} == {fault.value for fault in Fault}
    paper = next(item for item in found["items"] if item["code"] == "paper_out")
    assert (paper["title_zh"], paper["effect"], paper["self_test"]) == ("缺纸", "function_lost", "printer")
    assert all(item["title_en"] and item["remedy_zh"] for item in found["items"])


def test_the_document_names_the_id() -> None:
    view = openapi_document(Settings(), ManualClock())["components"]["schemas"]["AlarmView"]
    assert "id" in view["required"]
