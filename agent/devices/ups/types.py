"""What an uninterruptible power supply is to the rest of the agent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class PowerSource(StrEnum):
    """What the kiosk runs on."""

    MAINS = "mains"
    BATTERY = "battery"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PowerReport:
    """How the supply is; None is not known.

    `must_shut_down`: the battery will not last, end what can be ended and switch off.
    """

    source: PowerSource = PowerSource.UNKNOWN
    must_shut_down: bool = False
    charge_percent: int | None = None
    runtime_s: int | None = None
    load_percent: int | None = None
    input_v: float | None = None


class Ups(Protocol):
    """Tells what the kiosk runs on."""

    @property
    def power(self) -> PowerReport:
        """The last that was heard; unknown as soon as it is stale."""
