"""The whole uplink over mutual TLS: each wrong certificate on either side, and the way back (fault matrix F-16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from agent.errors import EnrolmentFailed
from agent.settings import BrokerSettings, FleetSettings, Settings
from agent.uplink.enrolment import Enrolment
from agent.uplink.identity import KEY, Identity, IdentityFacts, IdentityStore
from agent.uplink.outbox import Outbox, RunIdentity
from agent.uplink.pump import Pump
from agent.uplink.report import OutboxReporter
from agent.uplink.service import Uplink
from agent.uplink.session import About, Parts
from agent.uplink.session_numbers import SessionNumbers
from agent.uplink.upkeep import Upkeep
from kit.clock import ServerTime, SystemClock, ulid
from support.broker import BrokerProcess, give_to_broker
from support.fleet_peer import FleetPeer
from support.kiosk_outbox import SMALL
from support.pki import Identity as IssuedIdentity
from support.pki import Pki
from support.ports import free_port
from support.uplink_parts import QUICK, Description
from support.waiting import wait_for
from wire.device_api import LinkState
from wire.enrolment import (
    BrokerAddress,
    EnrolmentRequest,
    EnrolmentState,
    EnrolmentStatus,
    EnrolmentTicket,
    RenewalAnswer,
    RenewalRequest,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(30)]

CONF = """
per_listener_settings true
listener {port} 127.0.0.1
cafile {data_dir}/ca.pem
crlfile {data_dir}/crl.pem
certfile {data_dir}/NAME.pem
keyfile {data_dir}/NAME.key
require_certificate true
use_identity_as_username true
use_username_as_clientid true
tls_version tlsv1.3
allow_anonymous false
listener PLAIN 127.0.0.1
allow_anonymous true
log_dest stderr
"""


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.new()


class Unreachable:
    """A fleet server nobody answers for, unless the test gives it a certificate to hand out."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock
        self.asked = 0

    async def request(self, request: EnrolmentRequest, ca_file: Path) -> EnrolmentTicket:
        assert request.serial
        assert ca_file.name
        self.asked += 1
        raise EnrolmentFailed("the server cannot be reached")

    async def status(self, ticket: EnrolmentTicket, ca_file: Path) -> EnrolmentStatus:
        assert ticket.request_id
        assert ca_file.name
        return EnrolmentStatus(state=EnrolmentState.PENDING)

    async def renew(self, request: RenewalRequest, identity: Identity) -> RenewalAnswer:
        assert request.csr
        assert identity.kid
        raise EnrolmentFailed("the server cannot be reached")


@dataclass(slots=True)
class Stage:
    """A broker with mutual TLS, a peer on its plain listener, and one kiosk."""

    broker: BrokerProcess
    peer: FleetPeer
    uplink: Uplink
    outbox: Outbox
    reporter: OutboxReporter
    fleet: Unreachable
    store: IdentityStore
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


def install(store: IdentityStore, pki: Pki, identity: IssuedIdentity, port: int) -> None:
    """Put a certificate in use the way enrolment does, without its checks."""
    now = SystemClock().utc()
    (store.make_pending() / KEY).write_bytes(identity.key_pem)
    facts = IdentityFacts(
        kid="kiosk-001",
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=300),
        broker=BrokerAddress(host="localhost", port=port),
    )
    store.install(identity.certificate_pem.decode(), pki.authority.pem.decode(), facts)


@asynccontextmanager
async def staged(directory: Path, pki: Pki, client: IssuedIdentity, server: str = "server") -> AsyncIterator[Stage]:
    plain = free_port()
    broker = BrokerProcess(conf=CONF.replace("PLAIN", str(plain)).replace("NAME", server), port=free_port())
    pki.write(broker.data_dir)
    give_to_broker(broker.data_dir)
    clock = SystemClock()
    server_time = ServerTime(clock)
    outbox = Outbox(SMALL, directory / "outbox", RunIdentity(ulid(clock), "h"), clock, server_time)
    await outbox.open()
    reporter = OutboxReporter(outbox)
    store = IdentityStore(directory / "identity")
    await asyncio.to_thread(install, store, pki, client, broker.port)
    fleet = Unreachable(clock)
    settings = Settings(
        data_dir=directory, serial="SN-1", fleet=FleetSettings(ca_file=directory / "ca.pem", retry_base_s=0.01)
    )
    enrolment = Enrolment(
        settings, store, fleet, reporter=reporter, clock=clock, server_time=server_time, agent_version="0.1.0"
    )
    parts = Parts(
        outbox,
        reporter,
        Pump(outbox, reporter, QUICK, clock),
        SessionNumbers(directory / "session", clock),
        server_time,
        Description(),
        About("0.1.0", clock.utc(), clock.monotonic()),
        clock,
        QUICK,
    )
    uplink = Uplink(parts, enrolment, BrokerSettings())
    async with broker, FleetPeer(plain) as peer:
        stage = Stage(broker, peer, uplink, outbox, reporter, fleet, store)
        loop = asyncio.get_running_loop()
        stage.tasks = [loop.create_task(uplink.run()), loop.create_task(Upkeep(outbox, reporter).run())]
        try:
            yield stage
        finally:
            for task in stage.tasks:
                task.cancel()
            await asyncio.wait(stage.tasks)
            await outbox.close()


async def until(stage: Stage, state: LinkState) -> None:
    await wait_for(lambda: stage.uplink.view().state is state, what=state.value, timeout_s=10.0)


async def test_a_right_certificate_connects_and_says_goodbye(tmp_path: Path, pki: Pki) -> None:
    async with staged(tmp_path, pki, pki.client) as stage:
        await until(stage, LinkState.CONNECTED)
        await stage.reporter.audit("engineer-1", "visit", "ok")
        await wait_for(lambda: [item for item in stage.peer.server.records if item.kind == "audit"], what="the record")
        view = stage.uplink.view()
        assert view.session > 0
        assert view.server_online
        peer = stage.peer
        for task in stage.tasks:
            task.cancel()
        await wait_for(lambda: peer.presence and not peer.presence[-1].online, what="goodbye")
        assert peer.presence[-1].reason == "shutdown"


@pytest.mark.parametrize("name", ["expired", "not_yet_valid", "foreign", "wrong_usage", "self_signed", "revoked"])
async def test_a_wrong_certificate_is_refused_and_the_kiosk_works_on(tmp_path: Path, pki: Pki, name: str) -> None:
    async with staged(tmp_path, pki, pki.identities()[name]) as stage:
        await until(stage, LinkState.REFUSED)
        assert stage.uplink.view().last_error
        await stage.reporter.audit("engineer-1", "visit", "ok")
        assert stage.outbox.depth().p0 >= 1
        assert stage.peer.presence == []
        assert stage.fleet.asked == 0, "a new identity is asked for by people only"
        assert not any(task.done() for task in stage.tasks)


@pytest.mark.parametrize("name", ["wrong_host", "client"])
async def test_a_broker_that_is_not_ours_gets_nothing(tmp_path: Path, pki: Pki, name: str) -> None:
    async with staged(tmp_path, pki, pki.client, server=name) as stage:
        await until(stage, LinkState.OFFLINE)
        assert "not trusted" in (stage.uplink.view().last_error or "")
        assert stage.peer.presence == []


async def test_the_next_certificate_is_used_at_the_next_connect(tmp_path: Path, pki: Pki) -> None:
    async with staged(tmp_path, pki, pki.expired) as stage:
        await until(stage, LinkState.REFUSED)
        await asyncio.to_thread(install, stage.store, pki, pki.client, stage.broker.port)
        await until(stage, LinkState.CONNECTED)


async def test_enrolment_is_asked_for_only_on_request_beside_the_identity_in_use(tmp_path: Path, pki: Pki) -> None:
    async with staged(tmp_path, pki, pki.client) as stage:
        await until(stage, LinkState.CONNECTED)
        stage.uplink.ask_for_enrolment()
        await wait_for(lambda: stage.fleet.asked > 0, what="a request")
        assert stage.uplink.view().state is LinkState.CONNECTED
        assert stage.uplink.enrolment().message
