"""The composition root: the only place of the patient platform that constructs."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.metrics import CONTENT_TYPE, Kind, Metrics, MetricSpec
from kit.store import Database, StoreBusy, StoreOptions, Synchronous, revisions
from kit.supervise import SdNotifier, Service, Supervised, serve
from kit.web import Api, Call, Guard, GuardSettings, Hooks, HttpServer, Problem, Routes
from patient_platform.audit.service import AuditTrail
from patient_platform.audit.store import AuditStore
from patient_platform.bills.routes import bill_routes
from patient_platform.bills.service import Bills
from patient_platform.contract import check_contract
from patient_platform.errors import Refusal, SetupError
from patient_platform.his.client import HisClient, Wire
from patient_platform.his.health import HisHealth
from patient_platform.his.rest import RestWire
from patient_platform.his.soap import SoapWire
from patient_platform.identity.access import KioskAuthentication, KioskPrincipal, RevocationList
from patient_platform.identity.routes import session_routes
from patient_platform.identity.service import Identity
from patient_platform.identity.store import IdentityStore
from patient_platform.identity.vault import Vault, open_vault
from patient_platform.kiosk import Desk, kiosk_routes
from patient_platform.payment.channels.alipay import Alipay, App
from patient_platform.payment.channels.breaker import Breaker, CallOutcome
from patient_platform.payment.channels.certificates import CertificateWatch
from patient_platform.payment.channels.notify import notify_handlers, v3_of
from patient_platform.payment.channels.wechat_signing import WechatKeys, private_key, public_key
from patient_platform.payment.channels.wechat_v2 import WechatV2
from patient_platform.payment.channels.wechat_v3 import Merchant, WechatV3
from patient_platform.payment.driver import Driver
from patient_platform.payment.model import ChannelName, Order, Posting
from patient_platform.payment.ports import Channel
from patient_platform.payment.posting import HisPoster
from patient_platform.payment.pressing import METRICS as PRESSING_METRICS
from patient_platform.payment.pressing import show
from patient_platform.payment.routes import Paper, order_routes, paper_routes
from patient_platform.payment.service import Payments
from patient_platform.payment.store import SqlOrderStore
from patient_platform.reconciliation.figures import METRICS as RECONCILIATION_METRICS
from patient_platform.reconciliation.figures import show as show_reconciliation
from patient_platform.reconciliation.service import Reconciliation
from patient_platform.reconciliation.store import ReconciliationStore
from patient_platform.registration.routes import registration_routes
from patient_platform.registration.service import Parts as RegistrationParts
from patient_platform.registration.service import Registration
from patient_platform.registration.store import LockStore
from patient_platform.settings import AlipaySettings, CodeApi, HisStyle, Settings, WechatSettings
from wire import __version__

MIGRATIONS: Final = "patient_platform:migrations"
METRICS: Final = (
    MetricSpec("patient_http_requests_total", Kind.COUNTER, "answers by operation and status", ("operation", "status")),
    MetricSpec("patient_http_request_seconds", Kind.HISTOGRAM, "time to answer", ("operation",)),
    MetricSpec("patient_orders_total", Kind.COUNTER, "orders by what became of them", ("business", "outcome")),
    MetricSpec("patient_channel_open", Kind.GAUGE, "1 while a channel takes new payments", ("channel",)),
    MetricSpec("patient_channel_calls_total", Kind.COUNTER, "submissions and queries", ("channel", "outcome")),
    MetricSpec("patient_channel_skew_seconds", Kind.GAUGE, "a channel's clock ahead of ours", ("channel",)),
    MetricSpec("patient_certificate_left_days", Kind.GAUGE, "until a certificate runs out", ("certificate",)),
    MetricSpec("patient_his_up", Kind.GAUGE, "1 while the HIS answers"),
    *PRESSING_METRICS,
    *RECONCILIATION_METRICS,
)
_OUTCOMES: Final = frozenset({Posting.POSTED, Posting.REJECTED, Posting.MANUAL})
log = get_logger(__name__)


class Health(BaseModel):
    """Whether this process serves."""

    status: str
    version: str


@dataclass(slots=True)
class Platform:
    """Everything, built and not started."""

    settings: Settings
    clock: Clock
    database: Database
    vault: Vault
    health: HisHealth
    his: HisClient
    channels: dict[ChannelName, Breaker]
    raw: dict[ChannelName, Channel]
    orders: SqlOrderStore
    driver: Driver
    payments: Payments
    identity: Identity
    bills: Bills
    registration: Registration
    reconciliation: Reconciliation
    audit: AuditTrail
    certificates: CertificateWatch
    metrics: Metrics
    http: aiohttp.ClientSession

    @property
    def desk(self) -> Desk:
        """What kiosks ask across features."""
        return Desk(
            self.identity,
            self.bills,
            self.registration,
            self.health,
            self.channels,
            self.clock,
            self.settings.hospital,
            self.settings.campus,
        )


def build(settings: Settings, clock: Clock, http: aiohttp.ClientSession) -> Platform:
    """Construct everything; reads key files, connects to nothing.

    Raises:
        SetupError: a key file cannot be used.
    """
    database = Database(settings.store_url, StoreOptions(synchronous=Synchronous.FULL))  # money: an answer is a promise
    vault = open_vault(settings.data_dir / "keys.json")
    wire = _his_wire(settings, http)
    health = HisHealth(wire, settings.campus)
    his = HisClient(health, settings.campus)
    raw = _channels(settings, http, clock)
    metrics = Metrics(METRICS)
    channels = {name: Breaker(channel, clock, _call_counter(metrics, name)) for name, channel in raw.items()}
    orders = SqlOrderStore(database)
    holder = f"{settings.worker}@{socket.gethostname()}:{os.getpid()}:{ulid(clock)[-6:]}"
    observer = _Observers(metrics)
    poster = HisPoster(his, clock, server_timeout_s=settings.his.server_timeout_s)
    driver = Driver(orders, channels, poster, clock, holder[:80], observer)
    payments = Payments(orders, driver, clock, at_once=settings.payment.payments_at_once)
    observer.payments = payments
    audit = AuditTrail(AuditStore(database), clock)
    identity = Identity(IdentityStore(database, vault), his, clock, audit.identified)
    life_s = settings.payment.order_life_s
    bills = Bills(his, identity, payments, vault, order_life_s=life_s)
    parts = RegistrationParts(his, identity, payments, LockStore(database), vault, clock)
    registration = Registration(parts, order_life_s=life_s)
    reconciliation = Reconciliation(database, ReconciliationStore(database), raw, his, clock)
    return Platform(
        settings,
        clock,
        database,
        vault,
        health,
        his,
        channels,
        raw,
        orders,
        driver,
        payments,
        identity,
        bills,
        registration,
        reconciliation,
        audit,
        CertificateWatch(certificate_files(settings), clock),
        metrics,
        http,
    )


async def run(settings: Settings, clock: Clock, *, notifier: SdNotifier | None = None) -> None:
    """Serve until stopped.

    Raises:
        SetupError: the schema is older than this program, or a key or certificate cannot be used.
        ExceptionGroup: a part that everything depends on failed.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(client_session())
        platform = await asyncio.to_thread(build, settings, clock, http)
        stack.push_async_callback(platform.database.close)
        await require_schema(settings.store_url)
        services = await asyncio.to_thread(services_of, platform)
        if notifier is not None:
            notifier.ready()
        await serve(services, notifier=notifier)


def client_session() -> aiohttp.ClientSession:
    """One pool of connections to all outside systems; every call sets its own limits."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=200, limit_per_host=50),
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=3.0),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def require_schema(database_url: str) -> None:
    """Go on only with a migrated store.

    Raises:
        SetupError: `patient-platform migrate` has to run first.
    """
    current, newest = await revisions(database_url, MIGRATIONS)
    if current != newest:
        raise SetupError(
            f"the store is at revision {current}, this program needs {newest}: run `patient-platform migrate`"
        )


def services_of(platform: Platform) -> list[Service]:
    """What runs in the process; everything but the HTTP servers is started again when it fails."""
    return [
        Supervised(platform.payments.name, platform.payments.run),
        Supervised(platform.health.name, platform.health.run),
        Supervised(platform.certificates.name, platform.certificates.run),
        kiosk_server(platform),
        notify_server(platform),
    ]


# --- the HTTP servers -----------------------------------------------------------------------------------------


def kiosk_api(
    platform: Platform, authenticate: Callable[[web.Request], Awaitable[KioskPrincipal | None]]
) -> Api[KioskPrincipal]:
    """The kiosks' API; also the source of the OpenAPI document."""
    paper = Paper(platform.identity, platform.vault, platform.settings.hospital, platform.settings.campus)
    routes = [
        _health_routes(),
        kiosk_routes(platform.desk),
        session_routes(platform.identity),
        bill_routes(platform.bills, platform.identity),
        registration_routes(platform.registration, platform.identity),
        order_routes(platform.payments),
        paper_routes(platform.payments, paper),
    ]

    async def admitted(request: web.Request) -> KioskPrincipal | None:
        check_contract(request)
        return await authenticate(request)

    hooks: Hooks[KioskPrincipal] = Hooks(
        authenticate=admitted,
        audit=platform.audit.operation,
        translate=translate,
        observe=_observer(platform.metrics),
    )
    return Api("Patient platform, for kiosks", "1", routes, hooks)


def kiosk_server(platform: Platform) -> HttpServer:
    """TLS 1.3 with client certificates of the fleet's authority, and nothing without one."""
    settings = platform.settings.kiosk_api
    revoked = RevocationList(settings.client_crl_file, platform.clock)
    app = web.Application()
    kiosk_api(platform, KioskAuthentication(revoked).authenticate).mount(app)
    guard = Guard(GuardSettings(hosts=frozenset(settings.names), origin_required=False))
    return HttpServer(
        "kiosk-api", app, guard=guard, host=settings.host, port=settings.port, ssl_context=_kiosk_tls(platform.settings)
    )


def notify_server(platform: Platform) -> HttpServer:
    """What the channels send us, handed over by the relay; and `/metrics`."""
    settings = platform.settings.notify
    app = web.Application()
    notify_handlers(platform.payments, platform.raw).mount(app)
    app.router.add_get("/metrics", _metrics_handler(platform))
    host = urlsplit(settings.public_url).hostname or "localhost"
    guard = Guard(
        GuardSettings(
            hosts=frozenset({host, settings.host, "localhost", "127.0.0.1"}),
            origin_required=False,
            body_types=frozenset({"application/json", "application/x-www-form-urlencoded"}),
        )
    )
    return HttpServer("notify", app, guard=guard, host=settings.host, port=settings.port)


def _kiosk_tls(settings: Settings) -> ssl.SSLContext:
    files = settings.kiosk_api
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(files.certificate_file, files.key_file)
        context.load_verify_locations(files.client_ca_file)
    except OSError as error:
        raise SetupError(f"the certificates of the kiosk API cannot be used: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def translate(error: Exception) -> Problem | None:
    """Refusals of the features as problems."""
    if isinstance(error, Refusal):
        return Problem(error.status, error.code, error.message)
    if isinstance(error, StoreBusy) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return Problem(503, "store_busy", "The store is busy, try again", headers={"Retry-After": "1"})
    return None


def _health_routes() -> Routes:
    routes = Routes("health")

    @routes.get("/platform/v1/health", permission=None, summary="Whether this process serves")
    async def health(call: Call[KioskPrincipal]) -> Health:  # noqa: ARG001 - every handler has the same first argument
        return Health(status="ok", version=__version__)

    return routes


def _metrics_handler(platform: Platform) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def metrics(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        platform.metrics.gauge("patient_his_up").set(platform.health.is_up)
        now = platform.clock.utc()
        show(platform.metrics, await platform.orders.pressing(now), now)
        show_reconciliation(platform.metrics, await platform.reconciliation.newest())
        for name, breaker in platform.channels.items():
            platform.metrics.gauge("patient_channel_open", channel=name.value).set(breaker.is_open_for_business)
        wechat = v3_of(platform.raw)
        if wechat is not None:
            platform.metrics.gauge("patient_channel_skew_seconds", channel=wechat.name.value).set(wechat.skew_s)
        for term in platform.certificates.terms:
            if term.left_days is not None:
                platform.metrics.gauge("patient_certificate_left_days", certificate=term.name).set(term.left_days)
        body = await asyncio.to_thread(platform.metrics.render)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    return metrics


def _observer(metrics: Metrics) -> Callable[[str, int, float], None]:
    def observe(operation: str, status: int, seconds: float) -> None:
        metrics.counter("patient_http_requests_total", operation=operation, status=str(status)).inc()
        metrics.histogram("patient_http_request_seconds", operation=operation).observe(seconds)

    return observe


# --- outside systems ------------------------------------------------------------------------------------------


def _his_wire(settings: Settings, http: aiohttp.ClientSession) -> Wire:
    his = settings.his
    token = "" if his.token_file is None else his.token_file.read()
    kind: type[RestWire | SoapWire] = RestWire if his.style is HisStyle.REST else SoapWire
    return kind(http, his.url, token, timeout_s=his.timeout_s, concurrency=his.concurrency)


def _channels(settings: Settings, http: aiohttp.ClientSession, clock: Clock) -> dict[ChannelName, Channel]:
    found: dict[ChannelName, Channel] = {}
    if settings.wechat is not None:
        found[ChannelName.WECHAT] = _wechat(settings.wechat, settings.notify.public_url, http, clock)
    if settings.alipay is not None:
        found[ChannelName.ALIPAY] = _alipay(settings.alipay, settings.notify.public_url, http, clock)
    return found


def _wechat(settings: WechatSettings, notify_url: str, http: aiohttp.ClientSession, clock: Clock) -> Channel:
    keys = WechatKeys(
        settings.mchid,
        settings.merchant_serial,
        private_key(settings.merchant_key_file.read()),
        {serial: public_key(path.read_bytes()) for serial, path in settings.platform_keys.items()},
        settings.apiv3_key_file.read().encode(),
    )
    merchant = Merchant(
        settings.base_url.rstrip("/"),
        settings.appid,
        keys,
        f"{notify_url}/notify/wechat",
        settings.timeout_s,
        settings.calls_per_s,
    )
    channel = WechatV3(http, merchant, clock)
    if settings.code_api is CodeApi.V3:
        return channel
    return WechatV2.of(settings, http, channel, clock)


def certificate_files(settings: Settings) -> dict[str, Path]:
    """What runs out one day, by the name it has in the log."""
    files = {"kiosk_api": settings.kiosk_api.certificate_file}
    wechat = settings.wechat
    if wechat is not None:
        files |= {f"wechat_platform_{serial}": path for serial, path in wechat.platform_keys.items()}
        named = {"wechat_merchant": wechat.merchant_certificate_file, "wechat_client": wechat.client_certificate_file}
        files |= {name: path for name, path in named.items() if path is not None}
    return files


def _alipay(settings: AlipaySettings, notify_url: str, http: aiohttp.ClientSession, clock: Clock) -> Channel:
    app = App(
        settings.gateway_url,
        settings.app_id,
        private_key(settings.app_key_file.read()),
        public_key(settings.alipay_key_file.read_bytes()),
        f"{notify_url}/notify/alipay",
        settings.seller_id,
        settings.timeout_s,
    )
    return Alipay(http, app, clock)


def _call_counter(metrics: Metrics, channel: ChannelName) -> Callable[[CallOutcome], None]:
    counters = {
        outcome: metrics.counter("patient_channel_calls_total", channel=channel.value, outcome=outcome.value)
        for outcome in CallOutcome  # all are there from the start: a rate needs a zero to rise from
    }

    def count(outcome: CallOutcome) -> None:
        counters[outcome].inc()

    return count


class _Observers:
    """Tells payments and metrics of changes."""

    def __init__(self, metrics: Metrics) -> None:
        self.payments: Payments | None = None
        self._metrics = metrics

    def changed(self, before: Order, after: Order) -> None:
        """See `driver.Observer`."""
        if self.payments is not None:
            self.payments.changed(before, after)
        if before.posting is not after.posting and after.posting in _OUTCOMES:
            self._metrics.counter(
                "patient_orders_total", business=after.business.value, outcome=after.posting.value
            ).inc()


async def openapi_document(clock: Clock) -> dict[str, Any]:  # Any: a JSON document
    """The OpenAPI document of the kiosks' API; nothing of an installation is needed or kept."""

    async def nobody(request: web.Request) -> KioskPrincipal | None:  # noqa: ARG001 - aiohttp's signature
        return None

    with tempfile.TemporaryDirectory() as folder:
        async with client_session() as http:
            platform = build(Settings(data_dir=Path(folder)), clock, http)
            try:
                return kiosk_api(platform, nobody).openapi()
            finally:
                await platform.database.close()
