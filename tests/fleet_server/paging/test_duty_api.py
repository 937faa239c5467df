"""The roster over HTTP and with `kioskctl duty`: set, stand in, hand over, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fleet_server.staff.permissions import Role
from kit.clock import ManualClock
from support.shell import Shell
from support.staff_site import StaffSite, staff_site

ROSTER = """
first_week = 2026-01-05
[members]
wang = ["sms"]
li = ["sms", "wecom"]
[[shifts]]
days = [1, 2, 3, 4, 5, 6, 7]
begins = 00:00:00
ends = 00:00:00
rota = ["wang"]
"""
DOCUMENT = {
    "first_week": "2026-01-05",
    "members": {"wang": ["sms"], "li": ["sms", "wecom"]},
    "shifts": [{"days": [1, 2, 3, 4, 5, 6, 7], "begins": "00:00", "ends": "00:00", "rota": ["wang"]}],
}


@pytest.fixture
async def desk_site(fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    target = {"kind": "webhook", "url_file": tmp_path / "url"}
    paging = {
        "targets": {"sms": target, "wecom": target},
        "ladders": {"major": {"steps": [{"targets": ["on_duty:onsite"]}, {"after_s": 60, "targets": ["sms"]}]}},
    }
    async with staff_site(fleet_url, manual_clock, tmp_path, settings={"paging": paging}) as site:
        for name, role in (("lead", Role.LEAD), ("wang", Role.ENGINEER), ("li", Role.ENGINEER)):
            await site.adds(name, role)
        yield site


async def ask(site: StaffSite, who: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    answer = await site.call(method, f"/api/v1/duty{path}", body=body, session=await site.session(who))
    return answer.status, answer.document


async def test_a_line_from_its_roster_to_a_confirmed_hand_over(desk_site: StaffSite) -> None:
    status, lines = await ask(desk_site, "li", "GET", "")
    assert (status, [one["kind"] for one in lines["items"][0]["warnings"]]) == (200, ["no_roster"])
    assert await status_of(desk_site, "lead", "PUT", "/onsite", {"version": 0, "roster": DOCUMENT}) == (200, None)
    _, lines = await ask(desk_site, "li", "GET", "")
    assert lines["items"][0]["people"] == [{"name": "wang", "targets": ["sms"]}]
    status, offered = await ask(
        desk_site, "wang", "POST", "/onsite/handovers", {"takes": "li", "note": "toner at 027 is on its way"}
    )
    assert status == 201
    confirm = f"/handovers/{offered['id']}/confirm"
    assert await status_of(desk_site, "wang", "POST", confirm, {}) == (403, "not_yours")
    assert await status_of(desk_site, "li", "POST", confirm, {}) == (200, None)
    assert await status_of(desk_site, "li", "POST", confirm, {}) == (409, "handover_confirmed")
    desk_site.clock.advance(1)
    _, lines = await ask(desk_site, "li", "GET", "")
    assert [one["name"] for one in lines["items"][0]["people"]] == ["li"]
    _, line = await ask(desk_site, "li", "GET", "/onsite?days=10")
    assert [span["names"] for span in line["spans"]] == [["li"], ["wang"]]  # the shift goes on after a week at most
    assert line["handovers"][0]["note"] == "toner at 027 is on its way"


async def status_of(site: StaffSite, who: str, method: str, path: str, body: object) -> tuple[int, str | None]:
    status, document = await ask(site, who, method, path, body)
    return status, document.get("code") if isinstance(document, dict) else None


async def test_two_leads_cannot_overwrite_each_other(desk_site: StaffSite) -> None:
    assert await status_of(desk_site, "lead", "PUT", "/onsite", {"version": 0, "roster": DOCUMENT}) == (200, None)
    for version in (0, 2):
        body = {"version": version, "roster": DOCUMENT}
        assert await status_of(desk_site, "lead", "PUT", "/onsite", body) == (409, "roster_changed")
    assert await status_of(desk_site, "lead", "PUT", "/onsite", {"version": 1, "roster": DOCUMENT}) == (200, None)


async def test_what_makes_no_sense_changes_nothing(desk_site: StaffSite) -> None:
    now = desk_site.clock.utc()
    later, past = (now + timedelta(hours=1)).isoformat(), (now - timedelta(hours=1)).isoformat()
    swap = {"starts_at": now.isoformat(), "ends_at": later, "stands_in": "li", "replaces": "wang"}
    assert await status_of(desk_site, "lead", "POST", "/onsite/swaps", swap) == (404, "no_roster")
    strange = {**DOCUMENT, "members": {**DOCUMENT["members"], "li": ["pigeon"]}}  # type: ignore[dict-item] # JSON
    body = {"version": 0, "roster": strange}
    assert await status_of(desk_site, "lead", "PUT", "/onsite", body) == (422, "unknown_target")
    assert await status_of(desk_site, "lead", "PUT", "/third", {"version": 0, "roster": DOCUMENT}) == (
        422,
        "invalid_request",
    )
    await ask(desk_site, "lead", "PUT", "/onsite", {"version": 0, "roster": DOCUMENT})
    for changed, code in (
        ({"ends_at": past}, (422, "swap_out_of_range")),
        ({"ends_at": (now + timedelta(days=63)).isoformat()}, (422, "swap_out_of_range")),
        ({"stands_in": "nobody"}, (422, "no_member")),
        ({"replaces": "nobody"}, (422, "no_member")),
        ({"starts_at": "2026-01-05T08:00:00"}, (422, "invalid_request")),
    ):
        assert await status_of(desk_site, "lead", "POST", "/onsite/swaps", {**swap, **changed}) == code
    offer = {"takes": "li", "note": "nothing"}
    assert await status_of(desk_site, "li", "POST", "/onsite/handovers", {**offer, "takes": "li"}) == (
        422,
        "same_person",
    )
    assert await status_of(desk_site, "lead", "POST", "/onsite/handovers", offer) == (409, "not_on_duty")
    assert await status_of(desk_site, "wang", "POST", "/onsite/handovers", {**offer, "note": ""}) == (
        422,
        "invalid_request",
    )
    assert await status_of(desk_site, "li", "POST", "/handovers/none/confirm", {}) == (404, "unknown_handover")
    _, line = await ask(desk_site, "li", "GET", "/onsite")
    assert (line["version"], line["swaps"], line["handovers"]) == (1, [], [])


async def test_a_swap_ends_early(desk_site: StaffSite) -> None:
    await ask(desk_site, "lead", "PUT", "/onsite", {"version": 0, "roster": DOCUMENT})
    now = desk_site.clock.utc()
    swap = {
        "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(hours=8)).isoformat(),
        "stands_in": "li",
        "replaces": "wang",
    }
    status, made = await ask(desk_site, "lead", "POST", "/onsite/swaps", swap)
    assert (status, await on_duty(desk_site)) == (201, ["li"])
    desk_site.clock.advance(60)
    assert await status_of(desk_site, "lead", "POST", f"/swaps/{made['id']}/end", {}) == (200, None)
    assert await on_duty(desk_site) == ["wang"]
    assert await status_of(desk_site, "lead", "POST", f"/swaps/{made['id']}/end", {}) == (404, "unknown_swap")


async def on_duty(site: StaffSite) -> list[str]:
    _, lines = await ask(site, "li", "GET", "")
    return [one["name"] for one in lines["items"][0]["people"]]


async def test_the_command_line(tmp_path: Path, desk_site: StaffSite) -> None:
    file = tmp_path / "roster.toml"
    await asyncio.to_thread(file.write_text, ROSTER)
    lead, wang, li = (Shell(desk_site, tmp_path / name / "kioskctl.toml") for name in ("lead", "wang", "li"))
    for shell, name in ((lead, "lead"), (wang, "wang"), (li, "li")):
        assert (await shell.signs_in(name)).exit_code == 0
    assert "没有轮值表" in (await lead.run("duty", "now")).err
    assert (await lead.run("duty", "set", "onsite", str(tmp_path / "none.toml"))).exit_code == 1
    set_now = await lead.run("duty", "set", "onsite", str(file))
    assert (set_now.exit_code, "已启用第 1 版" in set_now.out) == (0, True)
    assert "wang" in (await lead.run("duty", "now")).out
    offered = await wang.run("duty", "handover", "onsite", "--to", "li", "--note", "021 waits for paper", "--json")
    assert (await wang.run("duty", "handover", "onsite")).exit_code == 2
    taken = await li.run("duty", "handover", "--confirm", offered.document["id"])
    assert "021 waits for paper" in taken.out
    shown = await li.run("duty", "show", "onsite")
    assert "周一二三四五六日 00:00-00:00: wang" in shown.out
    assert "已确认" in shown.out
    swapped = await lead.run(
        "duty", "swap", "onsite", "wang", "--from", "2030-01-01T08:00", "--to", "2030-01-01T20:00", "--json"
    )
    assert swapped.document["replaces"] is None
    assert (await lead.run("duty", "end-swap", swapped.document["id"])).exit_code == 0
    assert (await li.run("duty", "swap", "onsite", "li", "--from", "soon", "--to", "later")).exit_code == 2
