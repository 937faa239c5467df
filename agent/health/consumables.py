"""How much paper, toner and the like is left, and for how many days. Pure: what happened goes in, levels come out.

Three sources, best first: the device says how much (`toner_percent`); a sensor says low or empty, and use is counted
from its mark; use is counted from a refill. What none of them tells is unknown, never full.

A refill is noticed when `empty` ends, or when `low` ends after somebody could have reached the roll: the cover was
open or the device away meanwhile. A sensor that flickers at its mark is no refill; the next `low` sets it right anyway.
With the cover open a paper sensor says nothing about the roll.

Days left: what is left by the median use of the last 14 whole days on which this kiosk ran, the present one left out;
nights are inside a day and so weigh nothing. Fewer than three such days, or a median of nothing: unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from wire.consumables import ConsumableLevel, ConsumableSource, ConsumableStatus
from wire.envelope import Moment, Scalar
from wire.faults import Fault
from wire.profile import ConsumableProfile

FORECAST_DAYS: Final = 14
DAYS_NEEDED: Final = 3
REFILL_RISE_PERCENT: Final = 10.0
"""A level that a device reports may wobble; a rise from here on is a new cartridge."""
_USABLE: Final = frozenset({DeviceState.READY, DeviceState.BUSY})
_MARKS: Final[Mapping[str, tuple[Fault, Fault]]] = MappingProxyType(
    {"paper": (Fault.PAPER_LOW, Fault.PAPER_OUT), "toner": (Fault.TONER_LOW, Fault.TONER_EMPTY)}
)
Key = tuple[str, str]
"""Component and consumable."""


class Counter(BaseModel):
    """What is kept of one consumable."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, defer_build=True)

    remaining: float | None = Field(default=None, ge=0.0)
    source: ConsumableSource = ConsumableSource.NONE
    days: dict[date, float] = Field(default_factory=dict)
    """Use by local day; a day without use on which the kiosk ran is there with 0."""
    refilled_at: Moment | None = None
    is_low: bool = False
    """A sensor said so, and no refill was seen since."""
    is_out: bool = False
    was_open: bool = False
    """Since it is low the cover was open or the device away."""

    def use(self, amount: float, day: date) -> None:
        """Count use."""
        self.days[day] = self.days.get(day, 0.0) + amount
        if self.remaining is not None:
            self.remaining = max(0.0, self.remaining - amount)

    def refill(self, amount: float, at: datetime, source: ConsumableSource) -> None:
        """It is new."""
        self.remaining, self.source, self.refilled_at = amount, source, at
        self.is_low = self.is_out = self.was_open = False

    def attend(self, day: date) -> bool:
        """The kiosk runs on this day; whether that was news."""
        if day in self.days:
            return False
        self.days[day] = 0.0
        for old in sorted(self.days)[: -(FORECAST_DAYS + 1)]:
            del self.days[old]
        return True

    def per_day(self, today: date) -> float | None:
        """The median use of the last whole days, None while there are too few."""
        first = today - timedelta(days=2 * FORECAST_DAYS)
        whole = [used for day, used in sorted(self.days.items()) if first <= day < today][-FORECAST_DAYS:]
        return _median(whole) if len(whole) >= DAYS_NEEDED else None


def _median(values: Sequence[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


class Kept(BaseModel):
    """The counters as they are on disk: `component/consumable`."""

    model_config = ConfigDict(defer_build=True)
    v: int = 1
    counters: dict[str, Counter] = Field(default_factory=dict, max_length=256)


class ConsumableBook:
    """All consumables of a kiosk. `now` is aware; its date in its own zone is the day that use counts for."""

    def __init__(self, profiles: Mapping[Key, ConsumableProfile], kept: Kept | None = None) -> None:
        """Go on with what was kept; counters of what this kiosk does not have are left out."""
        found = {} if kept is None else kept.counters
        self._profiles = profiles
        self._counters = {key: found.get("/".join(key), Counter()) for key in profiles}
        for counter in self._counters.values():
            counter.was_open = counter.is_low  # nobody knows what was done while this did not run

    def kept(self) -> Kept:
        """What has to be on disk."""
        return Kept(counters={"/".join(key): counter for key, counter in self._counters.items()})

    def attend(self, now: datetime) -> bool:
        """The kiosk runs; whether this is a new day."""
        news = [counter.attend(now.date()) for counter in self._counters.values()]
        return any(news)

    def used(self, component: str, amounts: Mapping[str, Scalar], now: datetime) -> None:
        """A device used something up."""
        for consumable, amount in amounts.items():
            counter = self._counters.get((component, consumable))
            if counter is not None and isinstance(amount, int | float) and 0 < amount < float("inf"):
                counter.use(float(amount), now.date())

    def refilled(self, component: str, consumable: str, now: datetime, amount: float | None = None) -> None:
        """A person says that it is new; `amount` where it is not a full one.

        Raises:
            KeyError: this kiosk does not have it.
        """
        profile = self._profiles[component, consumable]
        full = profile.capacity if amount is None else min(amount, profile.capacity)
        self._counters[component, consumable].refill(full, now, ConsumableSource.COUNTED)

    def seen(self, seen: Seen, now: datetime) -> None:
        """A device is another way."""
        for (component, consumable), profile in self._profiles.items():
            if component == seen.component:
                counter = self._counters[component, consumable]
                if consumable in _MARKS:
                    _take_marks(counter, profile, seen, *_MARKS[consumable], now)
                level = seen.status.values.get(f"{consumable}_percent")
                if seen.state in _USABLE and isinstance(level, int | float) and 0 <= level <= 100:  # noqa: PLR2004
                    _take_level(counter, profile, float(level), now)

    def statuses(self, now: datetime) -> list[ConsumableStatus]:
        """How all of them stand."""
        return [_status(key, profile, self._counters[key], now.date()) for key, profile in self._profiles.items()]


def _take_marks(
    counter: Counter, profile: ConsumableProfile, seen: Seen, low: Fault, out: Fault, now: datetime
) -> None:
    faults = seen.faults
    if Fault.COVER_OPEN in faults or Fault.UNPLUGGED in faults:
        counter.was_open = counter.was_open or counter.is_low
        return
    if out in faults:
        counter.remaining, counter.source, counter.is_out, counter.is_low = 0.0, ConsumableSource.SENSOR, True, True
        return
    if seen.state not in _USABLE:
        return
    if low in faults:
        if not counter.is_low or counter.is_out:
            counter.remaining, counter.source = profile.low, ConsumableSource.SENSOR
            counter.refilled_at = now if counter.is_out else counter.refilled_at
        counter.is_low, counter.is_out, counter.was_open = True, False, False
    elif counter.is_out or (counter.is_low and counter.was_open):
        counter.refill(profile.capacity, now, ConsumableSource.COUNTED)


def _take_level(counter: Counter, profile: ConsumableProfile, percent: float, now: datetime) -> None:
    level = profile.capacity * percent / 100.0
    before = counter.remaining if counter.source is ConsumableSource.REPORTED else None
    if before is None:
        counter.remaining, counter.source = level, ConsumableSource.REPORTED
    elif level < before:
        counter.use(before - level, now.date())
        counter.remaining = level
    elif level - before >= profile.capacity * REFILL_RISE_PERCENT / 100.0:
        counter.refill(level, now, ConsumableSource.REPORTED)


def _status(key: Key, profile: ConsumableProfile, counter: Counter, today: date) -> ConsumableStatus:
    remaining = None if counter.remaining is None else min(counter.remaining, profile.capacity)
    per_day = counter.per_day(today)
    return ConsumableStatus(
        component=key[0],
        consumable=key[1],
        unit=profile.unit,
        level=_level(profile, counter, remaining),
        source=counter.source,
        remaining=None if remaining is None else round(remaining, 1),
        capacity=profile.capacity,
        percent=None if remaining is None else round(100.0 * remaining / profile.capacity, 1),
        per_day=None if per_day is None else round(per_day, 1),
        days_left=round(remaining / per_day, 1) if remaining is not None and per_day else None,
        part=profile.part,
        refilled_at=counter.refilled_at,
    )


def _level(profile: ConsumableProfile, counter: Counter, remaining: float | None) -> ConsumableLevel:
    if counter.is_out:
        return ConsumableLevel.EMPTY
    if remaining is None:
        return ConsumableLevel.LOW if counter.is_low else ConsumableLevel.UNKNOWN
    # A count alone never says empty: the device would.
    return ConsumableLevel.LOW if counter.is_low or remaining <= profile.low else ConsumableLevel.OK
