"""Server time of a record, judged from evidence: the kiosk's own clock may be wrong by years.

1. The record says how far the kiosk's clock was off: kiosk time minus offset.
2. The kiosk's monotonic clock tells how far it is from another record of the same boot whose time is known, or
   from the moment a record came that was sent at once.
3. The kiosk's time is plausible: taken as it is.
4. Otherwise the moment it was received: never the future, never a year that cannot be.

All instants here are whole microseconds since 1970 UTC, in columns: this runs once for every record there is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

SECOND_US: Final = 1_000_000
FUTURE_US: Final = 300 * SECOND_US
"""A kiosk whose offset was measured a while ago may have drifted this far."""
PAST_US: Final = 366 * 86_400 * SECOND_US
"""Evidence that is older than a year is a mistake."""
RAW_PAST_US: Final = 60 * 86_400 * SECOND_US
"""How far back a clock is believed that was never compared with ours."""
OFFSET_LIMIT_S: Final = 1e10
KIOSK_MIN_US: Final = -62_135_500_000 * SECOND_US
KIOSK_MAX_US: Final = 253_402_200_000 * SECOND_US
"""The years 1 and 9999: what Python's datetime can hold in any zone."""
_BOOTS_KEPT: Final = 20_000


class Basis(IntEnum):
    """What the server time of a record rests on, best first."""

    OFFSET = 0
    BOOT = 1
    KIOSK = 2
    RECEIVED = 3


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the records of one batch say about time, in columns."""

    at: Sequence[datetime]
    offset_s: Sequence[float | None]
    boot: Sequence[str]
    mono_ms: Sequence[int]
    hist: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Placed:
    """The times of a batch's records, in columns; `basis` holds the exceptions from `Basis.OFFSET` by place."""

    kiosk_us: Sequence[int]
    at_us: Sequence[int]
    basis: dict[int, Basis] = field(default_factory=dict)


class RecordTimes:
    """Remembers, for each boot of each kiosk, the server time at which its monotonic clock stood at zero."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._zeros: OrderedDict[tuple[str, str], int] = OrderedDict()

    def place(self, kid: str, clocks: Clocks, received_us: int) -> Placed:
        """Find the server time of each record of one batch."""
        kiosk_us = [int(at.timestamp() * SECOND_US + 0.5) for at in clocks.at]
        offsets = clocks.offset_s
        if not kiosk_us:
            return Placed((), ())
        if None not in offsets:
            at_us = _by_offset(kiosk_us, offsets)  # type: ignore[arg-type]  # None was looked for
            if at_us and min(at_us) >= received_us - PAST_US and max(at_us) <= received_us:
                self._remember((kid, clocks.boot[-1]), at_us[-1] - clocks.mono_ms[-1] * 1_000)
                return Placed(kiosk_us, at_us)
        return self._one_by_one(kid, clocks, kiosk_us, received_us)

    def _one_by_one(self, kid: str, clocks: Clocks, kiosk_us: Sequence[int], received_us: int) -> Placed:
        """Place a batch in which some records say nothing usable of their kiosk's clock."""
        oldest, latest = received_us - PAST_US, received_us + FUTURE_US
        at_us: list[int] = []
        unsure: list[int] = []
        for place, (kiosk, offset_s) in enumerate(zip(kiosk_us, clocks.offset_s, strict=True)):
            found = None if offset_s is None else _by_offset([kiosk], [offset_s])
            if found and oldest <= found[0] <= latest:
                at_us.append(min(found[0], received_us))
                self._remember((kid, clocks.boot[place]), at_us[-1] - clocks.mono_ms[place] * 1_000)
            else:
                at_us.append(received_us)
                unsure.append(place)
        return Placed(kiosk_us, at_us, self._settle(kid, clocks, kiosk_us, at_us, unsure))

    def _settle(
        self, kid: str, clocks: Clocks, kiosk_us: Sequence[int], at_us: list[int], unsure: Sequence[int]
    ) -> dict[int, Basis]:
        """Place the records that are unsure; `at_us` holds the moment of receipt there and gets what is found."""
        newest: dict[str, tuple[int, bool]] = {}
        for place in unsure:
            mono_ms, is_fresh = newest.get(clocks.boot[place], (0, False))
            is_fresh = is_fresh or not clocks.hist[place]
            newest[clocks.boot[place]] = (max(mono_ms, clocks.mono_ms[place]), is_fresh)
        basis: dict[int, Basis] = {}
        for place in unsure:
            boot, received_us = clocks.boot[place], at_us[place]
            newest_ms, is_fresh = newest[boot]
            zero_us = self._zeros.get((kid, boot))
            if zero_us is None and is_fresh:
                zero_us = received_us - newest_ms * 1_000
                self._remember((kid, boot), zero_us)
            behind_us = (newest_ms - clocks.mono_ms[place]) * 1_000
            by_boot = None if zero_us is None else zero_us + clocks.mono_ms[place] * 1_000
            at_us[place], basis[place] = _judged(kiosk_us[place], received_us, by_boot, behind_us)
        return basis

    def _remember(self, key: tuple[str, str], zero_us: int) -> None:
        self._zeros[key] = zero_us
        self._zeros.move_to_end(key)
        if len(self._zeros) > _BOOTS_KEPT:
            self._zeros.popitem(last=False)


def _by_offset(kiosk_us: Sequence[int], offsets: Sequence[float]) -> list[int]:
    """Kiosk time minus offset; nothing when an offset is beyond all sense."""
    if min(offsets) < -OFFSET_LIMIT_S or max(offsets) > OFFSET_LIMIT_S:
        return []
    return [kiosk - int(offset_s * SECOND_US) for kiosk, offset_s in zip(kiosk_us, offsets, strict=True)]


def _judged(kiosk_us: int, received_us: int, by_boot_us: int | None, behind_us: int) -> tuple[int, Basis]:
    """The best time of a record without a usable offset.

    `behind_us` is how long before the newest record of its boot in the batch it was made.
    """
    oldest, latest = received_us - PAST_US, received_us + FUTURE_US
    if by_boot_us is not None:
        if oldest <= by_boot_us <= latest:
            return min(by_boot_us, received_us), Basis.BOOT
    elif received_us - RAW_PAST_US <= kiosk_us <= latest:
        return min(kiosk_us, received_us), Basis.KIOSK
    return max(oldest, received_us - behind_us), Basis.RECEIVED


def kiosk_time(kiosk_us: int) -> int:
    """The kiosk's own time, moved into the years every store can hold."""
    return min(max(kiosk_us, KIOSK_MIN_US), KIOSK_MAX_US)
