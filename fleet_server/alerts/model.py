"""Alarms: records inside, models at the API's edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, computed_field

from wire.envelope import Scalar
from wire.faults import FACTS, Fault, Severity
from wire.uplink import Edge


class AlarmOrigin(StrEnum):
    """Who noticed."""

    KIOSK = "kiosk"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class AlarmEdge:
    """An alarm goes up or down. `at` is server time, back-dated to the evidence."""

    kid: str
    component: str
    code: str
    edge: Edge
    severity: Severity
    at: datetime
    origin: AlarmOrigin
    hist: bool = False
    detail: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class EdgePlace:
    """Where an edge stands in the log: places rise in the order of commits."""

    change_seq: int
    n: int


@dataclass(frozen=True, slots=True)
class LoggedEdge:
    """An edge that changed an alarm."""

    place: EdgePlace
    edge: AlarmEdge
    detected_at: datetime


@dataclass(frozen=True, slots=True)
class Alarm:
    """The last that is known of one (kiosk, component, code)."""

    kid: str
    component: str
    code: str
    severity: Severity
    origin: AlarmOrigin
    is_open: bool
    raised_at: datetime
    """Since when it is open, or was the last time."""
    detected_at: datetime
    cleared_at: datetime | None
    """The newest clear; of an open alarm, the one before it went up."""
    last_raised_at: datetime | None
    """The newest raise, also of an alarm that was up already; None when only its clear has arrived yet."""
    detail: Mapping[str, Scalar]
    change_seq: int


class AlarmView(BaseModel):
    """An alarm as people see it, in both languages."""

    kid: str
    component: str
    code: str
    severity: Severity
    origin: AlarmOrigin
    is_open: bool
    raised_at: datetime
    detected_at: datetime
    cleared_at: datetime | None
    title_zh: str
    title_en: str
    remedy_zh: str
    remedy_en: str
    detail: dict[str, Scalar]

    @computed_field
    def id(self) -> str:
        """What lists and the live channel key it by; stays the same when it goes up again."""
        return f"{self.kid}/{self.component}/{self.code}"


class AlarmQuery(BaseModel):
    """Which alarms to show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: str = Field(default="open", pattern="^(open|all)$")
    kid: str | None = Field(default=None, max_length=40)
    limit: int = Field(default=200, ge=1, le=1_000)


_FAULTS = {fault.value: fault for fault in Fault}


def view(alarm: Alarm) -> AlarmView:
    """The alarm with its texts; a code this release does not know is shown by itself."""
    facts = FACTS.get(_FAULTS[alarm.code]) if alarm.code in _FAULTS else None
    return AlarmView(
        kid=alarm.kid,
        component=alarm.component,
        code=alarm.code,
        severity=alarm.severity,
        origin=alarm.origin,
        is_open=alarm.is_open,
        raised_at=alarm.raised_at,
        detected_at=alarm.detected_at,
        cleared_at=None if alarm.is_open else alarm.cleared_at,
        title_zh=facts.zh if facts else alarm.code,
        title_en=facts.en if facts else alarm.code,
        remedy_zh=facts.remedy_zh if facts else "",
        remedy_en=facts.remedy_en if facts else "",
        detail=dict(alarm.detail),
    )
