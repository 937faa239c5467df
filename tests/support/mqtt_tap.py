"""Hears everything that kiosks send, as one more worker of the fleet server with a certificate of its own."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

WORKER = "tap"
FILTERS = ("kiosk/v1/+/up/#", "kiosk/v1/server/state", "$SYS/#")


@dataclass
class Tap:
    """What was heard: topics and bodies, and how many messages of kiosks."""

    heard: bytearray = field(default_factory=bytearray)
    of_kiosks: int = 0


@contextmanager
def tapped(fleet_dir: Path, port: int) -> Iterator[Tap]:
    """Listen to the broker of the fleet server whose data is in `fleet_dir`."""
    environ = os.environ | {"FLEET_DATA_DIR": str(fleet_dir)}
    subprocess.run(
        [sys.executable, "-m", "fleet_server", "worker-cert", WORKER], env=environ, check=True, capture_output=True
    )
    tap, is_listening = Tap(), Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"fleet-{WORKER}")
    pki = fleet_dir / "pki"
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / "workers" / f"fleet-{WORKER}.pem", pki / "workers" / f"fleet-{WORKER}.key")
    client.tls_set_context(context)

    def connected(client: mqtt.Client, *_rest: object) -> None:
        client.subscribe([(topic, 1) for topic in FILTERS])

    def heard(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        tap.heard += message.topic.encode() + b"\n" + message.payload + b"\n"
        tap.of_kiosks += message.topic.startswith("kiosk/v1/") and "/up/" in message.topic

    client.on_connect = connected
    client.on_message = heard
    client.on_subscribe = lambda *_rest: is_listening.set()
    client.connect("localhost", port)
    client.loop_start()
    try:
        assert is_listening.wait(10.0), "the broker does not let the tap listen"
        yield tap
    finally:
        client.disconnect()
        client.loop_stop()
