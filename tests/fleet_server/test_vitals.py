"""What `/metrics` says of a fleet: from a real store by a real scrape, and nothing old while the store is away."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy.exc
from prometheus_client.parser import text_string_to_metric_families

from fleet_server import vitals
from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.duty import IncidentDuty
from fleet_server.incidents.store import IncidentStore
from fleet_server.orders.model import Order, OrderKind, OrderState, Stop
from fleet_server.orders.store import OrderStore
from fleet_server.paging.model import CaseState, Delivery, DeliveryState, PagingCase
from fleet_server.paging.store import PagingStore
from fleet_server.presence.model import Status
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.model import PresenceState
from fleet_server.registry.pki import CertificateAuthority
from fleet_server.settings import BackupSettings, Settings
from fleet_server.vitals import VitalParts, Vitals
from kit.clock import ManualClock
from support.incident_world import Grid
from support.registry import make_desk
from support.staff_site import StaffSite, staff_site
from wire.faults import FACTS, Fault, Severity
from wire.uplink import Edge

Figures = dict[tuple[str, str], float]
"""By name and the values of the labels, joined."""


def figures(page: bytes) -> Figures:
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def scraped(site: StaffSite) -> Figures:
    answer = await site.call("GET", "/metrics")
    assert answer.status == 200
    return figures(answer.body)


@pytest.fixture
async def site(fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    async with staff_site(fleet_url, manual_clock, tmp_path) as running:
        yield running


@pytest.fixture
async def sqlite_site(sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    async with staff_site(sqlite_fleet_url, manual_clock, tmp_path) as running:
        yield running


async def enrols(site: StaffSite, *kids: str) -> None:
    core = site.server.core
    desk = make_desk(core.database, site.clock, CertificateAuthority.create(site.clock.utc()), Settings())
    await desk.assets(*(f"{kid},SN-{number},大厅,门诊,1,0,0,k20" for number, kid in enumerate(kids, 1)))
    for number, kid in enumerate(kids, 1):
        await desk.enrols(kid, f"SN-{number}")
    await core.directory.refresh()


async def test_kiosks_and_what_waits_on_them(site: StaffSite) -> None:
    await enrols(site, "zzj-001", "zzj-002", "zzj-003")
    now, core = site.clock.utc(), site.server.core
    there = Status("zzj-001", PresenceState.ONLINE, now, "connected", queue_rows=7)
    away = Status("zzj-002", PresenceState.OFFLINE, now, "lost", queue_rows=40)
    stranger = Status("gone", PresenceState.OFFLINE, now, "lost", queue_rows=9_000)
    numbers = [core.directory.number_of(kid) or 0 for kid in ("zzj-001", "zzj-002")]
    await PresenceStore(core.database).keep({numbers[0]: there, numbers[1]: away, 99: stranger}, [])
    found = await scraped(site)
    assert found["fleet_kiosks", "enrolled"] == 3
    states = {state: found["fleet_presence_kiosks", state.value] for state in PresenceState}
    assert {state: count for state, count in states.items() if count} == {
        PresenceState.ONLINE: 1,
        PresenceState.OFFLINE: 1,
        PresenceState.NEVER: 1,
    }
    assert (found["fleet_kiosk_outbox_rows", ""], found["fleet_kiosk_outbox_rows_max", ""]) == (47, 40)
    assert found["fleet_store_answers", ""] == 1
    assert math.isnan(found["fleet_broker_connected", ""])  # this process takes no uplink


async def test_alarms_and_incidents_by_severity(site: StaffSite) -> None:
    core, now = site.server.core, site.clock.utc()
    alarms = AlarmStore(core.database)
    edges = [(Fault.PAPER_OUT, "printer", Edge.RAISE), (Fault.TONER_LOW, "laser", Edge.RAISE)]
    edges += [(Fault.NOT_RESPONDING, "scanner", Edge.RAISE), (Fault.NOT_RESPONDING, "scanner", Edge.CLEAR)]
    for fault, component, edge in edges:
        severity = FACTS[fault].severity
        await alarms.apply([AlarmEdge("k-1", component, fault.value, edge, severity, now, AlarmOrigin.KIOSK)], now)
    correlate = IncidentDuty(core.database, alarms, IncidentStore(core.database), Grid(), site.clock)
    await correlate.turn()
    site.clock.advance(61)
    await correlate.turn()
    found = await scraped(site)
    expected = {FACTS[Fault.PAPER_OUT].severity.value: 1.0, FACTS[Fault.TONER_LOW].severity.value: 1.0}
    assert {level.value: found["fleet_alarms_open", level.value] for level in Severity} == {
        level.value: expected.get(level.value, 0.0) for level in Severity
    }
    assert found["fleet_incidents", "major,open"] == 1


async def test_orders_whose_clock_of_the_contract_is_nearly_over(site: StaffSite) -> None:
    core, now = site.server.core, site.clock.utc()
    stop = Stop(now, "wang", "incident:1")
    order = Order(
        "0", "WO-1", OrderKind.INCIDENT, OrderState.NEW, "paper_out", "k-1/printer", Severity.MAJOR, None, now, now
    )
    orders = [
        replace(order, id="1", number="WO-1", response_level=90, repair_level=90),
        replace(order, id="2", number="WO-2", state=OrderState.RESPONDED, response=stop, repair_level=75),
        replace(order, id="3", number="WO-3", state=OrderState.PAUSED, response_level=100, repair_level=100),
        replace(order, id="4", number="WO-4", state=OrderState.CLOSED, repair_level=100),
        replace(order, id="5", number="WO-5", kind=OrderKind.HELP, response_level=90, repair_level=90),
    ]
    async with OrderStore(core.database).writing(now) as writing:
        for one in orders:
            await writing.put(one, [])
    found = await scraped(site)
    running = {key: value for (name, key), value in found.items() if name == "fleet_orders_clock_running" and value}
    assert running == {"response,90": 1, "repair,90": 1, "repair,75": 1}
    assert (found["fleet_orders_open", "new"], found["fleet_orders_open", "paused"]) == (2, 1)


async def test_pages_that_wait_and_pages_that_never_arrived(site: StaffSite) -> None:
    core, now = site.server.core, site.clock.utc()
    store = PagingStore(core.database)
    pages = [
        Delivery("1", "a", 1, 0, 0, "duty", DeliveryState.FAILED, now),
        Delivery("2", "over", 1, 0, 0, "duty", DeliveryState.FAILED, now),
        Delivery("3", "a", 1, 1, 0, "duty", DeliveryState.DUE, now - timedelta(seconds=90)),
        Delivery("4", "a", 1, 2, 0, "duty", DeliveryState.DUE, now + timedelta(seconds=90)),
    ]
    async with core.database.write() as connection:
        await store.add_case(connection, PagingCase("a", 1, Severity.MAJOR, now))
        await store.add_case(connection, PagingCase("over", 1, Severity.MAJOR, now, CaseState.ENDED))
        await store.add(connection, pages)
    found = await scraped(site)
    names = ("fleet_pages_given_up", "fleet_pages_pending", "fleet_page_overdue_seconds")
    assert [found[name, ""] for name in names] == [1, 2, 90]


async def test_nothing_old_is_shown_while_the_store_is_away(
    sqlite_site: StaffSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await scraped(sqlite_site)
    assert before["fleet_presence_kiosks", "online"] == 0

    @asynccontextmanager
    async def away() -> AsyncIterator[None]:
        raise sqlalchemy.exc.OperationalError("SELECT", None, OSError("gone"))
        yield

    monkeypatch.setattr(sqlite_site.server.core.database, "read_session", away)
    found = await scraped(sqlite_site)
    assert found["fleet_store_answers", ""] == 0
    from_store = {spec.name for spec in vitals.METRICS} - {
        "fleet_kiosks",
        "fleet_store_answers",
        "fleet_data_disk_free_ratio",
        "fleet_certificate_left_days",
    }
    shown = {name: value for (name, _), value in found.items() if name in from_store}
    assert set(shown) == from_store
    assert [name for name, value in shown.items() if not math.isnan(value)] == []


async def test_backup_disk_and_certificates(sqlite_site: StaffSite, tmp_path: Path) -> None:
    core, clock = sqlite_site.server.core, sqlite_site.clock
    authority = CertificateAuthority.create(clock.utc())
    core.installation.pki_dir.mkdir(parents=True)
    core.installation.ca_file.write_text(authority.pem)
    stamp = tmp_path / "backup.stamp"
    settings = core.settings.model_copy(update={"backup": BackupSettings(stamp_file=stamp)})
    parts = VitalParts(settings, core.installation, core.database, core.directory, clock, core.metrics, lambda: True)
    found = figures(await Vitals(parts).page())
    assert found["fleet_backup_age_seconds", ""] == -1
    assert found["fleet_certificate_left_days", "ca"] == pytest.approx(
        (authority.not_after - clock.utc()).total_seconds() / 86_400
    )
    assert math.isnan(found["fleet_certificate_left_days", "server"])
    assert 0 < found["fleet_data_disk_free_ratio", ""] <= 1
    stamp.touch()
    saved = clock.utc().timestamp() - 3_600
    os.utime(stamp, (saved, saved))
    found = figures(await Vitals(parts).page())
    assert found["fleet_backup_age_seconds", ""] == pytest.approx(3_600)
    assert found["fleet_broker_connected", ""] == 1
