"""A message carries a link by which its receiver acknowledges: once, without signing in, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from fleet_server.errors import Refusal
from fleet_server.paging.links import AckDesk
from fleet_server.staff.audit import AuditTrail
from fleet_server.staff.store import AuditStore
from kit.supervise import TaskGroup, spawn
from support.paging_desk import Desk


def taking(desk: Desk) -> AckDesk:
    """Give the desk behind the links."""
    auditor = AuditTrail(AuditStore(desk.database), desk.clock)
    return AckDesk(desk.store, desk.incidents, desk.open_names, auditor, desk.clock)


async def told(desk: Desk) -> str:
    """The token of the newest message."""
    await desk.alarm()
    await desk.works()
    address = str(desk.heard[-1]["acknowledge"])
    assert address.startswith("https://fleet.test/ack#")
    return address.partition("#")[2]


async def test_looking_changes_nothing_and_pressing_ends_the_calling(desk: Desk) -> None:
    token, acks = await told(desk), taking(desk)
    for _ in range(3):
        seen = await acks.look(token)
    assert (seen.name, seen.title_zh, seen.is_used, seen.acknowledged_by) == ("INC-000001", "缺纸", False, None)
    done = await acks.acknowledge(token, "10.0.0.9")
    assert (done.acknowledged_by, done.is_used) == ("link:duty", True)
    for _ in range(3):
        await desk.works(600)
    assert desk.told == 1
    rows = await AuditStore(desk.database).rows(after_no=0, limit=10)
    assert [(row.actor, row.action, row.outcome) for row in rows] == [("link:duty", "acks.acknowledge", "ok")]
    assert token not in str(rows)


async def test_a_link_is_good_once_also_for_two_presses_at_the_same_time(desk: Desk) -> None:
    token, acks, refused = await told(desk), taking(desk), []

    async def press() -> None:
        try:
            await acks.acknowledge(token, "")
        except Refusal as refusal:
            refused.append(refusal.code)

    async with TaskGroup() as group:
        for _ in range(3):
            _ = spawn(group, press(), "press")
    assert refused == ["link_used", "link_used"]
    assert (await acks.look(token)).is_used


async def test_each_try_has_a_link_and_each_of_them_works(desk: Desk) -> None:
    desk.receiver.status = 503
    await desk.alarm()
    await desk.works()
    desk.receiver.status = 200
    await desk.works(5)
    token = str(desk.heard[-1]["acknowledge"]).partition("#")[2]
    assert (await taking(desk).acknowledge(token, "")).acknowledged_by == "link:duty"


async def test_a_link_ends_after_a_day(desk: Desk) -> None:
    token = await told(desk)
    desk.clock.advance(24 * 3600)
    for call in (taking(desk).look(token), taking(desk).acknowledge(token, "")):
        with pytest.raises(Refusal, match="no such link"):
            await call


async def test_what_is_over_cannot_be_acknowledged(desk: Desk) -> None:
    token = await told(desk)
    await desk.alarm(up=False)
    await desk.works(3600)
    assert (await taking(desk).look(token)).is_over
    with pytest.raises(Refusal, match="over already"):
        await taking(desk).acknowledge(token, "")


@pytest.mark.parametrize("token", ["", "x", "A" * 32])
async def test_a_token_nobody_was_given_opens_nothing(desk: Desk, token: str) -> None:
    await told(desk)
    with pytest.raises(Refusal, match="no such link"):
        await taking(desk).acknowledge(token, "")
    assert (await desk.incident()).acknowledged_at is None


async def test_no_token_is_kept(desk: Desk) -> None:
    token = await told(desk)
    rows = await asyncio.to_thread(str, await desk.store.deliveries(None, 10))
    assert token not in rows
    assert isinstance((await desk.incident()).since, datetime)
