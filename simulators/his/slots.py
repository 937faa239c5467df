"""Which slots a doctor has, how they are named, and when they begin."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final

from simulators.his.model import ZONE

NUMBERS: Final = range(1, 13)
OPEN_DAYS: Final = 8
HALVES: Final = (("1", "上午", 8), ("2", "下午", 14))
"""Suffix, name and first hour of the halves of a day."""
_MINUTES: Final = 15


def halves(doctor: str, day: date) -> tuple[str, str]:
    """The two schedules of a doctor on a day."""
    return f"{doctor}-{day:%Y%m%d}-1", f"{doctor}-{day:%Y%m%d}-2"


def schedules(doctor: str, today: date) -> set[str]:
    """All schedules of a doctor that are open."""
    return {half for day in range(OPEN_DAYS) for half in halves(doctor, today + timedelta(days=day))}


def begin(schedule_id: str, no: int) -> datetime:
    """When a slot of an existing schedule begins."""
    _, day, half = schedule_id.split("-")
    hour = next(hour for suffix, _, hour in HALVES if suffix == half)
    first = datetime.combine(date.fromisoformat(day), time(hour), ZONE)
    return first + timedelta(minutes=(no - 1) * _MINUTES)


def end(schedule_id: str, no: int) -> datetime:
    """When it ends."""
    return begin(schedule_id, no) + timedelta(minutes=_MINUTES)


def see_no(schedule_id: str, no: int) -> str:
    """What the doctor calls."""
    return f"{'上' if schedule_id.endswith('1') else '下'}{no:02d}"
