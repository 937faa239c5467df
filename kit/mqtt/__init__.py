"""MQTT 5 over TLS for our processes; the only place that knows paho."""

from kit.mqtt.client import (
    ClosedEarly,
    ConnectRefused,
    Message,
    MqttClient,
    MqttError,
    NotConnected,
    PublishRefused,
    PublishTimeout,
    Will,
)
from kit.mqtt.settings import MqttSettings

__all__ = [
    "ClosedEarly",
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
