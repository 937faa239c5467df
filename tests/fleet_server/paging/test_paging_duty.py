"""Paging on a real store to a real receiver on loopback: told once, whoever dies, and until somebody acknowledges."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.incidents.model import EventKind
from fleet_server.incidents.service import OPEN_STATES
from fleet_server.paging.model import DeliveryState
from fleet_server.paging.rules import taken
from fleet_server.paging.ways import Apprise, PagingFailed, trial_page
from fleet_server.settings import PagingTarget
from fleet_server.staff.permissions import Role
from kit.clock import ManualClock
from kit.store import LeaseLost
from kit.supervise import TaskGroup, spawn
from support.paging_desk import Desk
from support.shell import Shell
from support.staff_site import staff_site


async def test_paper_runs_out_and_the_engineer_is_told_once_and_then_the_second_line(desk: Desk) -> None:
    await desk.alarm()
    await desk.works()
    await desk.works(1)
    ((key, page),) = desk.receiver.heard
    assert desk.receiver.signatures == [True]
    assert (page["id"], page["incident"], page["where"]) == (key, "INC-000001", "kiosk-1/printer")
    assert page["title"] == {"zh-CN": "缺纸", "en": "Out of paper"}
    assert str(page["link"]).startswith("https://fleet.test/incidents/")
    await desk.works(298)
    assert desk.told == 1
    await desk.works(1)
    assert desk.told == 2
    states = {one.target: one.state for one in await desk.store.deliveries(None, 10)}
    assert states == {"duty": DeliveryState.HANDED_OVER, "second": DeliveryState.HANDED_OVER}


async def test_nobody_is_told_after_somebody_acknowledged(desk: Desk) -> None:
    await desk.alarm()
    await desk.works()
    (incident,) = await desk.incidents.incidents(OPEN_STATES, limit=10)
    await desk.incidents.acknowledge(incident.id, "wang")
    for _ in range(5):
        await desk.works(600)
    assert desk.told == 1


async def test_what_recovered_by_itself_is_not_repeated(desk: Desk) -> None:
    await desk.alarm()
    await desk.works()
    await desk.alarm(up=False)
    await desk.works(400)
    await desk.works(600)
    assert desk.told == 1


async def test_until_somebody_acknowledges_it_is_repeated(desk: Desk) -> None:
    await desk.alarm()
    await desk.works()
    for _ in range(30):
        await desk.works(60)
    assert desk.told == 1 + 1 + 2 * 2  # the ladder, then everybody after 15 and 25 minutes


async def test_a_channel_that_is_down_gets_it_when_it_is_back(desk: Desk) -> None:
    desk.receiver.status = 503
    await desk.alarm()
    await desk.works()
    assert desk.told == 0
    (one,) = await desk.store.deliveries(None, 10)
    assert (one.state, one.attempts, one.note) == (DeliveryState.DUE, 1, "HTTP 503")
    desk.receiver.status = 200
    await desk.works(1)
    assert desk.told == 0
    await desk.works(4)
    assert [key for key, _ in desk.receiver.heard] == [one.id]


async def test_who_could_never_be_told_is_a_line_of_the_incident(desk: Desk) -> None:
    desk.receiver.status = 500
    await desk.alarm()
    await desk.works()
    for wait_s in (5, 15, 60, 300, 900):
        await desk.works(wait_s)
    (incident,) = await desk.incidents.incidents(OPEN_STATES, limit=10)
    notes = [event for event in await desk.incidents.timeline(incident.id) if event.kind is EventKind.NOTED]
    assert "未能通知 duty" in str(notes[0].fields["note"])
    assert "127.0.0.1" not in str(notes)


async def test_a_process_that_died_while_sending_is_followed_up_with_the_same_id(desk: Desk) -> None:
    desk.receiver.status = 500
    await desk.alarm()
    await desk.works()
    (one,) = await desk.store.deliveries(None, 10)
    async with desk.database.write() as connection:  # as the one who died left it
        await desk.store.put(connection, one, taken(one, desk.clock.utc()))
    desk.receiver.status = 200
    desk.duty = desk.fresh_duty()
    await desk.works(59)
    assert desk.told == 0
    await desk.works(1)
    assert [key for key, _ in desk.receiver.heard] == [one.id]


async def test_two_servers_at_once_tell_once(desk: Desk) -> None:
    await desk.alarm()
    await desk.correlate.turn()
    other = desk.fresh_duty()
    desk.started.append(other)
    for _ in range(4):
        async with TaskGroup() as group:
            for one in (desk.duty, other):
                _ = spawn(group, one.turn(), "turn")
    assert desk.told == 1


async def test_who_leads_no_more_tells_nobody(desk: Desk) -> None:
    async def lost(_connection: AsyncConnection) -> None:
        raise LeaseLost("duties")

    await desk.alarm()
    await desk.correlate.turn()
    late = desk.fresh_duty(lost)
    with pytest.raises(LeaseLost):
        await late.turn()
    await late.close()
    assert desk.told == 0
    await desk.works()
    assert desk.told == 1


async def test_apprise_hands_over_and_says_when_not(desk: Desk, tmp_path: Path) -> None:
    url = tmp_path / "apprise"
    port = desk.receiver.port
    await asyncio.to_thread(url.write_text, f"json://127.0.0.1:{port}/page")
    channel = Apprise(PagingTarget(kind="apprise", url_file=url))
    with pytest.raises(PagingFailed):  # our receiver wants an Idempotency-Key: it fails, and that is said
        await channel.send(trial_page("T1", desk.clock))
    for text in ("nothing", "json://127.0.0.1:1/page"):
        await asyncio.to_thread(url.write_text, text)
        with pytest.raises(PagingFailed):
            await channel.send(trial_page("T1", desk.clock))


async def test_the_command_line_shows_and_tests(
    sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    async with staff_site(sqlite_fleet_url, manual_clock, tmp_path) as site:
        await site.adds("lead", Role.LEAD)
        shell = Shell(site, tmp_path / "config" / "kioskctl.toml")
        assert (await shell.signs_in("lead")).exit_code == 0
        assert (await shell.run("pages", "ls", "--json")).document == []
        assert (await shell.run("pages", "test", "nobody")).exit_code == 3
