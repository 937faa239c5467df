"""Mutual TLS against a real Mosquitto: who gets in, and what an engineer is told about who does not."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from kit.clock import SystemClock
from kit.mqtt import ClosedEarly, MqttClient, MqttError, MqttSettings, NotConnected, PublishRefused
from support.broker import BrokerProcess, give_to_broker
from support.mqtt import Peer, Quick, ScriptedBroker, connected, started, take
from support.pki import Pki
from support.ports import free_port
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(30)
CONF = """
listener {{port}} 127.0.0.1
allow_anonymous false
require_certificate true
use_identity_as_username true
cafile {folder}/ca.pem
crlfile {folder}/crl.pem
certfile {folder}/{server}.pem
keyfile {folder}/{server}.key
tls_version {version}
persistence false
log_dest stderr
"""


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.new()


@pytest.fixture
def folder(pki: Pki, service_dir: Path) -> Path:
    written = pki.write(service_dir / "pki")
    give_to_broker(written)
    return written


def broker_for(folder: Path, *, server: str = "server", version: str = "tlsv1.3") -> BrokerProcess:
    return BrokerProcess(conf=CONF.format(folder=folder, server=server, version=version))


@pytest.fixture
async def broker(folder: Path) -> AsyncIterator[BrokerProcess]:
    async with broker_for(folder) as process:
        yield process


def settings(folder: Path, port: int, identity: str | None = "client", **more: object) -> MqttSettings:
    pair = {} if identity is None else {"cert_file": folder / f"{identity}.pem", "key_file": folder / f"{identity}.key"}
    base = {"host": "localhost", "port": port, "client_id": "kiosk-001", "ca_file": folder / "ca.pem"}
    return MqttSettings.model_validate({**base, **pair, **more})


def client(own: MqttSettings, *filters: str) -> MqttClient:
    return MqttClient(own, clock=SystemClock(), subscriptions=[(name, 1) for name in filters], backoff=Quick())


async def failure_of(own: MqttSettings) -> MqttError:
    """Why the first attempt failed."""
    one = client(own)
    async with started(one):
        await wait_for(lambda: one.last_failure is not None, timeout_s=10)
        assert isinstance(one.last_failure, MqttError)
        assert str(one.last_failure) == one.last_error
        assert not one.is_connected
        return one.last_failure


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_right_certificate_connects(folder: Path, broker: BrokerProcess, host: str) -> None:
    one = client(settings(folder, broker.port, host=host), "a")
    async with connected(one):
        await one.publish("a", b"hello")
        assert [item.payload for item in await take(one, 1)] == [b"hello"]


async def test_large_and_many_messages_pass_through_tls(folder: Path, broker: BrokerProcess) -> None:
    one = client(settings(folder, broker.port), "a")
    large = bytes(range(256)) * 4_096
    async with connected(one):
        await one.publish("a", large)
        answers = [one.publish_soon("a", str(number).encode()) for number in range(2_000)]
        found = await take(one, 2_001, timeout_s=20)
        await wait_for(lambda: all(answer.done() for answer in answers))
    assert found[0].payload == large
    assert [int(item.payload) for item in found[1:]] == list(range(2_000))


async def test_it_comes_back_after_a_broker_restart(folder: Path, broker: BrokerProcess) -> None:
    one = client(settings(folder, broker.port))
    async with connected(one):
        broker.kill9()
        await wait_for(lambda: one.last_failure is not None)
        await broker.restart()
        await wait_for(lambda: one.is_connected, timeout_s=10)


REFUSED = {
    "expired": "certificate expired",
    "not_yet_valid": "bad certificate",
    "foreign": "decrypt error",
    "revoked": "certificate revoked",
    "wrong_usage": "unsupported certificate",
    "self_signed": "unknown ca",
}


@pytest.mark.parametrize("identity", REFUSED)
async def test_a_refused_certificate_is_told_with_the_brokers_reason(
    folder: Path, broker: BrokerProcess, identity: str
) -> None:
    failure = await failure_of(settings(folder, broker.port, identity))
    assert isinstance(failure, ClosedEarly)
    assert str(failure).startswith("the broker ended TLS before CONNACK, as it does with a refused certificate: ")
    assert str(failure).endswith(REFUSED[identity])


async def test_no_certificate_is_told(folder: Path, broker: BrokerProcess) -> None:
    failure = await failure_of(settings(folder, broker.port, None))
    assert isinstance(failure, ClosedEarly)
    assert str(failure).endswith("certificate required")


def server_side(folder: Path, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.maximum_version = newest
    return context


async def test_a_broker_that_closes_without_an_alert_may_have_refused_the_certificate(folder: Path) -> None:
    async def hang_up(_peer: Peer) -> None:
        return

    async with ScriptedBroker(hang_up, server_side(folder)) as broker:
        failure = await failure_of(settings(folder, broker.port))
    assert isinstance(failure, ClosedEarly)
    assert "before CONNACK" in str(failure)


async def test_a_broker_of_another_name_is_not_trusted(folder: Path) -> None:
    async with broker_for(folder, server="wrong_host") as broker:
        failure = await failure_of(settings(folder, broker.port))
    assert type(failure) is NotConnected
    assert "Hostname mismatch, certificate is not valid for 'localhost'" in str(failure)


async def test_a_broker_of_another_authority_is_not_trusted(folder: Path, pki: Pki, broker: BrokerProcess) -> None:
    other = folder / "other-ca.pem"
    other.write_bytes(Pki.new().authority.pem)
    failure = await failure_of(settings(folder, broker.port, ca_file=other))
    assert str(failure).startswith(f"the certificate of localhost:{broker.port} is not trusted: ")


async def test_without_a_ca_file_the_machines_authorities_decide(folder: Path, broker: BrokerProcess) -> None:
    failure = await failure_of(settings(folder, broker.port, ca_file=None))
    assert "is not trusted" in str(failure)


async def wait_for_the_end(peer: Peer) -> None:
    await peer.accept()
    await peer.ended()


async def test_a_broker_with_an_older_tls_is_refused_unless_settings_allow_it(folder: Path) -> None:
    context = server_side(folder, newest=ssl.TLSVersion.TLSv1_2)
    async with ScriptedBroker(wait_for_the_end, context) as broker:
        failure = await failure_of(settings(folder, broker.port))
        assert str(failure) == f"no TLS connection with localhost:{broker.port}: closed without an alert"
        async with connected(client(settings(folder, broker.port, tls_minimum="1.2"))):
            pass


async def test_a_plaintext_broker_is_told(folder: Path) -> None:
    async def answer_in_plain(peer: Peer) -> None:
        peer.writer.write(b"\x20\x03\0\0\0")
        await peer.ended()

    async with ScriptedBroker(answer_in_plain) as broker:
        failure = await failure_of(settings(folder, broker.port))
        assert type(failure) is NotConnected
        assert str(failure) == f"no TLS connection with localhost:{broker.port}: unexpected message"


@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file"])
async def test_a_missing_file_is_named(folder: Path, field: str) -> None:
    absent = folder / "absent.pem"
    changed = settings(folder, free_port()).model_copy(update={field: absent})
    failure = await failure_of(changed)
    assert str(failure) == f"[Errno 2] No such file or directory: '{absent}'"


async def test_files_that_hold_something_else_are_named(folder: Path) -> None:
    odd = folder / "odd.pem"
    odd.write_text("nothing", encoding="ascii")
    assert str(await failure_of(settings(folder, 1, ca_file=odd))) == f"{odd} holds no PEM certificate"
    failure = await failure_of(settings(folder, 1, key_file=folder / "other_client.key"))
    assert f"{folder / 'client.pem'} and {folder / 'other_client.key'} are no PEM pair" in str(failure)


def test_a_certificate_needs_its_key(folder: Path) -> None:
    with pytest.raises(ValidationError, match="belong together"):
        settings(folder, 1, None, cert_file=folder / "client.pem")


async def test_a_certificate_that_was_replaced_is_shown_at_the_next_attempt(
    folder: Path, broker: BrokerProcess
) -> None:
    own = settings(folder, broker.port, "expired")
    one = client(own)
    async with started(one):
        await wait_for(lambda: isinstance(one.last_failure, ClosedEarly))
        (folder / "expired.key").write_bytes((folder / "client.key").read_bytes())
        (folder / "expired.pem").write_bytes((folder / "client.pem").read_bytes())
        await wait_for(lambda: one.is_connected, timeout_s=10)


async def test_a_refused_topic_is_told_over_tls_too(folder: Path) -> None:
    acl = folder / "acl"
    acl.write_text("pattern readwrite open/%u/#\n", encoding="ascii")
    give_to_broker(acl)
    conf = CONF.format(folder=folder, server="server", version="tlsv1.3") + f"acl_file {acl}\n"
    async with BrokerProcess(conf=conf) as broker:
        one = client(settings(folder, broker.port))
        async with connected(one):
            await one.publish("open/kiosk-001/a", b"x")
            with pytest.raises(PublishRefused, match="0x87"):
                await one.publish("open/kiosk-002/a", b"x")
