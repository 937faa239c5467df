"""Our configuration in a real Mosquitto: who gets in, what a kiosk may say, and how a connection is ended."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fleet_server.errors import BrokerError
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.broker_conf import access_list, broker_conf
from fleet_server.registry.directory import Directory
from fleet_server.registry.enforcement import RevocationDuty
from fleet_server.registry.installation import worker_names
from fleet_server.registry.pki import CertificateAuthority, KeyPair, read_revocations
from fleet_server.registry.provisioning import lab_identities
from fleet_server.registry.service import RegistryService, Statuses
from fleet_server.registry.store import RegistryStore
from kit.clock import SystemClock
from kit.mqtt import MqttClient, MqttSettings, NotConnected, PublishRefused
from kit.store import Database
from support.ports import free_port
from support.registry import FakeAuditor, Site
from support.waiting import wait_for
from wire.envelope import MESSAGE_LIMIT_BYTES
from wire.topics import SERVER_STATE, Channel, every_kiosk, topic

pytestmark = pytest.mark.timeout(30)
CLOCK = SystemClock()
DAY = timedelta(days=1)
NOT_AUTHORIZED = 0x87
CONNACK = b"\x20"
UP = [channel for channel in Channel if channel.value.startswith("up/")]
DOWN = [channel for channel in Channel if channel.value.startswith("down/")]


@pytest.fixture
async def ids(site: Site, tmp_path: Path) -> Path:
    """Two enrolled kiosks; the folder with their certificates."""
    await lab_identities(site.settings, site.authority, CLOCK, ["zzj-001", "zzj-002"], tmp_path / "ids")
    return tmp_path / "ids"


def settings_of(site: Site, name: str, certificate_file: Path, key_file: Path, **more: object) -> MqttSettings:
    return MqttSettings.model_validate(
        {
            "host": "127.0.0.1",
            "port": site.settings.broker.port,
            "client_id": name,
            "ca_file": site.installation.ca_file,
            "cert_file": certificate_file,
            "key_file": key_file,
            "retry_base_s": 0.05,
            "retry_cap_s": 0.2,
            **more,
        }
    )


@asynccontextmanager
async def running(settings: MqttSettings, *filters: str) -> AsyncIterator[MqttClient]:
    """A client that is connected and subscribed."""
    client = MqttClient(settings, clock=CLOCK, subscriptions=[(name, 1) for name in filters])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.run(), name=settings.client_id)
        await wait_for(lambda: client.is_connected, timeout_s=10.0, what=f"{settings.client_id} to connect")
        yield client
        await client.close()
        task.cancel()


def kiosk(site: Site, ids: Path, kid: str, **more: object) -> MqttSettings:
    return settings_of(site, kid, ids / kid / "cert.pem", ids / kid / "key.pem", **more)


def worker(site: Site) -> MqttSettings:
    identity = site.installation.worker(worker_names(site.settings.worker)[0])
    return settings_of(site, identity.name, identity.certificate_file, identity.key_file)


async def knock(port: int, context: ssl.SSLContext | None) -> bytes:
    """Connect, send an MQTT 5 CONNECT, and return what comes back."""
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        writer.write(bytes.fromhex("101500044d5154540502003c000008") + b"attacker")
        await writer.drain()
        async with asyncio.timeout(5):
            return await reader.read(4)
    finally:
        writer.transport.abort()


def context_of(site: Site, pem: str | None = None, key: bytes = b"", folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=site.authority.pem)
    if pem is not None and folder is not None:
        (folder / "c.pem").write_text(pem)
        (folder / "c.key").write_bytes(key)
        context.load_cert_chain(folder / "c.pem", folder / "c.key")
    return context


# -- the configuration itself ----------------------------------------------------------------------------------


async def test_mosquitto_accepts_every_line(site: Site) -> None:
    log = site.broker.log()
    assert "Error" not in log
    warnings = [line for line in log.splitlines() if "Warning" in line]
    assert all("server/state" in line for line in warnings), warnings


async def test_a_second_reading_changes_nothing(site: Site, ids: Path) -> None:
    """The patterns must still hold after SIGHUP."""
    site.broker.reload()
    await wait_for(lambda: site.broker.log().count("server/state") > 1, what="the broker to reload")
    assert "Error" not in site.broker.log()
    async with running(kiosk(site, ids, "zzj-001")) as client:
        await client.publish(topic("zzj-001", Channel.LOG), b"fine")
        with pytest.raises(PublishRefused):
            await client.publish(topic("zzj-002", Channel.LOG), b"evil")


def test_the_plan_decides_address_account_and_limits(site_plan_text: str) -> None:
    lines = site_plan_text.splitlines()
    assert "listener 8883 10.0.0.5" in lines
    assert "user broker" in lines
    assert "tls_version tlsv1.3" in lines
    assert lines.count("require_certificate true") == 1
    assert "allow_anonymous false" in lines
    assert [line for line in lines if line.startswith("listener")] == ["listener 8883 10.0.0.5"]


@pytest.fixture
def site_plan_text(tmp_path: Path) -> str:
    from fleet_server.registry.broker_conf import BrokerPlan  # noqa: PLC0415 - used once

    return broker_conf(BrokerPlan(tmp_path, 8_883, "10.0.0.5", "broker", 100, tmp_path / "pid"))


def test_the_access_list_names_every_worker_once_and_no_kiosk() -> None:
    text = access_list(["fleet-b", "fleet-a", "fleet-a"])
    assert [line for line in text.splitlines() if line.startswith("user")] == ["user fleet-a", "user fleet-b"]
    assert "pattern write kiosk/v1/%u/up/log" in text
    assert "#" not in "".join(line for line in text.splitlines() if line.startswith("pattern"))


# -- who gets in -----------------------------------------------------------------------------------------------


async def test_plaintext_is_not_answered(site: Site) -> None:
    try:
        answer = await knock(site.settings.broker.port, None)
    except ConnectionError:
        answer = b""
    assert not answer.startswith(CONNACK)


async def test_older_tls_is_refused(site: Site, ids: Path) -> None:
    context = context_of(site)
    context.load_cert_chain(ids / "zzj-001" / "cert.pem", ids / "zzj-001" / "key.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        await knock(site.settings.broker.port, context)


async def test_wrong_certificates_never_get_an_answer(site: Site, tmp_path: Path) -> None:
    now = CLOCK.utc()
    pair = KeyPair()

    def minted(authority: CertificateAuthority, at: datetime) -> ssl.SSLContext:
        leaf, key = authority.mint("zzj-001", now=at, life=DAY)
        return context_of(site, leaf.pem, key, tmp_path)

    as_server = site.authority.issue_server(["zzj-001"], pair.public_key, now=now, life=DAY)
    wrong = {
        "none": context_of(site),
        "foreign": minted(CertificateAuthority.create(now), now),
        "expired": minted(site.authority, now - 3 * DAY),
        "server's": context_of(site, as_server.pem, pair.pem, tmp_path),
    }
    for kind, context in wrong.items():
        try:
            answer = await knock(site.settings.broker.port, context)
        except (ssl.SSLError, ConnectionError):
            answer = b""
        assert answer == b"", kind


# -- what a kiosk may say and hear -----------------------------------------------------------------------------


@pytest.mark.parametrize("channel", UP)
async def test_a_kiosk_writes_its_own_topics(site: Site, ids: Path, channel: Channel) -> None:
    async with running(worker(site), every_kiosk(channel)) as server, running(kiosk(site, ids, "zzj-001")) as client:
        await client.publish(topic("zzj-001", channel), b"hello")
        [message] = await server.messages()
        assert message.topic == topic("zzj-001", channel)


@pytest.mark.parametrize(
    "name",
    [
        topic("zzj-002", Channel.LOG),
        topic("zzj-002", Channel.PRESENCE),
        topic("zzj-002", Channel.COMMAND),
        topic("zzj-001", Channel.COMMAND),
        topic("zzj-001", Channel.RECEIPT),
        "kiosk/v1/zzj-001/up/anything",
        "kiosk/v1/zzj-001/up/log/more",
        "kiosk/v1/zzj-001",
        SERVER_STATE,
        "elsewhere",
        "$SYS/broker/version",
    ],
)
async def test_a_kiosk_writes_nothing_else(site: Site, ids: Path, name: str) -> None:
    """What counts is what others receive; MQTT 5 also tells the sender."""
    async with running(worker(site), "kiosk/v1/#") as server, running(kiosk(site, ids, "zzj-002"), "#") as victim:
        async with running(kiosk(site, ids, "zzj-001")) as attacker:
            with pytest.raises(PublishRefused) as refused:
                await attacker.publish(name, b"evil", retain=True)
            assert refused.value.reason_code == NOT_AUTHORIZED
            await attacker.publish(topic("zzj-001", Channel.LOG), b"fine")
            [message] = await server.messages()
            assert (message.topic, message.payload) == (topic("zzj-001", Channel.LOG), b"fine")
        assert victim.backlog == 0


async def test_a_kiosk_hears_what_is_for_it_and_nothing_else(site: Site, ids: Path) -> None:
    spied = ("#", "kiosk/v1/+/down/#", "kiosk/v1/zzj-002/#", "$SYS/#", "$share/x/kiosk/v1/#")
    heard: list[tuple[str, bytes]] = []

    async with (
        running(kiosk(site, ids, "zzj-001"), *spied) as spy,
        running(kiosk(site, ids, "zzj-002")) as other,
        running(worker(site)) as server,
    ):
        for channel in DOWN:
            await server.publish(topic("zzj-002", channel), b"secret")
        await other.publish(topic("zzj-002", Channel.LOG), b"secret")
        await server.publish(topic("zzj-001", Channel.COMMAND), b"mine")
        await server.publish(SERVER_STATE, b"state", retain=True)

        async def state_came() -> bool:
            heard.extend((message.topic, message.payload) for message in await spy.messages())
            return (SERVER_STATE, b"state") in heard

        await wait_for(state_came, what="the state of the server")
    assert set(heard) == {(topic("zzj-001", Channel.COMMAND), b"mine"), (SERVER_STATE, b"state")}


async def test_nobody_takes_over_another_by_its_client_id(site: Site, ids: Path) -> None:
    lost: list[str] = []
    victim_settings = kiosk(site, ids, "zzj-002")
    victim = MqttClient(victim_settings, clock=CLOCK, on_disconnected=lambda _, reason: lost.append(reason))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(victim.run(), name="victim")
        await wait_for(lambda: victim.is_connected, timeout_s=10.0)
        own = kiosk(site, ids, "zzj-001")
        async with running(own.model_copy(update={"client_id": "zzj-002"})) as attacker:
            with pytest.raises(PublishRefused):
                await attacker.publish(topic("zzj-002", Channel.PRESENCE), b"evil")
            await victim.publish(topic("zzj-002", Channel.LIVE), b"still here")
        assert not lost
        await victim.close()
        task.cancel()


async def test_a_payload_over_the_limit_does_not_pass(site: Site, ids: Path) -> None:
    async with running(worker(site), every_kiosk(Channel.LOG)) as server:
        async with running(kiosk(site, ids, "zzj-001")) as client:
            await client.publish(topic("zzj-001", Channel.LOG), b"x" * MESSAGE_LIMIT_BYTES)
            with pytest.raises((PublishRefused, NotConnected)):
                await client.publish(topic("zzj-001", Channel.LOG), b"x" * (MESSAGE_LIMIT_BYTES + 1))
        [message] = await server.messages()
        assert len(message.payload) == MESSAGE_LIMIT_BYTES


# -- revocation ------------------------------------------------------------------------------------------------


@pytest.fixture
async def duty(site: Site, sqlite_fleet_db: Database) -> RevocationDuty:
    """The duty that enforces revocations on the site's broker."""
    return RevocationDuty(
        RegistryStore(sqlite_fleet_db), BrokerControl(site.installation, site.authority, CLOCK), CLOCK
    )


@pytest.fixture
async def registry(sqlite_fleet_db: Database) -> RegistryService:
    """The registry of the site."""
    store = RegistryStore(sqlite_fleet_db)
    return RegistryService(store, Directory(store), CLOCK, auditor=FakeAuditor(), statuses=Statuses())


async def test_revocation_ends_a_live_connection_for_good(
    site: Site, ids: Path, duty: RevocationDuty, registry: RegistryService
) -> None:
    ended: list[str] = []
    revoked = MqttClient(
        kiosk(site, ids, "zzj-001"), clock=CLOCK, on_disconnected=lambda _, reason: ended.append(reason)
    )
    async with (
        running(worker(site), every_kiosk(Channel.LIVE)) as server,
        running(kiosk(site, ids, "zzj-002")) as other,
        asyncio.TaskGroup() as group,
    ):
        task = group.create_task(revoked.run(), name="revoked")
        await wait_for(lambda: revoked.is_connected, timeout_s=10.0)
        await registry.revoke("zzj-001", "stolen", actor="lead")
        started_s = CLOCK.monotonic()
        assert await duty.enforce() == ["zzj-001"]
        await wait_for(lambda: ended, timeout_s=10.0, what="the connection to end")
        assert CLOCK.monotonic() - started_s < 60
        await wait_for(lambda: "certificate" in (revoked.last_error or ""), timeout_s=10.0, what="a refused retry")
        assert not revoked.is_connected
        await other.publish(topic("zzj-002", Channel.LIVE), b"unharmed")
        [message] = await server.messages()
        assert message.payload == b"unharmed"
        await revoked.close()
        task.cancel()
    assert await duty.enforce() == []


def named(site: Site) -> set[str]:
    """The certificates on the list, without probes."""
    found = read_revocations(site.installation.crl_file.read_bytes())
    return {item.serial for item in found if not item.is_probe}


async def test_a_revoked_certificate_stays_revoked_after_the_next_list(
    site: Site, ids: Path, duty: RevocationDuty, registry: RegistryService
) -> None:
    await registry.revoke("zzj-001", "stolen", actor="lead")
    await duty.enforce()
    first = named(site)
    await registry.revoke("zzj-002", "stolen too", actor="lead")
    await duty.enforce()
    assert len(first) == 1
    assert first < named(site)
    assert len(named(site)) == 2
    assert len(site.crl_serials) == 4  # and the probes of the last minute


async def test_a_broker_that_is_away_gets_the_revocation_when_it_is_back(
    site: Site, ids: Path, duty: RevocationDuty, registry: RegistryService
) -> None:
    site.broker.stop()
    await registry.revoke("zzj-001", "stolen", actor="lead")
    with pytest.raises(BrokerError):
        await duty.enforce()
    await site.broker.start()
    assert await duty.enforce() == ["zzj-001"]


async def test_a_broker_that_does_not_reload_is_not_believed(
    site: Site, ids: Path, sqlite_fleet_db: Database, registry: RegistryService
) -> None:
    """The command says it worked; the canary says otherwise."""
    broker = site.settings.broker.model_copy(update={"reload_command": ("/bin/true",)})
    site.installation.settings = site.settings.model_copy(update={"broker": broker})
    control = BrokerControl(site.installation, site.authority, CLOCK, reload_timeout_s=1.0)
    await registry.revoke("zzj-001", "stolen", actor="lead")
    with pytest.raises(BrokerError, match="still accepts"):
        await RevocationDuty(RegistryStore(sqlite_fleet_db), control, CLOCK).enforce()
    assert [item.kid for item in await RegistryStore(sqlite_fleet_db).unenforced()] == ["zzj-001"]


@pytest.mark.parametrize(("command", "text"), [(("/bin/false",), "exit code 1"), (("/nonexistent",), "cannot be run")])
async def test_a_reload_command_that_fails_is_named(site: Site, command: tuple[str, ...], text: str) -> None:
    broker = site.settings.broker.model_copy(update={"reload_command": command})
    site.installation.settings = site.settings.model_copy(update={"broker": broker})
    with pytest.raises(BrokerError, match=text):
        await BrokerControl(site.installation, site.authority, CLOCK).reload()


async def test_nobody_to_kick_is_no_error_and_no_broker_is(site: Site, ids: Path) -> None:
    await BrokerControl(site.installation, site.authority, CLOCK).kick("zzj-001")
    broker = site.settings.broker.model_copy(update={"port": free_port()})
    site.installation.settings = site.settings.model_copy(update={"broker": broker})
    with pytest.raises(BrokerError, match="not there"):
        await BrokerControl(site.installation, site.authority, CLOCK).put_revocations_in_force([])
