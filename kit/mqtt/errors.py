"""What can go wrong with a broker; every error but a programming mistake is a `MqttError`."""

from __future__ import annotations


class MqttError(Exception):
    """Something with the broker went wrong."""


class NotConnected(MqttError):
    """There is no connection, or it ended before the broker answered; whether it has the message is unknown."""


class ClosedEarly(NotConnected):
    """The broker took the TLS connection and ended it before CONNACK, as it does with a refused certificate."""


class Congested(MqttError):
    """Too many messages wait for the broker already; this one was not taken."""


class PublishTimeout(MqttError):
    """The broker did not acknowledge in time; whether it has the message is unknown."""


class ConnectRefused(MqttError):
    """The broker refused the connection or a subscription; carries the MQTT 5 reason code."""

    def __init__(self, reason_code: int, reason: str) -> None:
        super().__init__(f"refused: {reason} (0x{reason_code:02X})")
        self.reason_code = reason_code


class PublishRefused(MqttError):
    """The broker acknowledged with a failure; carries the MQTT 5 reason code."""

    def __init__(self, topic: str, reason_code: int, reason: str) -> None:
        super().__init__(f"{topic} refused: {reason} (0x{reason_code:02X})")
        self.reason_code = reason_code
