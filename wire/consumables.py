"""What a kiosk uses up: how much is left and for how many days, per device."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from wire.envelope import Code, ComponentName, Moment, WireModel
from wire.functions import Title

CONSUMABLE_LEVEL: Final = "consumable.level"
"""Name of the event record; its component is the device, its fields are those of `ConsumableStatus` without it."""
CONSUMABLE_USED: Final = "Common.ConsumableUsed"
"""A driver's event: `{consumable: amount}` in the unit of the device's profile."""


PartName = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""What a maker calls it; no control characters, a store may refuse them."""


class ConsumableUnit(StrEnum):
    """What a consumable is counted in."""

    MM = "mm"
    SHEETS = "sheets"
    PERCENT = "percent"
    PIECES = "pieces"


class ConsumableLevel(StrEnum):
    """How it stands."""

    OK = "ok"
    LOW = "low"
    EMPTY = "empty"
    UNKNOWN = "unknown"


class ConsumableSource(StrEnum):
    """What `remaining` rests on."""

    REPORTED = "reported"
    """The device says how much."""
    SENSOR = "sensor"
    """A sensor said low or empty, and use was counted from there."""
    COUNTED = "counted"
    """Use was counted from a refill."""
    NONE = "none"


class ConsumableStatus(WireModel):
    """One consumable of one device; what is not known is None, never full."""

    component: ComponentName
    consumable: Code
    unit: ConsumableUnit
    level: ConsumableLevel
    source: ConsumableSource = ConsumableSource.NONE
    remaining: float | None = Field(default=None, ge=0.0)
    capacity: float | None = Field(default=None, gt=0.0)
    percent: float | None = Field(default=None, ge=0.0, le=100.0)
    per_day: float | None = Field(default=None, ge=0.0)
    """The median of the last days."""
    days_left: float | None = Field(default=None, ge=0.0)
    part: PartName | None = None
    """What to bring."""
    refilled_at: Moment | None = None


# fmt: off
CONSUMABLE_TITLES: Mapping[str, Title] = MappingProxyType({
    "paper":  Title("纸张", "Paper"),
    "toner":  Title("墨粉", "Toner"),
    "ribbon": Title("色带", "Ribbon"),
    "cards":  Title("卡片", "Cards"),
})
# fmt: on
"""Known ones; a profile may name others, which are shown by their name."""
