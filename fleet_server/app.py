"""The composition root: the only place of the fleet server that constructs.

How a feature joins: build it in `_compose`, then
- `parts.routes` takes its `Routes` for staff (role api),
- `parts.ingest` its services for the role ingest, `parts.api` for the role api,
- `parts.duties` its services that run on one process at a time, `parts.everywhere` those that run always,
- `parts.metrics` its `MetricSpec` rows (before `core.metrics` is first used).
A duty's `run` is cancelled when the leadership is lost and called again when it comes back.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts.audit_trail import AuditAlarm
from fleet_server.alerts.routes import routes as alert_routes
from fleet_server.alerts.service import AlertService
from fleet_server.alerts.store import AlarmStore
from fleet_server.casework import CaseParts, CasePlan
from fleet_server.errors import Refusal, SetupError
from fleet_server.flows import METRICS as DATA_METRICS
from fleet_server.flows import DataParts, DataPlan
from fleet_server.leadership import DUTIES_LEASE, Leadership
from fleet_server.orders.forms import PHOTO_BODY_BYTES
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.clones import CloneWatch
from fleet_server.registry.directory import Directory
from fleet_server.registry.enforcement import RevocationDuty
from fleet_server.registry.enrolment import EnrolmentService
from fleet_server.registry.installation import Identity, Installation, certificate_of, worker_names
from fleet_server.registry.pki import CertificateAuthority
from fleet_server.registry.renewals import RenewalWatch
from fleet_server.registry.routes import (
    ASSETS_BODY_BYTES,
    ENROL_BODY_BYTES,
    KioskAuthentication,
    KioskPrincipal,
    kiosk_routes,
)
from fleet_server.registry.routes import staff_routes as registry_routes
from fleet_server.registry.service import RegistryService, Statuses
from fleet_server.registry.store import METADATA, RegistryStore
from fleet_server.settings import Role, Settings
from fleet_server.staff.audit import AuditTrail
from fleet_server.staff.hashing import Passwords
from fleet_server.staff.model import StaffPrincipal
from fleet_server.staff.notary import HeadBook, Notary
from fleet_server.staff.policies import Policies
from fleet_server.staff.ports import Auditor
from fleet_server.staff.recovery import RecoveryDesk, RecoveryService
from fleet_server.staff.refusals import RefusalLimit
from fleet_server.staff.routes import CookieName, StaffAuthenticator, recovery_routes, staff_routes
from fleet_server.staff.service import StaffService
from fleet_server.staff.store import AuditStore, PolicyStore, StaffStore
from fleet_server.vitals import METRICS as VITAL_METRICS
from fleet_server.vitals import VitalParts, Vitals
from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.metrics import Kind, Metrics, MetricSpec
from kit.mqtt import MqttSettings
from kit.store import Database, LeaseLost, Leases, StoreBusy, StoreOptions, Synchronous, lease_table, revisions
from kit.supervise import SdNotifier, Service, Supervised, serve
from kit.web import Api, Call, Guard, GuardSettings, Hooks, HttpServer, Limits, Problem, Routes, static_site
from wire import __version__

MIGRATIONS: Final = "fleet_server:migrations"
METRICS: Final = (
    MetricSpec("fleet_http_requests_total", Kind.COUNTER, "answers by operation and status", ("operation", "status")),
    MetricSpec("fleet_http_request_seconds", Kind.HISTOGRAM, "time to answer", ("operation",)),
    MetricSpec(
        "fleet_http_refused_total", Kind.COUNTER, "turned away before any handler, by reason", ("server", "reason")
    ),
    MetricSpec("fleet_duties_leader", Kind.GAUGE, "1 while this process does the duties"),
)
log = get_logger(__name__)


class Health(BaseModel):
    """Whether this process serves; nothing about the fleet."""

    status: str
    version: str
    roles: list[Role]


@dataclass(slots=True)
class Core:
    """What every feature may be given."""

    settings: Settings
    clock: Clock
    installation: Installation
    database: Database
    leases: Leases
    store: RegistryStore
    directory: Directory
    auditor: Auditor
    statuses: Statuses
    registry: RegistryService
    alerts: AlertService
    metrics: Metrics

    def mqtt(self, identity: Identity, *, clean_start: bool, session_expiry_s: int) -> MqttSettings:
        """Settings of a connection to our broker with one of this process's identities.

        Raises:
            SetupError: it has no certificate.
        """
        certificate_of(identity)
        return MqttSettings(
            host=self.settings.broker.host,
            port=self.settings.broker.port,
            client_id=identity.name,
            ca_file=identity.ca_file,
            cert_file=identity.certificate_file,
            key_file=identity.key_file,
            clean_start=clean_start,
            session_expiry_s=session_expiry_s,
        )

    @property
    def ingest_identity(self) -> Identity:
        """The connection that takes uplink batches and sends receipts."""
        return self.installation.worker(worker_names(self.settings.worker)[0])

    @property
    def duties_identity(self) -> Identity:
        """The connection of the leader: presence and `server/state`."""
        return self.installation.worker(worker_names(self.settings.worker)[1])


@dataclass(slots=True)
class Parts:
    """What the features contribute."""

    routes: list[Routes] = field(default_factory=list)
    everywhere: list[Service] = field(default_factory=list)
    ingest: list[Service] = field(default_factory=list)
    api: list[Service] = field(default_factory=list)
    duties: list[Service] = field(default_factory=list)
    metrics: list[MetricSpec] = field(default_factory=lambda: [*METRICS, *DATA_METRICS, *VITAL_METRICS])
    staff: StaffAuthenticator | None = None
    data: DataParts | None = None
    enrolment: EnrolmentService | None = None
    clones: CloneWatch | None = None
    """Presence tells it of every birth (`note_session`)."""
    renewals: RenewalWatch | None = None
    """Presence tells it which certificate a kiosk shows (`note`)."""


class FleetServer:
    """One process: everything that runs in it, built but not started; building reads files."""

    def __init__(
        self, settings: Settings, roles: frozenset[Role], clock: Clock, *, authority: CertificateAuthority | None = None
    ) -> None:
        self.settings = settings
        self.roles = roles
        self.parts = Parts()
        self.core = _core(settings, clock, self.parts)
        self.leadership: Leadership | None = None
        self.api_server: HttpServer | None = None
        self.kiosk_server: HttpServer | None = None
        _compose(self, authority)

    async def run(self, *, notifier: SdNotifier | None = None, stop: asyncio.Event | None = None) -> None:
        """Serve until stopped.

        Raises:
            SetupError: the schema is older than this program.
            ExceptionGroup: a part that everything depends on failed.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.core.database.close)
            await require_schema(self.settings.store_url)
            await self.core.directory.refresh()
            services = await asyncio.to_thread(_services, self)
            if notifier is not None:
                notifier.ready()
            await serve(services, notifier=notifier, stop=stop)


async def require_schema(database_url: str) -> None:
    """Go on only with a migrated store.

    Raises:
        SetupError: `fleet-server migrate` has to run first.
    """
    current, newest = await revisions(database_url, MIGRATIONS)
    if current != newest:
        raise SetupError(f"the store is at revision {current}, this program needs {newest}: run `fleet-server migrate`")


def _core(settings: Settings, clock: Clock, parts: Parts) -> Core:
    database = Database(settings.store_url, StoreOptions(synchronous=Synchronous.FULL))  # a receipt promises durability
    store = RegistryStore(database)
    directory = Directory(store)
    auditor: Auditor = AuditTrail(AuditStore(database), clock)
    alerts = AlertService(AlarmStore(database), clock)
    statuses = Statuses(alarms=alerts)
    return Core(
        settings=settings,
        clock=clock,
        installation=Installation(settings),
        database=database,
        leases=Leases(database, lease_table(METADATA), clock),
        store=store,
        directory=directory,
        auditor=auditor,
        statuses=statuses,
        alerts=alerts,
        registry=RegistryService(store, directory, clock, auditor=auditor, statuses=statuses),
        metrics=Metrics(parts.metrics),
    )


def _compose(server: FleetServer, authority: CertificateAuthority | None) -> None:
    """Build every feature that the roles of this process need."""
    core, parts, roles = server.core, server.parts, server.roles
    core.registry.use_alarms(core.alerts)
    parts.everywhere.append(core.directory)
    if Role.API in roles:
        _staff_parts(core, parts)
    if roles & {Role.API, Role.DUTIES}:
        _registry_parts(server, authority or core.installation.load_authority())
    _flow_parts(core, parts, roles)
    _case_parts(server)


def _case_parts(server: FleetServer) -> None:
    """What follows an alarm."""
    core, parts = server.core, server.parts

    async def fence(connection: AsyncConnection) -> None:
        lease = None if server.leadership is None else server.leadership.lease
        if lease is None:
            raise LeaseLost(DUTIES_LEASE)
        await core.leases.fence(connection, lease)

    settings = core.settings
    cases = CaseParts(
        CasePlan(
            core.database,
            core.directory,
            core.alerts,
            core.clock,
            fence,
            settings.data_dir,
            settings.paging,
            settings.public_url,
            core.auditor,
        )
    )
    if Role.API in server.roles:
        parts.routes += cases.routes()
    if Role.DUTIES in server.roles and parts.data is not None:
        parts.duties += cases.duties(parts.data.on_alarms)


def _staff_parts(core: Core, parts: Parts) -> None:
    settings = core.settings
    store, audit_store = StaffStore(core.database), AuditStore(core.database)
    trail = AuditTrail(audit_store, core.clock)
    passwords = Passwords()
    auditor = RefusalLimit(trail, core.clock)
    policies = Policies(PolicyStore(core.database), trail, core.clock)
    service = StaffService(
        store, passwords, auditor, policies, first_admin_token_file=settings.first_admin_token_file, clock=core.clock
    )
    recovery = RecoveryService(store, passwords, auditor, service.door, policies, core.clock)
    cookie = CookieName(is_secure=(settings.public_url or "").startswith("https://"))
    parts.staff = StaffAuthenticator(service, auditor, cookie)
    book = HeadBook(settings.data_dir, core.installation.pki_dir)
    notary = Notary(trail, book, AuditAlarm(core.alerts), core.clock)
    parts.duties.append(notary)
    parts.routes += staff_routes(service, audit_store, trail, notary, cookie)
    parts.routes += recovery_routes(RecoveryDesk(store, trail, core.clock), recovery)
    parts.routes.append(alert_routes(core.alerts))


def _flow_parts(core: Core, parts: Parts, roles: frozenset[Role]) -> None:
    plan = DataPlan(core.settings, core.database, core.directory, core.registry, core.alerts, core.metrics, core.clock)
    data = parts.data = DataParts(plan)
    if Role.API in roles:
        overview = data.overview()
        parts.api.append(overview)
        parts.routes += data.routes()
        core.statuses.presence = core.statuses.telemetry = core.statuses.alarms = overview
        core.statuses.capabilities = overview
    if Role.INGEST in roles:
        parts.ingest += data.ingest(core.mqtt(core.ingest_identity, clean_start=True, session_expiry_s=0))
    if Role.DUTIES in roles and parts.clones is not None and parts.renewals is not None:
        mqtt = core.mqtt(core.duties_identity, clean_start=True, session_expiry_s=0)
        parts.duties += data.duties(mqtt, parts.clones, parts.renewals)


def _registry_parts(server: FleetServer, authority: CertificateAuthority) -> None:
    core, parts = server.core, server.parts
    enrolment = EnrolmentService(core.store, core.directory, authority, core.settings, core.clock, core.auditor)
    parts.routes += registry_routes(core.registry, enrolment)
    parts.enrolment = enrolment
    duty = RevocationDuty(core.store, BrokerControl(core.installation, authority, core.clock), core.clock, core.alerts)
    core.registry.on_revoked(duty.wake)
    clones = CloneWatch(core.store, core.registry, core.clock)
    core.directory.on_change(clones.forget)
    parts.clones = clones
    parts.renewals = RenewalWatch(core.store, core.clock)
    parts.duties += [duty, clones, parts.renewals]


def _services(server: FleetServer) -> list[Service]:
    """What runs in this process; everything but the HTTP servers is started again when it fails."""
    core, parts, roles = server.core, server.parts, server.roles
    features = list(parts.everywhere)
    servers: list[Service] = []
    if Role.INGEST in roles:
        features += parts.ingest
    if Role.API in roles and parts.enrolment is not None:
        features += parts.api
        server.api_server = _api_server(server)
        server.kiosk_server = _kiosk_server(core, parts.enrolment)
        servers += [server.api_server, server.kiosk_server]
    if Role.DUTIES in roles:
        holder = f"{core.settings.worker}@{socket.gethostname()}:{os.getpid()}:{ulid(core.clock)[-6:]}"
        leader = core.metrics.gauge("fleet_duties_leader")
        server.leadership = Leadership(core.leases, holder, parts.duties, leader.set)
        features.append(server.leadership)
    return [*(Supervised(item.name, item.run) for item in features), *servers]


# -- the two HTTP servers ----------------------------------------------------------------------------------------


def staff_api(server: FleetServer) -> Api[StaffPrincipal]:
    """The API of the role api, with everything the features contributed; also the source of the OpenAPI document."""
    staff = server.parts.staff
    return Api(
        "Hospital kiosk fleet server",
        "1",
        [_health_routes(server.roles), *server.parts.routes],
        Hooks(
            authenticate=None if staff is None else staff.authenticate,
            audit=None if staff is None else staff.audit,
            translate=translate,
            observe=_observer(server.core.metrics),
        ),
    )


def _api_server(server: FleetServer) -> HttpServer:
    settings, core = server.settings, server.core
    app = web.Application()
    staff_api(server).mount(app)
    app.router.add_get("/metrics", _vitals(server).answer)
    if server.parts.data is not None and server.parts.staff is not None:
        server.parts.data.mount_live(app, server.parts.staff.authenticate)
    dist = settings.http.dashboard_dir or Path(__file__).resolve().parent.parent / "dashboards" / "fleet" / "dist"
    if (dist / "index.html").is_file():
        static_site(app, dist)
    public = urlsplit(settings.public_url or "")
    hosts = frozenset({*settings.http.allowed_hosts, *([public.hostname] if public.hostname else [])})
    origins = frozenset({f"{public.scheme}://{public.netloc}"} if public.netloc else ())
    guard = Guard(
        GuardSettings(
            hosts=hosts,
            origins=origins,
            origin_required=False,
            limits=Limits(body_bytes=max(ASSETS_BODY_BYTES, PHOTO_BODY_BYTES)),
            refused=_refusal_counter(core.metrics, "api"),
        )
    )
    http = settings.http
    return HttpServer("api", app, guard=guard, host=http.host, port=http.port, ssl_context=_staff_tls(settings))


def _vitals(server: FleetServer) -> Vitals:
    core, data = server.core, server.parts.data
    is_connected = None if data is None or Role.INGEST not in server.roles else data.is_connected
    parts = core.settings, core.installation, core.database, core.directory, core.clock, core.metrics
    return Vitals(VitalParts(*parts, is_connected))


def _kiosk_server(core: Core, enrolment: EnrolmentService) -> HttpServer:
    app = web.Application()
    hooks: Hooks[KioskPrincipal] = Hooks(
        authenticate=KioskAuthentication(enrolment).authenticate,
        translate=translate,
        observe=_observer(core.metrics),
    )
    Api("Kiosk API", "1", kiosk_routes(enrolment, core.clock), hooks).mount(app)
    guard = Guard(
        GuardSettings(
            hosts=frozenset(core.installation.server_names()),
            origin_required=False,
            limits=Limits(body_bytes=ENROL_BODY_BYTES),
            refused=_refusal_counter(core.metrics, "kiosk-api"),
        )
    )
    settings = core.settings.kiosk_api
    return HttpServer(
        "kiosk-api", app, guard=guard, host=settings.host, port=settings.port, ssl_context=_kiosk_tls(core.installation)
    )


def _kiosk_tls(installation: Installation) -> ssl.SSLContext:
    """TLS 1.3 with our CA; a client certificate is asked for, not required: strangers come to enrol."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(installation.server.certificate_file, installation.server.key_file)
        context.load_verify_locations(installation.ca_file)
    except OSError as error:
        raise SetupError(f"the server's certificate in {installation.pki_dir} cannot be used: {error}") from error
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _staff_tls(settings: Settings) -> ssl.SSLContext | None:
    certificate_file, key_file = settings.http.certificate_file, settings.http.key_file
    if certificate_file is None or key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate_file, key_file)
    except OSError as error:
        raise SetupError(f"the certificate {certificate_file} cannot be used: {error}") from error
    return context


def translate(error: Exception) -> Problem | None:
    """Refusals of the features as problems."""
    if isinstance(error, Refusal):
        return Problem(error.status, error.code, error.message)
    if isinstance(error, StoreBusy):
        return Problem(503, "store_busy", "The store is busy, try again", headers={"Retry-After": "1"})
    return None


def _health_routes(roles: frozenset[Role]) -> Routes:
    routes = Routes("health")

    @routes.get("/api/v1/health", permission=None, summary="Whether this process serves")
    async def health(call: Call) -> Health:  # noqa: ARG001 - every handler has the same first argument
        return Health(status="ok", version=__version__, roles=sorted(roles))

    return routes


def _observer(metrics: Metrics) -> Callable[[str, int, float], None]:
    def observe(operation: str, status: int, seconds: float) -> None:
        metrics.counter("fleet_http_requests_total", operation=operation, status=str(status)).inc()
        metrics.histogram("fleet_http_request_seconds", operation=operation).observe(seconds)

    return observe


def _refusal_counter(metrics: Metrics, server: str) -> Callable[[str], None]:
    def count(reason: str) -> None:
        metrics.counter("fleet_http_refused_total", server=server, reason=reason).inc()

    return count


def openapi_document(settings: Settings, clock: Clock) -> dict[str, Any]:  # Any: a JSON document
    """The OpenAPI document of the staff API; nothing of the installation is needed or touched."""
    authority = CertificateAuthority.create(clock.utc())
    return staff_api(FleetServer(settings, frozenset({Role.API}), clock, authority=authority)).openapi()
