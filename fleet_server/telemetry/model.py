"""Telemetry: records inside, questions and answers at the API's edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from wire.telemetry import MetricName

Asked = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]
"""A moment a client may ask about: with a zone, and in years that can be moved to any zone."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest host sample of a kiosk."""

    kid: str
    at: datetime
    values: dict[str, float]
    change_seq: int


@dataclass(frozen=True, slots=True)
class Event:
    """One record that is no plain sample; `at` is server time, back-dated to the evidence."""

    no: int
    kiosk_no: int
    stream_no: int
    seq: int
    at: datetime
    kiosk_at: datetime
    received_at: datetime
    basis: int
    hist: bool
    record_class: str
    kind: str
    component: str
    name: str
    body: str
    chain_n: int | None
    chain: str | None
    digest: str | None


@dataclass(frozen=True, slots=True)
class ChainState:
    """What is proved of one stream's evidence chain: from after record `base_n` to record `proved_n`.

    `broken_n` and `broken_seq` name the first record that does not follow, by its number in the chain and in the
    stream.
    """

    stream_no: int
    kiosk_no: int
    base_n: int
    base: str
    proved_n: int
    head: str
    broken_n: int | None = None
    broken_seq: int | None = None
    reason: str | None = None


class Query(BaseModel):
    """What a client may ask; unknown parameters are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class TelemetryQuery(Query):
    """Some metrics of one kiosk over a span, in at most `points` buckets."""

    metric: list[MetricName] = Field(min_length=1, max_length=16)
    since: Asked | None = Field(default=None, alias="from")
    until: Asked | None = Field(default=None, alias="to")
    points: int = Field(default=300, ge=1, le=2_000)
    component: str = Field(default="host", max_length=64)


class EventQuery(Query):
    """Events of one kiosk, newest first."""

    kind: str | None = Field(default=None, max_length=32, pattern="^[a-z_]+$")
    since: Asked | None = Field(default=None, alias="from")
    until: Asked | None = Field(default=None, alias="to")
    limit: int = Field(default=100, ge=1, le=500)
    cursor: Annotated[str, Field(pattern=r"^-?[0-9]{1,18}\.[0-9]{1,18}$")] | None = None


class Point(BaseModel):
    """One bucket; `at` is its middle."""

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

    id: str
    at: datetime
    kiosk_at: datetime
    received_at: datetime
    kind: str
    record_class: str
    component: str
    name: str
    hist: bool
    body: dict[str, JsonValue]
    """What the record says beyond the fields above."""
