"""Mosquitto's configuration and access list, generated whole (Mosquitto 2.0; mosquitto.conf(5)).

One certificate is one connection: the common name is user name and client id at once, so nobody can take
over another's session, and patterns in the access list need no line per kiosk. A kiosk may write exactly
its four topics; that bounds what it can leave behind as retained messages. The broker cannot forbid the
retain flag per topic: whoever reads `up/log` and `up/live` ignores retained deliveries.
Access is judged when a message is delivered, so a subscription to a foreign topic is granted and stays mute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire.envelope import MESSAGE_LIMIT_BYTES
from wire.topics import ROOT, SERVER_STATE, Channel

WORKER_PREFIX: Final = "fleet-"
PACKET_LIMIT_BYTES: Final = MESSAGE_LIMIT_BYTES + 8_192
"""Payload and the room a topic with its properties may take."""
_HEADER: Final = "# Written by `fleet-server init`; changes made here are overwritten.\n"
_UP: Final = tuple(channel for channel in Channel if channel.value.startswith("up/"))
_DOWN: Final = tuple(channel for channel in Channel if channel.value.startswith("down/"))


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """What the generated files depend on."""

    directory: Path
    """Holds ca.pem, crl.pem, server.pem, server.key, acl and data/."""
    port: int
    listen: str | None
    user: str | None
    """The account the broker changes to when root starts it; None leaves it as it is started."""
    max_connections: int
    pid_file: Path | None
    """None when the broker is told by a command; one of another account could not write it here."""


def broker_conf(plan: BrokerPlan) -> str:
    """The text of `mosquitto.conf`; it opens one listener, with TLS, and no other way in."""
    at = plan.directory.resolve()
    lines = [
        "per_listener_settings false",
        *([f"user {plan.user}"] if plan.user else []),
        *([f"pid_file {plan.pid_file.resolve()}"] if plan.pid_file else []),
        "",
        "# who may connect: holders of a certificate of the fleet that is not revoked",
        f"listener {plan.port}" + (f" {plan.listen}" if plan.listen else ""),
        f"cafile {at}/ca.pem",
        f"certfile {at}/server.pem",
        f"keyfile {at}/server.key",
        f"crlfile {at}/crl.pem",
        "tls_version tlsv1.3",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        "allow_zero_length_clientid false",
        f"acl_file {at}/acl",
        f"max_connections {plan.max_connections}",
        "max_qos 1",
        "max_topic_alias 10",
        "",
        "# what one client may cost",
        f"message_size_limit {MESSAGE_LIMIT_BYTES}",
        f"max_packet_size {PACKET_LIMIT_BYTES}",
        "max_inflight_messages 100",
        "max_queued_messages 20000",
        "max_queued_bytes 67108864",
        "queue_qos0_messages false",
        "upgrade_outgoing_qos false",
        "max_keepalive 120",
        "persistent_client_expiration 7d",
        "",
        "# what survives a stop; after a crash the receipts of the application bring back the rest",
        "persistence true",
        f"persistence_location {at}/data/",
        "autosave_interval 30",
        "",
        "set_tcp_nodelay true",
        "sys_interval 10",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages true",
    ]
    return _HEADER + "\n".join(lines) + "\n"


def access_list(workers: Sequence[str]) -> str:
    """The text of the access list; `workers` are the full names of the fleet servers' connections."""
    blocks = [_worker_block(name) for name in sorted(set(workers))]
    patterns = [
        "# a kiosk: its own topics only",
        *(f"pattern write {ROOT}/%u/{channel.value}" for channel in _UP),
        *(f"pattern read {ROOT}/%u/{channel.value}" for channel in _DOWN),
        f"pattern read {SERVER_STATE}",
    ]
    return _HEADER + "\n".join([*blocks, "\n".join(patterns)]) + "\n"


def _worker_block(name: str) -> str:
    return "\n".join(
        [
            f"user {name}",
            f"topic read {ROOT}/+/up/#",
            f"topic write {ROOT}/+/down/#",
            f"topic readwrite {SERVER_STATE}",
            "topic read $SYS/#",
            "",
        ]
    )
