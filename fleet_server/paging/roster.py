"""Who is on duty. Pure: a roster, what was changed about it, and a moment in; names out.

A line is staffed by shifts of a week; each shift goes round among the names of its rota, week by week. A shift that
runs over midnight belongs to the day and week in which it begins. Shifts may overlap: then several are on duty.
Dated swaps come on top, in the order they were entered, so that who stands in may be stood in for. Whoever hands
over stays on duty beside the others until the hand-over is confirmed, for `HANDOVER_HOLD` at most: during a
hand-over rather one too many is told than one too few. All spans include their beginning and exclude their end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fleet_server.settings import DutyLine, TargetName

HANDOVER_HOLD: Final = timedelta(hours=4)
AHEAD: Final = timedelta(days=14)
"""So far gaps are looked for."""
_DAY: Final = timedelta(days=1)
_WEEK_DAYS: Final = 7
PersonName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x20\x7f]+$")]
"""The user name of somebody with an account; without one nobody can confirm a hand-over."""
Weekday = Annotated[int, Field(ge=1, le=7)]


class Document(BaseModel):
    """A part of a roster as it is sent and kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shift(Document):
    """Hours of some days of the week, and who has them in turn."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]
    """1 is Monday."""
    begins: time
    ends: time
    """On the next day when it is not after `begins`; the same time is a whole day."""
    rota: Annotated[tuple[PersonName, ...], Field(min_length=1, max_length=26)]
    """Who has it in the first week, in the second …, and again from the start."""


class Roster(Document):
    """One line of duty."""

    first_week: date
    """A day of the week in which each rota begins."""
    members: Annotated[
        dict[PersonName, Annotated[tuple[TargetName, ...], Field(min_length=1, max_length=5)]], Field(max_length=100)
    ]
    """Everybody who may be on duty, with their targets of the settings, the best first."""
    shifts: Annotated[tuple[Shift, ...], Field(max_length=50)]

    @model_validator(mode="after")
    def _all_known(self) -> Roster:
        strangers = sorted({name for shift in self.shifts for name in shift.rota} - set(self.members))
        if strangers:
            raise ValueError(f"no member is called {', '.join(strangers)}")
        if any(one.tzinfo is not None for shift in self.shifts for one in (shift.begins, shift.ends)):
            raise ValueError("hours of shifts are local: without a zone")
        return self


@dataclass(frozen=True, slots=True)
class Swap:
    """Somebody stands in for somebody, or comes on top, for a time."""

    id: str
    line: DutyLine
    starts_at: datetime
    ends_at: datetime
    stands_in: str
    replaces: str | None
    """None: on top of whoever is on duty, for example in a gap."""
    note: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Handover:
    """One hands over to the other, with a word on what is open."""

    id: str
    line: DutyLine
    gives: str
    takes: str
    note: str
    offered_at: datetime
    confirmed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which the same people are on duty; nobody: a gap."""

    starts_at: datetime
    ends_at: datetime
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One line with everything that decides who is on duty."""

    roster: Roster
    zone: tzinfo
    swaps: Sequence[Swap] = ()
    handovers: Sequence[Handover] = ()

    def on_duty(self, at: datetime) -> tuple[str, ...]:
        """Whoever is on duty at a moment, each once."""
        names = self.planned(at)
        held = [one.gives for one in self.handovers if one.offered_at <= at < _held_until(one)]
        return tuple(dict.fromkeys([*names, *held]))

    def planned(self, at: datetime) -> tuple[str, ...]:
        """The same without those who only stay until a hand-over is confirmed."""
        names = dict.fromkeys(name for begins, ends, name in self._shifts_near(at, at) if begins <= at < ends)
        for swap in sorted(self.swaps, key=lambda one: one.id):
            if not swap.starts_at <= at < swap.ends_at or (swap.replaces is not None and swap.replaces not in names):
                continue
            if swap.replaces is not None:
                del names[swap.replaces]
            names[swap.stands_in] = None
        return tuple(names)

    def spans(self, since: datetime, until: datetime) -> list[Span]:
        """The time from one moment to another, cut where somebody comes or goes."""
        cuts = sorted({since, *(one for one in self._cuts(since, until) if since < one < until)})
        found: list[Span] = []
        for start, end in zip(cuts, [*cuts[1:], until], strict=True):
            names = self.on_duty(start)
            if found and set(found[-1].names) == set(names):
                found[-1] = Span(found[-1].starts_at, end, found[-1].names)
            elif start < end:
                found.append(Span(start, end, names))
        return found

    def gaps(self, since: datetime, until: datetime) -> list[Span]:
        """When nobody is on duty."""
        return [span for span in self.spans(since, until) if not span.names]

    def ends_duty(self, name: str, now: datetime) -> datetime | None:
        """Until when somebody who is on duty now stays so, a week at most; None for who is not."""
        if name not in self.planned(now):
            return None
        until = now + timedelta(days=_WEEK_DAYS)
        cuts = sorted({one for one in self._cuts(now, until) if now < one < until})
        return next((one for one in cuts if name not in self.planned(one)), until)

    def _cuts(self, since: datetime, until: datetime) -> Iterator[datetime]:
        for begins, ends, _ in self._shifts_near(since, until):
            yield begins
            yield ends
        for swap in self.swaps:
            yield swap.starts_at
            yield swap.ends_at
        for one in self.handovers:
            yield one.offered_at
            yield _held_until(one)

    def _shifts_near(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, str]]:
        roster = self.roster
        for shift in roster.shifts:
            for day, begins, ends in hours_near(shift, since, until, self.zone):
                week = (_monday(day) - _monday(roster.first_week)).days // _WEEK_DAYS
                yield begins, ends, shift.rota[week % len(shift.rota)]


class Hours(Protocol):
    """Hours of some days of the week, local time; over midnight when `ends` is not after `begins`."""

    @property
    def days(self) -> tuple[int, ...]:
        """1 is Monday; the days on which they begin."""

    @property
    def begins(self) -> time:
        """The first moment."""

    @property
    def ends(self) -> time:
        """The first moment after."""


def hours_near(
    hours: Hours, since: datetime, until: datetime, zone: tzinfo
) -> Iterator[tuple[date, datetime, datetime]]:
    """Each time they begin that may touch this time: what began the day before may still run."""
    day, last = since.astimezone(zone).date() - _DAY, until.astimezone(zone).date()
    while day <= last:
        if day.isoweekday() in hours.days:
            end = day if hours.begins < hours.ends else day + _DAY
            yield day, _moment(day, hours.begins, zone), _moment(end, hours.ends, zone)
        day += _DAY


def told_from(at: datetime, quiet: Hours | None, zone: tzinfo) -> datetime:
    """A moment, or the end of the quiet hours it lies in."""
    if quiet is None:
        return at
    return next((ends for _, begins, ends in hours_near(quiet, at, at, zone) if begins <= at < ends), at)


def targets_of(roster: Roster, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """How those on duty are reached; who is no member any more is not."""
    return {name: roster.members[name] for name in names if name in roster.members}


def _held_until(handover: Handover) -> datetime:
    last = handover.offered_at + HANDOVER_HOLD
    return last if handover.confirmed_at is None else min(last, handover.confirmed_at)


def _moment(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def _monday(day: date) -> date:
    return day - timedelta(days=day.isoweekday() - 1)
