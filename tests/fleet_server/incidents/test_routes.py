"""Incidents over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.duty import IncidentDuty
from fleet_server.incidents.store import IncidentStore
from fleet_server.staff.permissions import Role
from kit.clock import ManualClock, SystemClock
from kit.store import Database
from support.incident_world import Grid
from support.shell import Shell
from support.staff_site import StaffSite, staff_site
from wire.faults import Fault, Severity
from wire.uplink import Edge


@pytest.fixture
async def staff(sqlite_fleet_url: str, sqlite_fleet_db: Database, tmp_path: Path) -> AsyncIterator[StaffSite]:
    """Serve the staff API with one incident, an engineer, a lead and one who may look."""
    clock = ManualClock(SystemClock().utc())
    async with staff_site(sqlite_fleet_url, clock, tmp_path) as site:
        for name, role in (("worker", Role.ENGINEER), ("lead", Role.LEAD), ("viewer", Role.VIEWER)):
            await site.adds(name, role)
        alarms, now = AlarmStore(sqlite_fleet_db), clock.utc()
        edge = AlarmEdge(
            "kiosk-1", "printer", Fault.PAPER_OUT.value, Edge.RAISE, Severity.MAJOR, now, AlarmOrigin.KIOSK
        )
        await alarms.apply([edge], now)
        duty = IncidentDuty(sqlite_fleet_db, alarms, IncidentStore(sqlite_fleet_db), Grid(), clock)
        await duty.turn()
        yield site


async def test_an_engineer_takes_an_incident(staff: StaffSite) -> None:
    worker = await staff.session("worker")
    listed = await staff.call("GET", "/api/v1/incidents", session=worker)
    (row,) = listed.document["items"]
    assert (row["name"], row["title_zh"], row["scope_name"]) == ("INC-000001", "缺纸", "kiosk-1/printer")
    path = f"/api/v1/incidents/{row['id']}"
    detail = (await staff.call("GET", path, session=worker)).document
    assert (detail["runbook"], detail["spare_part"]) == ("docs/runbooks/paper.md", "paper")
    assert [member["code"] for member in detail["members"]] == ["paper_out"]
    done = await staff.call("POST", f"{path}/acknowledge", body={"note": "带纸过去"}, session=worker)
    assert (done.status, done.document["acknowledged_by"]) == (200, "worker")
    assert done.document["timeline"][-1]["fields"] == {"note": "带纸过去"}


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("notes", {}),
        ("notes", {"note": ""}),
        ("notes", {"note": "x" * 501}),
        ("notes", {"note": "a\nb"}),
        ("snooze", {"until": "2020-01-01T00:00:00Z"}),
        ("snooze", {"until": "2026-01-01T00:00:00"}),
        ("acknowledge", {"note": "x", "by": "somebody"}),
    ],
)
async def test_bad_input_changes_nothing(staff: StaffSite, act: str, body: dict[str, str]) -> None:
    worker = await staff.session("worker")
    (row,) = (await staff.call("GET", "/api/v1/incidents", session=worker)).document["items"]
    answer = await staff.call("POST", f"/api/v1/incidents/{row['id']}/{act}", body=body, session=worker)
    assert answer.status == 422
    (after,) = (await staff.call("GET", "/api/v1/incidents", session=worker)).document["items"]
    assert after == row


async def test_planned_work_is_for_the_lead(staff: StaffSite) -> None:
    now = staff.clock.utc()
    body = {
        "scope": "area", "scope_name": "area-0", "reason": "换线",
        "starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    refused = await staff.call("POST", "/api/v1/windows", body=body, session=await staff.session("worker"))
    assert refused.status == 403
    lead = await staff.session("lead")
    made = await staff.call("POST", "/api/v1/windows", body=body, session=lead)
    assert (made.status, made.document["created_by"]) == (201, "lead")
    listed = await staff.call("GET", "/api/v1/windows", session=await staff.session("viewer"))
    assert [row["id"] for row in listed.document["items"]] == [made.document["id"]]


async def test_the_command_line(staff: StaffSite, tmp_path: Path) -> None:
    shell = Shell(staff, tmp_path / "config" / "kioskctl.toml")
    assert (await shell.signs_in("lead")).exit_code == 0
    assert "INC-000001" in (await shell.run("incidents", "ls")).out
    shown = await shell.run("incidents", "show", "INC-1")
    assert all(word in shown.out for word in ("缺纸", "docs/runbooks/paper.md", "kiosk-1"))
    assert "已受理" in (await shell.run("incidents", "ack", "INC-000001", "--note", "带纸")).out
    assert (await shell.run("incidents", "snooze", "1", "--hours", "2")).exit_code == 0
    (row,) = (await shell.run("incidents", "ls", "--json")).document
    assert (row["state"], row["acknowledged_by"]) == ("acknowledged", "lead")
    assert (await shell.run("incidents", "show", "INC-9")).exit_code == 3
    made = (await shell.run("windows", "add", "site", "--reason", "停电检修", "--json")).document
    assert made["id"] in (await shell.run("windows", "ls")).out
    assert (await shell.run("windows", "end", made["id"])).exit_code == 0
    assert (await shell.run("windows", "ls", "--json")).document == []
