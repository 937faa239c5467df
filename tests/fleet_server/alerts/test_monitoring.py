"""What Alertmanager says becomes alarms of the server: over real HTTP, with a token that may do nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.duty import IncidentDuty
from fleet_server.incidents.model import Scope
from fleet_server.incidents.store import IncidentStore
from fleet_server.staff.model import ApiToken
from fleet_server.staff.permissions import Role
from fleet_server.staff.rules import digest_of
from kit.clock import ManualClock
from support.incident_world import Grid
from support.staff_site import Answer, StaffSite, staff_site
from wire.faults import Fault

NEVER = "0001-01-01T00:00:00Z"
TOKEN = "kft_monitoring"
Alert = dict[str, Any]


@asynccontextmanager
async def serving(url: str, clock: ManualClock, folder: Path) -> AsyncIterator[StaffSite]:
    """Serve the API with the token of Alertmanager."""
    async with staff_site(url, clock, folder) as running:
        await running.adds("monitoring", Role.SYSTEM_ADMIN)
        now = clock.utc()
        rights = frozenset({"alarms.report"})
        expires = now + timedelta(days=365)
        await running.store.add_token(ApiToken("1", "monitoring", digest_of(TOKEN), "am", rights, now, expires))
        yield running


@pytest.fixture
async def both_sites(fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    """Give one on each store."""
    async with serving(fleet_url, manual_clock, tmp_path) as running:
        yield running


@pytest.fixture
async def site(sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    """Give one on SQLite."""
    async with serving(sqlite_fleet_url, manual_clock, tmp_path) as running:
        yield running


def alert(fault: str, component: str, since: datetime, *, until: datetime | None = None) -> Alert:
    labels = {"alertname": "Any", "fault": fault, "component": component}
    return {
        "status": "firing" if until is None else "resolved",
        "labels": labels,
        "annotations": {"summary": "…"},
        "startsAt": since.isoformat(),
        "endsAt": NEVER if until is None else until.isoformat(),
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "00",
    }


async def tells(site: StaffSite, *alerts: Alert, truncated: int = 0, token: str | None = TOKEN) -> Answer:
    body = {"version": "4", "receiver": "fleet-server", "truncatedAlerts": truncated, "alerts": list(alerts)}
    return await site.call("POST", "/api/v1/alertmanager", body=body, token=token)


async def up(site: StaffSite) -> set[tuple[str, str, str]]:
    found = await site.server.core.alerts.alarms(only_open=True, kid=None, limit=100)
    return {(one.kid, one.component, one.code) for one in found}


LAG = ("server", "queue", "queue_lag")


async def test_an_alert_fires_and_is_resolved(both_sites: StaffSite) -> None:
    site = both_sites
    began = site.clock.utc() - timedelta(minutes=3)
    answer = await tells(site, alert("queue_lag", "queue", began))
    assert (answer.status, answer.document) == (200, {"raised": 1, "cleared": 0, "ignored": 0})
    assert await up(site) == {LAG}
    (alarm,) = await site.server.core.alerts.alarms(only_open=True, kid="server", limit=1)
    assert alarm.raised_at == began, "dated back to when it began"
    change = alarm.change_seq
    await tells(site, alert("queue_lag", "queue", began))
    (again,) = await site.server.core.alerts.alarms(only_open=True, kid="server", limit=1)
    assert again.change_seq == change, "a repeated message is no news"
    await tells(site, alert("queue_lag", "queue", began, until=site.clock.utc()))
    assert await up(site) == set()
    await tells(site, alert("queue_lag", "queue", began))
    assert await up(site) == set(), "a late copy of the first message does not raise it again"


async def test_of_two_alerts_of_one_alarm_the_one_that_fires_counts(site: StaffSite) -> None:
    now = site.clock.utc()
    over = alert("channel_down", "wechat", now - timedelta(hours=1), until=now)
    await tells(site, over, alert("channel_down", "WeChat", now))
    assert await up(site) == {("server", "wechat", "channel_down")}


@pytest.mark.parametrize(
    ("fault", "component"),
    [
        ("", "queue"),
        ("queue_lag", ""),
        ("paper_out", "printer"),
        ("broker_down", "broker"),
        ("queue_lag", "a b"),
        ("x", "y"),
    ],
)
async def test_what_is_no_alarm_of_ours_is_left_out(site: StaffSite, fault: str, component: str) -> None:
    answer = await tells(site, alert(fault, component, site.clock.utc()))
    assert answer.document == {"raised": 0, "cleared": 0, "ignored": 1}
    assert await up(site) == set()


async def test_with_the_heartbeat_a_message_is_the_whole_truth(site: StaffSite) -> None:
    """Alertmanager restarted without its memory: nobody would ever say that the first alarm is over."""
    now, core = site.clock.utc(), site.server.core
    await core.alerts.raise_alarm("server", "broker", Fault.BROKER_DOWN, {})
    await core.alerts.raise_alarm("k-1", "host", Fault.DISK_LOW, {})
    await tells(site, alert("queue_lag", "queue", now), alert("backup_old", "backup", now))
    kept = {("server", "broker", "broker_down"), ("k-1", "host", "disk_low"), ("server", "backup", "backup_old")}
    heartbeat = alert("heartbeat", "monitoring", now)
    site.clock.advance(60)
    await tells(site, heartbeat, alert("backup_old", "backup", now), truncated=1)
    assert await up(site) == kept | {LAG}, "something was cut off"
    await tells(site, {**heartbeat, "status": "resolved"}, alert("backup_old", "backup", now))
    assert await up(site) == kept | {LAG}
    answer = await tells(site, heartbeat, alert("backup_old", "backup", now))
    assert answer.document == {"raised": 1, "cleared": 1, "ignored": 0}
    assert await up(site) == kept


async def test_a_clock_that_is_ahead_raises_nothing_in_the_future(site: StaffSite) -> None:
    now = site.clock.utc()
    await tells(site, alert("his_down", "his", now + timedelta(minutes=9)))
    (alarm,) = await site.server.core.alerts.alarms(only_open=True, kid="server", limit=1)
    assert alarm.raised_at == now


async def test_it_becomes_an_incident_of_the_right_scope(site: StaffSite) -> None:
    core, now = site.server.core, site.clock.utc()
    await tells(site, alert("backup_old", "backup", now), alert("his_down", "his", now))
    incidents = IncidentStore(core.database)
    correlate = IncidentDuty(core.database, AlarmStore(core.database), incidents, Grid(), site.clock)
    await correlate.turn()
    site.clock.advance(61)
    await correlate.turn()
    found = {one.cause: (one.scope, one.scope_name) for one in await incidents.changed_since(-1)}
    assert found == {"backup_old": (Scope.SERVER, "backup"), "his_down": (Scope.OUTSIDE, "his")}


async def test_only_its_token_may(site: StaffSite) -> None:
    one = alert("queue_lag", "queue", site.clock.utc())
    assert (await tells(site, one, token=None)).status == 401
    assert (await tells(site, one, token="kft_other")).status == 401
    for path in ("alarms", "incidents", "kiosks"):
        assert (await site.call("GET", f"/api/v1/{path}", token=TOKEN)).status == 403
    assert await up(site) == set()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": "3", "alerts": []},
        {"version": "4", "alerts": [{"status": "silent", "labels": {}, "startsAt": NEVER, "endsAt": NEVER}]},
        {"version": "4", "alerts": [{"status": "firing", "labels": {}, "startsAt": "2026-03-02", "endsAt": NEVER}]},
    ],
)
async def test_what_is_no_message_is_refused(site: StaffSite, body: Alert) -> None:
    assert (await site.call("POST", "/api/v1/alertmanager", body=body, token=TOKEN)).status == 422
