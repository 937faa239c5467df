"""A walking round: what runs out soon, floor by floor, in an order in which nobody walks twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet_server.registry.model import Kiosk
from wire.consumables import CONSUMABLE_TITLES, ConsumableLevel, ConsumableStatus

_SHORT = frozenset({ConsumableLevel.LOW, ConsumableLevel.EMPTY})


@dataclass(frozen=True, slots=True)
class Need:
    """What a kiosk needs."""

    kiosk: Kiosk
    items: tuple[str, ...]
    days_left: float | None


def needs(kiosk: Kiosk, consumables: Iterable[ConsumableStatus], days: float) -> Need | None:
    """What runs out at a kiosk within so many days, or is low already; None when nothing does."""
    short = [one for one in consumables if one.level in _SHORT or (one.days_left is not None and one.days_left <= days)]
    if not short:
        return None
    left = [one.days_left for one in short if one.days_left is not None]
    items = tuple(
        sorted({f"{_title(one.consumable)} {one.part}" if one.part else _title(one.consumable) for one in short})
    )
    return Need(kiosk, items, min(left, default=None))


def _title(consumable: str) -> str:
    title = CONSUMABLE_TITLES.get(consumable)
    return consumable if title is None else title.zh


def floors(found: Sequence[Need]) -> Mapping[str, list[Need]]:
    """By floor; on each the nearest next, from the corner of the plan; those without a place on the plan last."""
    by_floor: dict[str, list[Need]] = {}
    for need in sorted(found, key=lambda one: (one.kiosk.floor, one.kiosk.kid)):
        by_floor.setdefault(need.kiosk.floor, []).append(need)
    return {floor: _walk(listed) for floor, listed in by_floor.items()}


def _walk(listed: list[Need]) -> list[Need]:
    placed = [need for need in listed if need.kiosk.x is not None and need.kiosk.y is not None]
    way: list[Need] = []
    x, y = 0.0, 0.0
    while placed:
        here = (x, y)
        nearest = min(placed, key=lambda one: (_far(one, here), one.kiosk.kid))
        placed.remove(nearest)
        way.append(nearest)
        x, y = nearest.kiosk.x or 0.0, nearest.kiosk.y or 0.0
    return way + [need for need in listed if need.kiosk.x is None or need.kiosk.y is None]


def _far(need: Need, here: tuple[float, float]) -> float:
    return ((need.kiosk.x or 0.0) - here[0]) ** 2 + ((need.kiosk.y or 0.0) - here[1]) ** 2
