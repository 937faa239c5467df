"""Incidents become orders once, and evidence moves them on, on both stores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet_server.incidents.model import EventKind
from fleet_server.orders import progress
from fleet_server.orders.duty import OrderDuty
from fleet_server.orders.model import FaultStatus, NewsKind, OrderKind, OrderState
from fleet_server.orders.store import StaleFeed
from support.order_desk import Desk


async def test_an_incident_becomes_one_order_however_often_it_is_read(desk: Desk) -> None:
    desk.incidents.open("i1", desk.later(0))
    desk.evidence.raised(desk.later(0))
    desk.incidents.open("i2", desk.later(1), code="paper_low")  # needs no order
    first = await desk.turn(60)
    second = await desk.turn(120)
    assert [order.number for order in second] == ["WO-2026-000001"]
    assert (first[0].state, first[0].since) == (OrderState.NEW, desk.later(0))
    again = OrderDuty(desk.store, desk.incidents, desk.evidence, desk.clock)
    assert not await again.follow()


async def test_a_second_leader_that_read_the_same_page_writes_nothing(desk: Desk) -> None:
    desk.incidents.open("i1", desk.later(0))
    await desk.turn(10)

    async def behind() -> None:
        async with desk.store.writing(desk.clock.utc()) as writing:
            await writing.number(2026)
            await writing.move(0, 1)

    with pytest.raises(StaleFeed):
        await behind()
    desk.incidents.open("i3", desk.later(20), code="paper_jam")
    assert [order.number for order in await desk.turn(30)] == ["WO-2026-000001", "WO-2026-000002"]


async def test_from_acknowledged_to_closed_by_the_kiosks_own_word(desk: Desk) -> None:
    desk.incidents.open("i1", desk.later(0))
    desk.evidence.raised(desk.later(0))
    desk.incidents.say("i1", EventKind.ACKNOWLEDGED, desk.later(300), "li")
    (order,) = await desk.turn(400)
    assert (order.state, order.response and order.response.by) == (OrderState.RESPONDED, "li")
    assert progress.response_s(order, desk.later(9_000)) == 300
    desk.evidence.cleared(desk.later(1_000))
    (order,) = await desk.turn(1_100)
    assert order.state is OrderState.RESPONDED  # the alarm is gone, but nobody tested
    desk.evidence.tested(desk.later(1_200))
    (order,) = await desk.turn(5_000)  # the record came late: the clock stopped when it happened
    assert order.state is OrderState.VERIFIED
    assert progress.repair_s(order, desk.later(9_000)) == 1_200
    desk.evidence.used = 3
    (order,) = await desk.turn(5_100)
    assert order.state is OrderState.CLOSED
    kinds = [line.news.kind for line in await desk.store.lines(order.id)]
    assert kinds == [NewsKind.OPENED, NewsKind.RESPONDED, NewsKind.PROVED, NewsKind.CLOSED]


async def test_a_relapse_on_probation_opens_the_same_order_again(desk: Desk) -> None:
    desk.incidents.open("i1", desk.later(0))
    desk.evidence.raised(desk.later(0))
    desk.evidence.cleared(desk.later(500))
    desk.evidence.tested(desk.later(600))
    await desk.turn(700)
    desk.evidence.raised(desk.later(800))
    (order,) = await desk.turn(900)
    assert (order.state, order.relapses, order.repair) == (OrderState.RESPONDED, 1, None)
    desk.evidence.cleared(desk.later(1_000))
    (order,) = await desk.turn(1_100)
    assert order.state is OrderState.RESPONDED  # the test of before the relapse proves nothing
    desk.evidence.tested(desk.later(1_200))
    (order,) = await desk.turn(1_300)
    assert progress.repair_s(order, desk.later(9_000)) == 1_200


async def test_a_new_incident_within_a_day_is_the_same_order(desk: Desk) -> None:
    desk.incidents.open("i1", desk.later(0))
    desk.evidence.raised(desk.later(0))
    desk.evidence.cleared(desk.later(500))
    desk.evidence.tested(desk.later(600))
    desk.evidence.used = 3
    (order,) = await desk.turn(700)
    (order,) = await desk.turn(800)
    assert order.state is OrderState.CLOSED
    desk.evidence.raised(desk.later(40_000))
    desk.incidents.open("i2", desk.later(40_000))
    (order,) = await desk.turn(40_010)
    assert (order.state, order.incident, order.relapses) == (OrderState.RESPONDED, "i2", 1)
    assert progress.repair_s(order, desk.later(50_000)) == 50_000


async def test_late_evidence_dates_the_order_back_and_forecasts_are_told_once(desk: Desk) -> None:
    desk.incidents.open("i1", desk.later(0))
    desk.evidence.raised(desk.later(0))
    await desk.turn(10)
    desk.incidents.known["i1"] = replace(desk.incidents.known["i1"], since=desk.later(-7_200))
    (order,) = await desk.turn(20)
    assert order.since == desk.later(-7_200)
    await desk.turn(30)
    told = [line.news for line in await desk.store.lines(order.id) if line.news.kind is NewsKind.FORECAST]
    assert [(news.fields["clock"], news.fields["percent"]) for news in told] == [("response", 50), ("repair", 50)]
    assert [line.seq for line in await desk.store.lines_after(0, 10)] == [1, 2, 3, 4]


async def test_a_power_cut_is_over_when_the_last_kiosk_says_so(desk: Desk) -> None:
    desk.incidents.open("i1", desk.later(0), code="kiosk_offline", component="kiosk")
    first = desk.incidents.members_of["i1"][0]
    desk.incidents.members_of["i1"] += [replace(first, kid=f"zzj-{number:03d}") for number in range(2, 101)]
    for number in range(1, 101):
        key = f"zzj-{number:03d}", "kiosk", "kiosk_offline"
        desk.evidence.statuses[key] = FaultStatus(number == 57, desk.later(0), desk.later(number))
    (order,) = await desk.turn(600)
    assert order.state is OrderState.NEW
    assert len(await desk.store.targets(order.id)) == 100
    stuck = "zzj-057", "kiosk", "kiosk_offline"
    desk.evidence.statuses[stuck] = FaultStatus(is_open=False, last_raised_at=desk.later(0), cleared_at=desk.later(900))
    (order,) = await desk.turn(1_000)
    assert (order.state, progress.repair_s(order, desk.later(9_000))) == (OrderState.VERIFIED, 900)


async def test_a_call_for_help_is_over_when_somebody_came_and_the_next_one_is_another(desk: Desk) -> None:
    desk.incidents.open("h1", desk.later(0), code="help_requested")
    desk.evidence.raised(desk.later(0), "help_requested")
    (order,) = await desk.turn(10)
    assert (order.kind, order.state) == (OrderKind.HELP, OrderState.NEW)
    desk.evidence.cleared(desk.later(300), "help_requested")
    (order,) = await desk.turn(310)
    assert progress.repair_s(order, desk.later(9_000)) == 300
    (order,) = await desk.turn(320)
    assert order.state is OrderState.CLOSED  # nothing was broken, so there is no probation
    desk.incidents.open("h2", desk.later(600), code="help_requested")
    desk.evidence.raised(desk.later(600), "help_requested")
    assert [one.state for one in await desk.turn(610)] == [OrderState.CLOSED, OrderState.NEW]
