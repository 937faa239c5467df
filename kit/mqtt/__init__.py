"""MQTT 5 over TLS for our processes; the only place that knows paho."""

from kit.mqtt.client import MqttClient
from kit.mqtt.errors import (
    ClosedEarly,
    Congested,
    ConnectRefused,
    MqttError,
    NotConnected,
    PublishRefused,
    PublishTimeout,
)
from kit.mqtt.inbox import Message
from kit.mqtt.network import Will
from kit.mqtt.settings import MqttSettings

__all__ = [
    "ClosedEarly",
    "Congested",
    "ConnectRefused",
    "Message",
    "MqttClient",
    "MqttError",
    "MqttSettings",
    "NotConnected",
    "PublishRefused",
    "PublishTimeout",
    "Will",
]
