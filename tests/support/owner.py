"""`RecordingOwner`: what a driver told its manager."""

from __future__ import annotations

from collections.abc import Mapping

from agent.devices.types import DeviceStatus
from wire.envelope import Scalar
from wire.faults import Fault


class RecordingOwner:
    """Keeps every status and event."""

    def __init__(self) -> None:
        self.statuses: list[DeviceStatus] = []
        self.events: list[tuple[str, Mapping[str, Scalar]]] = []
        self.signs_of_life = 0

    def status(self, status: DeviceStatus) -> None:
        self.statuses.append(status)

    def event(self, name: str, fields: Mapping[str, Scalar] | None = None) -> None:
        self.events.append((name, dict(fields or {})))

    def alive(self) -> None:
        self.signs_of_life += 1

    @property
    def last(self) -> DeviceStatus:
        return self.statuses[-1] if self.statuses else DeviceStatus()

    @property
    def faults(self) -> set[Fault]:
        return set(self.last.faults)
