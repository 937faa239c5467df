"""The composition root's second half: everything through which data from kiosks flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from fleet_server.alerts.ingest import AlarmRecordSink
from fleet_server.alerts.service import AlertService
from fleet_server.alerts.store import AlarmStore
from fleet_server.capabilities.ingest import CapabilitySink
from fleet_server.capabilities.store import CapabilityStore
from fleet_server.incidents.store import IncidentStore
from fleet_server.live.hub import Hub
from fleet_server.live.routes import METRICS as LIVE_METRICS
from fleet_server.live.routes import Authenticate, LiveChannel
from fleet_server.overview.service import ALARMS, INCIDENTS, KIOSKS, Overview, OverviewParts
from fleet_server.presence.duty import PresenceDuty, PresenceParts
from fleet_server.presence.routes import routes as presence_routes
from fleet_server.presence.service import PresenceService
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.clones import CloneWatch
from fleet_server.registry.directory import Directory
from fleet_server.registry.renewals import RenewalWatch
from fleet_server.registry.service import RegistryService
from fleet_server.settings import Settings
from fleet_server.telemetry.chain import ChainProver
from fleet_server.telemetry.evidence import EvidenceSink
from fleet_server.telemetry.keeper import Keep, TelemetryKeeper
from fleet_server.telemetry.routes import routes as telemetry_routes
from fleet_server.telemetry.samples import SampleSink
from fleet_server.telemetry.service import TelemetryService
from fleet_server.telemetry.store import TelemetryStore
from fleet_server.uplink.desk import Desk
from fleet_server.uplink.limits import RateLimiter, RateLimits
from fleet_server.uplink.metrics import METRICS as UPLINK_METRICS
from fleet_server.uplink.service import UplinkParts, UplinkService
from fleet_server.uplink.store import UplinkStore, WorkerStore
from kit.clock import Clock
from kit.metrics import Metrics, MetricSpec
from kit.mqtt import MqttClient, MqttSettings
from kit.store import Database, Dialect
from kit.supervise import Service
from kit.web import Routes
from wire.topics import Channel, every_kiosk, shared

METRICS: tuple[MetricSpec, ...] = (*UPLINK_METRICS, *LIVE_METRICS)
QUEUE_MESSAGES: Final = 400
"""Received and not yet read; at 256 KiB each at most. Beyond it the broker keeps the rest."""


@dataclass(frozen=True, slots=True)
class DataPlan:
    """What the data features are built from."""

    settings: Settings
    database: Database
    directory: Directory
    registry: RegistryService
    alerts: AlertService
    metrics: Metrics
    clock: Clock


class DataParts:
    """The features of one process; writers ring the overview's bell, which exists where pages are served."""

    def __init__(self, plan: DataPlan) -> None:
        """Prepare the stores; nothing connects."""
        self._plan = plan
        self._presence = PresenceStore(plan.database)
        self._telemetry = TelemetryStore(plan.database)
        self._alarms = AlarmStore(plan.database)
        self._capabilities = CapabilityStore(plan.database)
        self._hub = Hub((KIOSKS, ALARMS, INCIDENTS))
        self._bell: Callable[[], None] = lambda: None
        self._listeners: list[Callable[[], None]] = []
        self._uplink: MqttClient | None = None
        plan.alerts.on_change(self._ring)

    def on_alarms(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change of this process that may have moved an alarm."""
        self._listeners.append(listener)

    def is_connected(self) -> bool:
        """Whether the broker has the uplink of this process."""
        return self._uplink is not None and self._uplink.is_connected

    def _ring(self) -> None:
        self._bell()
        for listener in self._listeners:
            listener()

    def overview(self) -> Overview:
        """The fleet in memory, for the role api."""
        plan = self._plan
        stores = self._presence, self._telemetry, self._alarms, self._capabilities, IncidentStore(plan.database)
        overview = Overview(OverviewParts(plan.directory, *stores, self._hub, plan.clock))
        self._bell = overview.wake
        return overview

    def routes(self) -> list[Routes]:
        """HTTP of presence and telemetry."""
        plan = self._plan
        presence = PresenceService(self._presence, plan.directory, plan.clock)
        telemetry = TelemetryService(self._telemetry, plan.directory, plan.clock)
        return [presence_routes(presence), telemetry_routes(telemetry)]

    def mount_live(self, app: web.Application, authenticate: Authenticate) -> None:
        """The live channel, for the role api."""
        LiveChannel(self._hub, authenticate, self._plan.metrics.gauge("fleet_live_viewers")).mount(app)

    def ingest(self, mqtt: MqttSettings) -> list[Service]:
        """The uplink, for the role ingest."""
        plan = self._plan
        samples = SampleSink(plan.database)
        evidence = EvidenceSink(plan.database)
        edges = AlarmRecordSink(self._alarms, plan.clock)
        prover = ChainProver(self._telemetry, plan.alerts, plan.directory, plan.clock)
        samples.on_change(self._ring)
        edges.on_change(self._ring)
        able = CapabilitySink(self._capabilities)
        able.on_change(self._ring)
        evidence.on_chained(prover.look_at)
        client = self._uplink = MqttClient(
            mqtt, clock=plan.clock, subscriptions=[(shared(every_kiosk(Channel.LOG)), 1)], queue_limit=QUEUE_MESSAGES
        )
        limits = plan.settings.uplink
        limiter = RateLimiter(RateLimits(limits.records_per_s, limits.burst_records, limits.quiet_release_s))
        service = UplinkService(
            UplinkParts(
                broker=client,
                fleet=plan.directory,
                store=UplinkStore(plan.database, (samples, evidence, edges, able)),
                workers=WorkerStore(plan.database),
                worker=mqtt.client_id,
                limiter=limiter,
                desk=Desk(plan.alerts, plan.registry, plan.clock),
                metrics=plan.metrics,
                clock=plan.clock,
                overlaps=plan.database.dialect is Dialect.POSTGRESQL,
            )
        )
        return [client, service, samples, prover]

    def duties(self, mqtt: MqttSettings, clones: CloneWatch, renewals: RenewalWatch) -> list[Service]:
        """Presence and tidying, on one process at a time."""
        plan = self._plan
        settings = plan.settings
        presence = PresenceDuty(
            PresenceParts(
                mqtt=mqtt,
                fleet=plan.directory,
                store=self._presence,
                database=plan.database,
                alarms=plan.alerts,
                clones=clones,
                clock=plan.clock,
                backfill_per_s=settings.uplink.backfill_per_s,
                keep_days=settings.retention.presence_days,
                renewals=renewals,
            )
        )
        presence.on_change(self._ring)
        keeper = TelemetryKeeper(
            plan.database,
            UplinkStore(plan.database, ()),
            plan.clock,
            Keep(settings.retention.telemetry_days, settings.retention.events_days),
        )
        return [presence, keeper]
