"""Telemetry: questions and answers at the API's edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from wire.telemetry import MetricName


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest host sample of a kiosk."""

    kid: str
    at: datetime
    values: dict[str, float]
    change_seq: int


class Query(BaseModel):
    """What a client may ask; unknown parameters are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class TelemetryQuery(Query):
    """Some metrics of one kiosk over a span, in at most `points` buckets."""

    metric: list[MetricName] = Field(min_length=1, max_length=16)
    since: datetime | None = Field(default=None, alias="from")
    until: datetime | None = Field(default=None, alias="to")
    points: int = Field(default=300, ge=1, le=2_000)
    component: str = Field(default="host", max_length=64)


class EventQuery(Query):
    """Events of one kiosk, newest first."""

    kind: str | None = Field(default=None, max_length=32, pattern="^[a-z_]+$")
    since: datetime | None = Field(default=None, alias="from")
    limit: int = Field(default=100, ge=1, le=500)
    cursor: int | None = Field(default=None, ge=1)


class Point(BaseModel):
    """One bucket."""

    at: datetime
    avg: float
    min: float
    max: float


class Series(BaseModel):
    """One metric over time."""

    metric: str
    unit: str
    points: list[Point]


class TelemetryView(BaseModel):
    """Several metrics over the same span."""

    series: list[Series]
    bucket_s: float
    since: datetime
    until: datetime


class EventView(BaseModel):
    """One record as it came; `at` is server time, back-dated to the evidence."""

    id: int
    at: datetime
    received_at: datetime
    kind: str
    record_class: str
    component: str
    name: str
    hist: bool
    fields: dict[str, Any]
