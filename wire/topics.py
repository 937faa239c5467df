"""The MQTT topics, built and parsed by one table (architecture, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from wire.identity import check_kiosk_id, is_kiosk_id

ROOT = "kiosk/v1"
SERVER_STATE = f"{ROOT}/server/state"
INGEST_GROUP = "ingest"


class Channel(StrEnum):
    """A topic below one kiosk's prefix."""

    PRESENCE = "up/presence"
    BIRTH = "up/birth"
    LOG = "up/log"
    LIVE = "up/live"
    RECEIPT = "down/receipt"
    TWIN = "down/twin"
    COMMAND = "down/command"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How messages of a channel travel."""

    qos: int
    retain: bool
    limit_bytes: int


DELIVERY: Mapping[Channel, Delivery] = MappingProxyType(
    {
        Channel.PRESENCE: Delivery(qos=1, retain=True, limit_bytes=4_096),
        Channel.BIRTH: Delivery(qos=1, retain=True, limit_bytes=65_536),
        Channel.LOG: Delivery(qos=1, retain=False, limit_bytes=262_144),
        Channel.LIVE: Delivery(qos=0, retain=False, limit_bytes=16_384),
        Channel.RECEIPT: Delivery(qos=1, retain=False, limit_bytes=65_536),
        Channel.TWIN: Delivery(qos=1, retain=False, limit_bytes=262_144),
        Channel.COMMAND: Delivery(qos=1, retain=False, limit_bytes=65_536),
    }
)


class UnknownTopic(ValueError):
    """A topic that is not in the table; nothing of it is processed."""


@dataclass(frozen=True, slots=True)
class Address:
    """One kiosk's channel."""

    kid: str
    channel: Channel


def topic(kid: str, channel: Channel) -> str:
    """The topic of one kiosk's channel.

    Raises:
        InvalidKioskId: `kid` is not a kiosk id.
    """
    return f"{ROOT}/{check_kiosk_id(kid)}/{channel.value}"


def every_kiosk(channel: Channel) -> str:
    """The subscription filter that covers `channel` of all kiosks."""
    return f"{ROOT}/+/{channel.value}"


def shared(topic_filter: str, group: str = INGEST_GROUP) -> str:
    """The shared subscription (MQTT 5, section 4.8.2) of `topic_filter`."""
    return f"$share/{group}/{topic_filter}"


def parse(name: str) -> Address:
    """Take a topic apart.

    Raises:
        UnknownTopic: not of this table, or the kiosk id in it is not one.
    """
    parts = name.split("/", 3)
    if len(parts) != 4 or f"{parts[0]}/{parts[1]}" != ROOT:  # noqa: PLR2004 - root has two levels, then kiosk and channel
        raise UnknownTopic("not below the root of wire version 1")
    if not is_kiosk_id(parts[2]):
        raise UnknownTopic("the kiosk level is not a kiosk id")
    try:
        channel = Channel(parts[3])
    except ValueError:
        raise UnknownTopic("no such channel") from None
    return Address(parts[2], channel)
