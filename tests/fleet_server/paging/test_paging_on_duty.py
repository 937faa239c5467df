"""Whoever is on duty is told; a gap falls to the next step and says so; quiet hours wait; a late repair is forecast."""

from __future__ import annotations

from datetime import UTC, date, time, timedelta

import pytest
from pydantic import ValidationError

from fleet_server.incidents.model import EventKind
from fleet_server.orders.duty import OrderDuty
from fleet_server.orders.forecasts import OrderForecasts
from fleet_server.orders.store import OrderStore
from fleet_server.paging.forms import HandoverForm, RosterForm, WarningKind
from fleet_server.paging.model import DeliveryState
from fleet_server.paging.roster import Roster, Shift
from fleet_server.settings import DutyLine, PagingSettings
from support.order_desk import Evidence
from support.paging_desk import Desk

ON_DUTY = {
    "major": {
        "steps": [{"targets": ["on_duty:onsite"]}, {"after_s": 300, "targets": ["second"]}],
        "repeat_s": 600,
    }
}
WAYS = {"wang": ("sms-wang",), "li": ("sms-li", "wecom")}


def roster(*names: str, begins: time = time(8), ends: time = time(8)) -> Roster:
    """Everybody named has every day."""
    shifts = tuple(Shift(days=(1, 2, 3, 4, 5, 6, 7), begins=begins, ends=ends, rota=(name,)) for name in names)
    return Roster(first_week=date(2026, 1, 5), members=WAYS, shifts=shifts)


async def staffed(desk: Desk, found: Roster | None, **changed: object) -> None:
    """Let the ladder name the line on site, with this roster."""
    await desk.renew(desk.with_settings("sms-wang", "sms-li", "wecom", **{"ladders": ON_DUTY, **changed}))
    if found is not None:
        await desk.roster().replace(DutyLine.ONSITE, RosterForm(version=0, roster=found), "lead")


async def sent(desk: Desk) -> set[tuple[str, str | None]]:
    """Who was told by what."""
    made = await desk.store.deliveries(None, 100)
    return {(one.target, one.person) for one in made if one.state is DeliveryState.HANDED_OVER}


async def test_whoever_is_on_duty_is_told_by_every_way(desk: Desk) -> None:
    await staffed(desk, roster("li"))
    await desk.alarm()
    await desk.works()
    assert await sent(desk) == {("sms-li", "li"), ("wecom", "li")}
    await desk.works(300)
    assert ("second", None) in await sent(desk)


async def test_who_comes_on_duty_while_nobody_has_it_is_told(desk: Desk) -> None:
    await staffed(desk, roster("wang"))
    await desk.alarm()
    await desk.works()
    service = desk.roster()
    offered = await service.hand_over(DutyLine.ONSITE, HandoverForm(takes="li", note="021 is out of paper"), "wang")
    await desk.works(1)
    assert await sent(desk) == {("sms-wang", "wang")}
    await service.confirm(offered.id, "li")
    await desk.works(1)
    assert await sent(desk) == {("sms-wang", "wang"), ("sms-li", "li"), ("wecom", "li")}
    (line, _) = await service.lines(None)
    assert [one.name for one in line.people] == ["li"]


@pytest.mark.parametrize("is_there", [True, False], ids=["gap", "no roster"])
async def test_a_gap_falls_to_the_next_step_at_once_and_says_so(desk: Desk, *, is_there: bool) -> None:
    await staffed(desk, roster() if is_there else None)
    await desk.alarm()
    await desk.works()
    assert await sent(desk) == {("second", None)}
    states = {one.target: one.state for one in await desk.store.deliveries(None, 10)}
    assert states["on_duty:onsite"] is DeliveryState.NOBODY
    for _ in range(3):
        await desk.works(1)
    timeline = await desk.incidents.timeline((await desk.incident()).id)
    notes = [str(event.fields["note"]) for event in timeline if event.kind is EventKind.NOTED]
    assert len(notes) == 1
    assert notes[0].startswith("驻场当班无人")
    (line, _) = await desk.roster().lines(None)
    assert [one.kind for one in line.warnings][:1] == [WarningKind.GAP if is_there else WarningKind.NO_ROSTER]


async def test_quiet_hours_wait_and_are_made_up_for_when_they_end(desk: Desk) -> None:
    here = desk.clock.utc().astimezone(UTC) + timedelta(hours=8)
    begins = here - timedelta(hours=1)
    ends = here + timedelta(hours=2)
    quiet = {"major": {"begins": f"{begins:%H:%M}", "ends": f"{ends:%H:%M}"}}
    await staffed(desk, roster("wang"), quiet=quiet)
    await desk.alarm()
    for _ in range(3):
        await desk.works(1_800)
    assert desk.told == 0
    await desk.works(1_800)
    assert await sent(desk) == {("sms-wang", "wang")}
    await desk.works(300)  # the ladder began when the quiet hours ended
    assert ("second", None) in await sent(desk)


async def test_what_is_more_severe_does_not_wait(desk: Desk) -> None:
    await staffed(desk, roster("wang"), quiet={"minor": {"begins": "00:00", "ends": "23:59"}})
    await desk.alarm()
    await desk.works()
    assert desk.told == 1


def ladder(*targets: str) -> dict[str, object]:
    return {"steps": [{"targets": targets}]}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"quiet": {"critical": {"begins": "22:00", "ends": "07:00"}}}, "never waits"),
        ({"quiet": {"minor": {"begins": "07:00", "ends": "07:00"}}}, "whole day"),
        ({"zone": "Asia/Atlantis"}, "no such time zone"),
        ({"ladders": {"major": ladder("on_duty:onsite")}}, "a target of its own"),
        ({"ladders": {"major": ladder("on_duty:nobody", "duty")}}, "no target on_duty:nobody"),
        ({"ladders": {"critical": ladder("duty")}}, "two different targets"),
    ],
)
def test_settings_that_would_leave_somebody_untold_are_refused(changed: dict[str, object], says: str) -> None:
    target = {"kind": "webhook", "url_file": "/x"}
    with pytest.raises(ValidationError, match=says):
        PagingSettings.model_validate({"targets": {"duty": target}, **changed})


async def test_one_channel_for_what_is_critical_is_warned_about(desk: Desk) -> None:
    ladders = {"critical": {"steps": [{"targets": ["on_duty:onsite"]}, {"after_s": 60, "targets": ["second"]}]}}
    await staffed(desk, roster("wang", "li"), ladders=ladders)
    desk.accounts = frozenset({"wang"})
    (line, _) = await desk.roster().lines(None)
    assert [(one.kind, one.person) for one in line.warnings] == [
        (WarningKind.NO_ACCOUNT, "li"),
        (WarningKind.ONE_WAY, "wang"),
    ]


async def test_a_repair_that_threatens_to_be_late_is_told_though_somebody_has_it(desk: Desk) -> None:
    store = OrderStore(desk.database)
    work = OrderDuty(store, desk.incidents, Evidence(), desk.clock)
    desk.orders = OrderForecasts(store)
    await desk.renew(desk.settings)
    await desk.alarm()
    await desk.works()
    await work.follow()
    incident = await desk.incident()
    await desk.incidents.acknowledge(incident.id, "wang")
    await desk.works(1)
    heard = desk.told

    async def after(minutes: float) -> list[str]:
        desk.clock.advance(minutes * 60)
        await work.follow()
        await work.judge()
        await desk.duty.turn()
        return [str(page["forecast"] and page["forecast"]["percent"]) for page in desk.heard[heard:]]

    assert await after(121) == []  # half of the time is no reason to call anybody
    assert await after(60) == ["75"]
    assert await after(1) == ["75"]
    assert await after(36) == ["75", "90", "90"]
    (order,) = await store.open()
    told = desk.heard[-1]
    assert told["link"] == f"https://fleet.test/orders/{order.id}"
    assert told["forecast"]["name"] == order.number
    assert told["incident"] == "INC-000001"
    desk.duty = desk.fresh_duty()
    assert len(await after(1)) == 3


async def test_a_turn_leaves_a_trace_for_whoever_watches(desk: Desk) -> None:
    assert await desk.store.turned_at() is None
    await desk.works()
    first = desk.clock.utc()
    assert await desk.store.turned_at() == first
    await desk.works(9)
    assert await desk.store.turned_at() == first
    await desk.works(1)
    assert await desk.store.turned_at() == desk.clock.utc()
