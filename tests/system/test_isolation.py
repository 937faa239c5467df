"""A malicious but enrolled kiosk tries everything over MQTT 3.1.1 and 5; what counts is what its victims receive.

Return codes prove nothing: Mosquitto grants subscriptions it never serves and acknowledges publications it drops.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support.hospital import Hospital
from support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.leaves_threads("paho's threads end with it")]

MALLORY, VICTIM = "sim-0001", "sim-0002"
EVIL = b'{"evil":true}'
V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311


@dataclass(slots=True)
class Party:
    """One connection and every byte it received."""

    client: paho.Client
    received: list[tuple[str, bytes]] = field(default_factory=list)


@contextmanager
def connected(
    site: Hospital,
    cert: Path,
    *,
    client_id: str,
    protocol: MQTTProtocolVersion = V5,
    will: str | None = None,
    username: str | None = None,
) -> Iterator[Party]:
    """Connect with a certificate and whatever else is claimed."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, reconnect_on_failure=False
    )
    party = Party(client)
    context = ssl.create_default_context(cafile=str(site.fleet_dir / "pki" / "ca.pem"))
    key = cert.with_name("key.pem") if cert.name == "cert.pem" else cert.with_suffix(".key")
    context.load_cert_chain(cert, key)
    client.tls_set_context(context)
    client.on_message = lambda _c, _u, message: party.received.append((message.topic, bytes(message.payload)))
    if username is not None:
        client.username_pw_set(username, "x")
    if will is not None:
        client.will_set(will, EVIL, qos=1, retain=True)
    client.connect("localhost", site.broker_port, keepalive=20)
    client.loop_start()
    try:
        wait_until(client.is_connected, timeout_s=5.0, what=f"{client_id} connected")
        yield party
    finally:
        client.disconnect()
        client.loop_stop()


def identity(site: Hospital, kid: str) -> Path:
    return site.identities_dir / kid / "cert.pem"


Attempt = Callable[[Hospital, MQTTProtocolVersion], Party | None]


def publishing(topic: str, *, retain: bool = False, payload: bytes = EVIL) -> Attempt:
    def attempt(site: Hospital, protocol: MQTTProtocolVersion) -> Party:
        with connected(site, identity(site, MALLORY), client_id=MALLORY, protocol=protocol) as party:
            with suppress(ValueError, RuntimeError):
                party.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(1.0)
            return party

    return attempt


def subscribing(topic_filter: str) -> Attempt:
    def attempt(site: Hospital, protocol: MQTTProtocolVersion) -> Party:
        with connected(site, identity(site, MALLORY), client_id=MALLORY, protocol=protocol) as party:
            party.client.subscribe(topic_filter, 1)
            speak_as_victim_and_server(site)
            return party

    return attempt


def claiming(*, client_id: str = MALLORY, username: str | None = None, will: str | None = None) -> Attempt:
    def attempt(site: Hospital, protocol: MQTTProtocolVersion) -> Party:
        cert = identity(site, MALLORY)
        with (
            connected(site, cert, client_id=client_id, protocol=protocol, username=username, will=will) as party,
            suppress(OSError, ValueError),
        ):
            party.client.publish(f"kiosk/v1/{VICTIM}/up/log", EVIL, qos=1)
            party.client.subscribe(f"kiosk/v1/{VICTIM}/down/#", 1)
            speak_as_victim_and_server(site)
            link = party.client.socket()
            if will is not None and link is not None:
                party.client.loop_stop()
                link.close()
        return party

    return attempt


def aliasing(site: Hospital, protocol: MQTTProtocolVersion) -> Party | None:
    """A topic alias set on an own topic, then used for the victim's; MQTT 5 only."""
    if protocol != V5:
        return publishing(f"kiosk/v1/{VICTIM}/up/live")(site, protocol)
    with connected(site, identity(site, MALLORY), client_id=MALLORY) as party:
        for topic in (f"kiosk/v1/{MALLORY}/up/live", f"kiosk/v1/{VICTIM}/up/live"):
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.TopicAlias = 1
            party.client.publish(topic, EVIL if VICTIM in topic else b"{}", qos=0, properties=properties)
        return party


ATTEMPTS: dict[str, Attempt] = {
    "log of another": publishing(f"kiosk/v1/{VICTIM}/up/log"),
    "presence of another": publishing(f"kiosk/v1/{VICTIM}/up/presence"),
    "retained presence of another": publishing(f"kiosk/v1/{VICTIM}/up/presence", retain=True),
    "birth of another": publishing(f"kiosk/v1/{VICTIM}/up/birth", retain=True),
    "heartbeat of another": publishing(f"kiosk/v1/{VICTIM}/up/live"),
    "command to another": publishing(f"kiosk/v1/{VICTIM}/down/command"),
    "retained command to another": publishing(f"kiosk/v1/{VICTIM}/down/command", retain=True),
    "forged receipt for another": publishing(f"kiosk/v1/{VICTIM}/down/receipt"),
    "forged twin for another": publishing(f"kiosk/v1/{VICTIM}/down/twin", retain=True),
    "command to itself": publishing(f"kiosk/v1/{MALLORY}/down/command"),
    "server state": publishing("kiosk/v1/server/state"),
    "retained server state": publishing("kiosk/v1/server/state", retain=True),
    "a channel that is not": publishing(f"kiosk/v1/{VICTIM}/up/other", retain=True),
    "outside the root": publishing("kiosk/v2/anything", retain=True),
    "broker statistics": publishing("$SYS/broker/clients/total"),
    "the share itself": publishing("$share/ingest/kiosk/v1/+/up/log"),
    "a megabyte": publishing(f"kiosk/v1/{VICTIM}/up/log", payload=b"x" * 1_048_576),
    "subscribe to everything": subscribing("#"),
    "subscribe to all kiosks": subscribing("kiosk/v1/+/up/#"),
    "subscribe to all commands": subscribing("kiosk/v1/+/down/#"),
    "subscribe to the victim": subscribing(f"kiosk/v1/{VICTIM}/#"),
    "join the servers' share": subscribing("$share/ingest/kiosk/v1/+/up/log"),
    "a share of the victim's commands": subscribing(f"$share/x/kiosk/v1/{VICTIM}/down/#"),
    "subscribe to statistics": subscribing("$SYS/#"),
    "the victim's client id": claiming(client_id=VICTIM),
    "the victim's user name": claiming(username=VICTIM),
    "a server's user name": claiming(username="fleet-main"),
    "a will on the victim's presence": claiming(will=f"kiosk/v1/{VICTIM}/up/presence"),
    "a will on the server's state": claiming(will="kiosk/v1/server/state"),
    "a topic alias": aliasing,
}


def speak_as_victim_and_server(site: Hospital) -> None:
    """Honest traffic while the attacker listens."""
    with connected(site, identity(site, VICTIM), client_id=f"{VICTIM}-unused") as victim:
        victim.client.publish(f"kiosk/v1/{VICTIM}/up/log", b"{}", qos=1).wait_for_publish(2.0)
    with server(site) as worker:
        worker.client.publish(f"kiosk/v1/{VICTIM}/down/receipt", b"{}", qos=1).wait_for_publish(2.0)


@contextmanager
def server(site: Hospital) -> Iterator[Party]:
    """A fleet server's own connection."""
    with connected(site, site.fleet_dir / "pki" / "workers" / "fleet-main.pem", client_id="fleet-main") as party:
        yield party


@pytest.mark.parametrize("protocol", [V311, V5], ids=["3.1.1", "5"])
def test_an_enrolled_kiosk_reaches_nobody_else(sqlite_site: Hospital, protocol: MQTTProtocolVersion) -> None:
    site = sqlite_site
    site.run("fleet_server", "lab-identities", "--count", "3", "--out", str(site.identities_dir))
    duties = site.fleet_dir / "pki" / "workers" / "fleet-main-duties.pem"
    stolen: list[tuple[str, str, bytes]] = []
    with (
        connected(site, identity(site, "sim-0003"), client_id="sim-0003") as bystander,
        connected(site, duties, client_id="fleet-main-duties") as fleet,
    ):
        bystander.client.subscribe([("kiosk/v1/sim-0003/down/#", 1), ("kiosk/v1/server/state", 1)])
        fleet.client.subscribe([("kiosk/v1/+/up/#", 1), ("kiosk/v1/server/state", 1), ("kiosk/v1/+/down/#", 1)])
        for name, attempt in ATTEMPTS.items():
            party = attempt(site, protocol)
            received = [] if party is None else party.received
            stolen += [(name, topic, payload) for topic, payload in received if MALLORY not in topic]
        publishing(f"kiosk/v1/{MALLORY}/up/log", payload=b"own words")(site, protocol)
        with server(site) as worker:
            worker.client.publish("kiosk/v1/sim-0003/down/receipt", b"honest", qos=1).wait_for_publish(2.0)
        wait_until(lambda: bystander.received, timeout_s=5.0, what="honest traffic still flows")
        with connected(site, identity(site, VICTIM), client_id=VICTIM) as victim:
            victim.client.subscribe([(f"kiosk/v1/{VICTIM}/down/#", 1), ("kiosk/v1/server/state", 1)])
            victim.client.publish(f"kiosk/v1/{VICTIM}/up/live", b"last", qos=1).wait_for_publish(2.0)
            wait_until(lambda: (f"kiosk/v1/{VICTIM}/up/live", b"last") in fleet.received, what="the victim's own words")
            evil_at_victim = [message for message in victim.received if EVIL in message[1]]
    assert len(ATTEMPTS) >= 25
    assert stolen == []
    assert evil_at_victim == []
    assert bystander.received == [("kiosk/v1/sim-0003/down/receipt", b"honest")]
    assert (f"kiosk/v1/{MALLORY}/up/log", b"own words") in fleet.received, "the attacker was never really connected"
    evil_at_fleet = [topic for topic, payload in fleet.received if EVIL in payload or len(payload) > 1_000]
    assert evil_at_fleet == []
