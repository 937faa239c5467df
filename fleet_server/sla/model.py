"""The monthly report as it leaves the API. Every number is whole: seconds, millionths, fen; times are UTC.

All four formats are made from this and from nothing else.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]


class Part(BaseModel):
    """A piece of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Summary(Part):
    """The month in a few numbers."""

    availability_ppm: int | None
    kiosks: int
    kiosks_below_target: int
    cases: int
    """Began in the month."""
    preventive_cases: int
    """Work without a fault: rounds, guides, calls for help."""
    response_mean_s: int | None
    response_max_s: int | None
    repair_mean_s: int | None
    repair_max_s: int | None
    response_breaches: int
    repair_breaches: int
    vendor_breaches: int
    paused_s: int
    unproved_pause_s: int
    penalty_fen: int


class Availability(Part):
    """Time of one kiosk, area or patient function; `availability_ppm` is weighed by demand, the seconds are not."""

    name: str
    title: str
    target_ppm: int | None
    availability_ppm: int | None
    up_s: int
    down_s: int
    excluded_s: int
    unproved_s: int
    is_met: bool | None


class CaseLine(Part):
    """One case with its two clocks."""

    number: int
    id: str
    cause: str
    cause_title: str
    scope: str
    place: str
    severity: str
    side: str
    kiosks: int
    is_preventive: bool
    began_at: datetime
    responded_at: datetime | None
    restored_at: datetime | None
    response_s: int
    repair_s: int
    paused_s: int
    unproved_s: int
    is_response_breached: bool
    is_repair_breached: bool
    warning_level: int
    repair_due_at: datetime | None
    """When the repair clock reached or will reach its limit."""


class BreachLine(Part):
    """One limit that was not kept in the month."""

    number: int
    clock: str
    cause: str
    cause_title: str
    place: str
    side: str
    limit_s: int
    elapsed_s: int
    over_s: int
    breached_at: datetime
    penalty_fen: int


class PauseLine(Part):
    """A stretch in which clocks stood still, or were claimed to."""

    number: int
    reason: str
    since: datetime
    until: datetime | None
    length_s: int
    evidence: str
    is_proved: bool


class ModelLine(Part):
    """How often devices of one model and firmware fail, and how long a repair takes."""

    model: str
    firmware: str
    units: int
    service_s: int
    failures: int
    mtbf_s: int | None
    mttr_s: int | None


class PartLine(Part):
    """A part that was changed."""

    order: str
    kid: str
    component: str
    part: str
    serial_out: str
    serial_in: str
    at: datetime
    warranty_until: datetime


class Report(Part):
    """A month."""

    month: Month
    contract: str
    hospital: str
    vendor: str
    zone: str
    since: datetime
    until: datetime
    as_of: datetime
    is_final: bool
    """Late evidence counts no more."""
    evidence_rows: int
    evidence_head: str | None
    """Chain value of the last sealed row it was computed from."""
    summary: Summary
    functions: list[Availability]
    areas: list[Availability]
    kiosks: list[Availability]
    cases: list[CaseLine]
    breaches: list[BreachLine]
    pauses: list[PauseLine]
    models: list[ModelLine]
    parts: list[PartLine]
