"""What `/metrics` shows: the figures of this process, and what is pressing in the fleet when somebody asks.

What comes from the store is the same in every process: rules take the greatest. While the store does not answer
these gauges are NaN, which no threshold is above or below, and `fleet_store_answers` is 0.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy.exc
from aiohttp import web
from cryptography import x509

from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.model import Incident, IncidentState
from fleet_server.incidents.store import IncidentStore
from fleet_server.orders.machine import UNPROVED
from fleet_server.orders.model import SERVICE, Order, OrderState
from fleet_server.orders.model import Clock as OrderClock
from fleet_server.orders.progress import LEVELS
from fleet_server.orders.store import OrderStore
from fleet_server.paging.store import PagingStore
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.directory import Directory
from fleet_server.registry.installation import Installation
from fleet_server.registry.model import KioskState, PresenceState
from fleet_server.settings import Settings
from kit.clock import Clock
from kit.metrics import CONTENT_TYPE, Kind, Metrics, MetricSpec
from kit.store import Database, StoreBusy
from wire.faults import Severity

K = TypeVar("K", bound=StrEnum)
_DAY_S: Final = 86_400.0
_TOLD: Final = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED, IncidentState.RECOVERED)
_STORE_AWAY: Final = (StoreBusy, sqlalchemy.exc.DBAPIError, OSError)

METRICS: Final = (
    MetricSpec("fleet_kiosks", Kind.GAUGE, "kiosks of the registry by state", ("state",)),
    MetricSpec("fleet_presence_kiosks", Kind.GAUGE, "enrolled kiosks by presence", ("state",)),
    MetricSpec("fleet_kiosk_outbox_rows", Kind.GAUGE, "records that wait on kiosks, by their last word"),
    MetricSpec("fleet_kiosk_outbox_rows_max", Kind.GAUGE, "the same on the kiosk that has most"),
    MetricSpec("fleet_alarms_open", Kind.GAUGE, "alarms that are up", ("severity",)),
    MetricSpec("fleet_incidents", Kind.GAUGE, "incidents that are not closed", ("state", "severity")),
    MetricSpec("fleet_orders_open", Kind.GAUGE, "work orders that are not over", ("state",)),
    MetricSpec(
        "fleet_orders_clock_running",
        Kind.GAUGE,
        "open work orders whose clock of the contract runs, by the percent of its target that has passed",
        ("clock", "percent"),
    ),
    MetricSpec("fleet_pages_given_up", Kind.GAUGE, "pages that never arrived, while somebody still has to be told"),
    MetricSpec("fleet_pages_pending", Kind.GAUGE, "pages that are not handed over yet"),
    MetricSpec("fleet_page_overdue_seconds", Kind.GAUGE, "for how long the oldest of them should have been sent"),
    MetricSpec("fleet_store_answers", Kind.GAUGE, "1 while the store answered this scrape"),
    MetricSpec("fleet_broker_connected", Kind.GAUGE, "1 while the broker has the uplink of this process"),
    MetricSpec("fleet_certificate_left_days", Kind.GAUGE, "until a certificate or list runs out", ("certificate",)),
    MetricSpec("fleet_data_disk_free_ratio", Kind.GAUGE, "free share of the data directory's disk"),
    MetricSpec("fleet_backup_age_seconds", Kind.GAUGE, "since the store was saved; -1 when it never was"),
)
"""Gauges of parts that a process does not have (broker, backup) stay away by being NaN."""


@dataclass(frozen=True, slots=True)
class VitalParts:
    """What the figures are gathered from."""

    settings: Settings
    installation: Installation
    database: Database
    directory: Directory
    clock: Clock
    metrics: Metrics
    is_connected: Callable[[], bool] | None = None
    """Whether the broker has our uplink; None where this process takes none."""


class Vitals:
    """Answers a scrape."""

    def __init__(self, parts: VitalParts) -> None:
        """Read nothing yet."""
        self._parts = parts
        self._presence = PresenceStore(parts.database)
        self._alarms = AlarmStore(parts.database)
        self._incidents = IncidentStore(parts.database)
        self._orders = OrderStore(parts.database)
        self._paging = PagingStore(parts.database)

    async def answer(self, request: web.Request) -> web.Response:
        """The page, for this machine and for who has the token."""
        if not await asyncio.to_thread(_may_scrape, request, self._parts.settings.http.metrics_token_file):
            raise web.HTTPForbidden
        body = await self.page()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def page(self) -> bytes:
        """Everything as it is now, in the text format."""
        parts = self._parts
        states = Counter(kiosk.state for kiosk in parts.directory.kiosks.values())
        self._set("fleet_kiosks", "state", KioskState, states)
        self._gauge("fleet_broker_connected", math.nan if parts.is_connected is None else float(parts.is_connected()))
        try:
            await self._pressing(parts.clock.utc())
            self._gauge("fleet_store_answers", 1.0)
        except _STORE_AWAY:
            self._unknown()
        return await asyncio.to_thread(self._files_and_page)

    async def _pressing(self, now: datetime) -> None:
        enrolled = {kid for kid, one in self._parts.directory.kiosks.items() if one.state is KioskState.ENROLLED}
        seen = [row for row in await self._presence.tally() if row[0] in enrolled]
        states = Counter(state for _, state, _ in seen)
        states[PresenceState.NEVER] += len(enrolled) - len(seen)
        self._set("fleet_presence_kiosks", "state", PresenceState, states)
        self._gauge("fleet_kiosk_outbox_rows", sum(rows for _, _, rows in seen))
        self._gauge("fleet_kiosk_outbox_rows_max", max((rows for _, _, rows in seen), default=0))
        self._set("fleet_alarms_open", "severity", Severity, await self._alarms.tally())
        self._show_incidents(await self._incidents.changed_since(-1))
        self._show_orders(await self._orders.open())
        pending = await self._paging.pending()
        self._gauge("fleet_pages_pending", len(pending))
        self._gauge("fleet_page_overdue_seconds", max((_late_s(one.due_at, now) for one in pending), default=0.0))
        self._gauge("fleet_pages_given_up", await self._paging.given_up())

    def _show_incidents(self, incidents: Iterable[Incident]) -> None:
        counts = Counter((one.state, one.severity) for one in incidents)
        for state in _TOLD:
            for severity in Severity:
                labels = {"state": state.value, "severity": severity.value}
                self._gauge("fleet_incidents", counts[state, severity], **labels)

    def _show_orders(self, orders: list[Order]) -> None:
        self._set("fleet_orders_open", "state", _OPEN_ORDERS, Counter(order.state for order in orders))
        running = [one for one in orders if one.kind not in SERVICE and one.state in _RUNNING]
        response = Counter(one.response_level for one in running if one.response is None and one.on_site is None)
        repair = Counter(one.repair_level for one in running)
        for clock, counts in ((OrderClock.RESPONSE, response), (OrderClock.REPAIR, repair)):
            for level in (0, *LEVELS):
                labels = {"clock": clock.value, "percent": str(level)}
                self._gauge("fleet_orders_clock_running", counts[level], **labels)

    def _unknown(self) -> None:
        """The store is away: no old figure may pass for a new one."""
        self._gauge("fleet_store_answers", 0.0)
        for name in ("fleet_kiosk_outbox_rows", "fleet_kiosk_outbox_rows_max", *_PAGES):
            self._gauge(name, math.nan)
        for state in PresenceState:
            self._gauge("fleet_presence_kiosks", math.nan, state=state.value)
        for severity in Severity:
            self._gauge("fleet_alarms_open", math.nan, severity=severity.value)
            for told in _TOLD:
                self._gauge("fleet_incidents", math.nan, state=told.value, severity=severity.value)
        for order in _OPEN_ORDERS:
            self._gauge("fleet_orders_open", math.nan, state=order.value)
        for clock in OrderClock:
            for level in (0, *LEVELS):
                self._gauge("fleet_orders_clock_running", math.nan, clock=clock.value, percent=str(level))

    def _files_and_page(self) -> bytes:
        now = self._parts.clock.utc()
        for name, end in _ends(self._parts.installation, self._parts.settings).items():
            left = math.nan if end is None else (end - now).total_seconds() / _DAY_S
            self._gauge("fleet_certificate_left_days", left, certificate=name)
        self._gauge("fleet_data_disk_free_ratio", _free_ratio(self._parts.settings.data_dir))
        self._gauge("fleet_backup_age_seconds", _backup_age_s(self._parts.settings.backup.stamp_file, now))
        return self._parts.metrics.render()

    def _set(self, name: str, label: str, values: Iterable[K], counts: Mapping[K, int]) -> None:
        for value in values:
            self._parts.metrics.gauge(name, **{label: value.value}).set(counts.get(value, 0))

    def _gauge(self, name: str, value: float, **labels: str) -> None:
        self._parts.metrics.gauge(name, **labels).set(value)


_PAGES: Final = ("fleet_pages_given_up", "fleet_pages_pending", "fleet_page_overdue_seconds")
_OPEN_ORDERS: Final = tuple(state for state in OrderState if state not in {OrderState.CLOSED, OrderState.CANCELLED})
_RUNNING: Final = UNPROVED - {OrderState.PAUSED}


def _late_s(due_at: datetime, now: datetime) -> float:
    return max(0.0, (now - due_at).total_seconds())


def _ends(installation: Installation, settings: Settings) -> dict[str, datetime | None]:
    """When what this process shows, and what the broker judges by, runs out; None for what cannot be read."""
    files = {"ca": installation.ca_file, "broker": installation.broker_dir / "server.pem"}
    for identity in (installation.server, *map(installation.worker, installation.workers())):
        files[identity.name] = identity.certificate_file
    if settings.http.certificate_file is not None:
        files["dashboard"] = settings.http.certificate_file
    found = {name: _end(file, _pem_end) for name, file in files.items()}
    return {**found, "crl": _end(installation.crl_file, _crl_end)}


def _end(file: Path, read: Callable[[bytes], datetime | None]) -> datetime | None:
    try:
        return read(file.read_bytes())
    except (OSError, ValueError):
        return None


def _pem_end(pem: bytes) -> datetime:
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def _crl_end(pem: bytes) -> datetime | None:
    return x509.load_pem_x509_crl(pem).next_update_utc


def _free_ratio(folder: Path) -> float:
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return math.nan
    return disk.free / disk.total


def _backup_age_s(stamp_file: Path | None, now: datetime) -> float:
    if stamp_file is None:
        return math.nan
    try:
        return max(0.0, now.timestamp() - stamp_file.stat().st_mtime)
    except OSError:
        return -1.0


def _may_scrape(request: web.Request, token_file: Path | None) -> bool:
    try:
        is_local = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        is_local = False
    if is_local or token_file is None:
        return is_local
    expected = f"Bearer {token_file.read_text(encoding='utf-8').strip()}"
    return hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode())
