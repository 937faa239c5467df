"""The duty roster at the API's edge: what clients send and see. Times are server time (UTC)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fleet_server.incidents.model import Note
from fleet_server.paging.roster import PersonName, Roster
from fleet_server.settings import DutyLine


class Form(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DutyQuery(Form):
    """Which moment; now when it is left out."""

    at: AwareDatetime | None = None


class SpanQuery(Form):
    """How far ahead the shifts are shown."""

    days: int = Field(default=14, ge=1, le=62)


class RosterForm(Form):
    """A roster, and the version that was looked at: 0 while there is none."""

    version: int = Field(ge=0, le=2**31 - 2)
    roster: Roster


class SwapForm(Form):
    """Somebody stands in."""

    starts_at: AwareDatetime
    ends_at: AwareDatetime
    stands_in: PersonName
    replaces: PersonName | None = None
    """Left out: on top of whoever is on duty, for example in a gap."""
    note: Note = ""


class HandoverForm(Form):
    """I hand over to somebody."""

    takes: PersonName
    note: Annotated[Note, Field(min_length=1)]
    """What is open, and what the other one has to know."""


class WarningKind(StrEnum):
    """What is wrong with a line."""

    NO_ROSTER = "no_roster"
    """A ladder names the line, and it has no roster."""
    GAP = "gap"
    """Nobody is on duty for a time."""
    NO_TARGET = "no_target"
    """A member's target is not in the settings."""
    ONE_WAY = "one_way"
    """What is critical would reach a member by one channel only."""
    NO_ACCOUNT = "no_account"
    """A member has no open account: he or she can neither confirm a hand-over nor acknowledge by link."""


class DutyWarning(BaseModel):
    """Something that would leave somebody untold."""

    kind: WarningKind
    person: str | None = None
    target: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class PersonView(BaseModel):
    """Somebody on duty."""

    name: str
    targets: list[str]


class SpanView(BaseModel):
    """A time in which the same people are on duty."""

    starts_at: datetime
    ends_at: datetime
    names: list[str]


class HandoverView(BaseModel):
    """A hand-over."""

    id: str
    line: DutyLine
    gives: str
    takes: str
    note: str
    offered_at: datetime
    confirmed_at: datetime | None


class SwapView(BaseModel):
    """A dated change."""

    id: str
    line: DutyLine
    starts_at: datetime
    ends_at: datetime
    stands_in: str
    replaces: str | None
    note: str
    created_at: datetime
    created_by: str


class DutyLineView(BaseModel):
    """Who is on duty on one line, and what is wrong with it in the next 14 days."""

    line: DutyLine
    at: datetime
    people: list[PersonView]
    until: datetime | None
    """When that changes, if it does so in the next 14 days."""
    open_handover: HandoverView | None
    warnings: list[DutyWarning]


class RosterView(BaseModel):
    """One line, whole."""

    line: DutyLine
    version: int
    zone: str
    roster: Roster | None
    changed_at: datetime | None
    changed_by: str | None
    spans: list[SpanView]
    swaps: list[SwapView]
    handovers: list[HandoverView]
    warnings: list[DutyWarning]
