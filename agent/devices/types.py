"""What all devices have in common: how they say who they are and how they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wire.envelope import Scalar
from wire.faults import Fault


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a device says of itself when it is asked."""

    model: str | None = None
    firmware: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """How a device is right now.

    `faults` are the conditions that are up, with a short detail each; a warning such as low paper is one too (its
    severity is in `wire.faults`). `values` are the words of the local API (CWA 17852 status names), one each.
    """

    faults: Mapping[Fault, str] = field(default_factory=dict)
    values: Mapping[str, Scalar] = field(default_factory=dict)


class Owner(Protocol):
    """What a driver sees of the manager that runs it."""

    def status(self, status: DeviceStatus) -> None:
        """The whole status, as often as wanted; only changes travel on."""

    def event(self, name: str, fields: Mapping[str, Scalar] | None = None) -> None:
        """Something happened, `Class.Name` as the local API calls it; no identity, no card number, no code."""

    def alive(self) -> None:
        """The device gave a sign of life."""


class Driver(Protocol):
    """One device on one link. The manager opens the link, then runs this until it ends with an error.

    A driver never retries by itself beyond one exchange: it raises, and the manager closes the link, waits and
    starts over with a fresh driver.
    """

    async def start(self) -> DeviceFacts:
        """Find out who is there and bring the device into its idle state.

        Raises:
            DeviceFault: it does not answer, or it is not the device the profile says.
            LinkError: the link failed.
        """

    async def run(self) -> None:
        """Watch the device until cancelled: poll or listen, and tell the owner.

        Raises:
            DeviceFault: the device has to be started anew.
            LinkError: the link failed.
        """

    async def stop(self) -> None:
        """Leave the device in a harmless state (lights off, antenna off); the link may be gone already."""
