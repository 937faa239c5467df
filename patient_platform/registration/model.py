"""What one can register for, as the kiosk shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - `date` is a field of a view
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class DepartmentView(BaseModel):
    """A department."""

    department: str
    name: str
    pinyin: str
    location: str
    floor: str
    has_slots: bool


class DepartmentsView(BaseModel):
    """All departments of the campus."""

    departments: list[DepartmentView]


class DoctorView(BaseModel):
    """A doctor with hours today."""

    doctor: str
    name: str
    title: str
    fee_fen: int
    left: int


class DoctorsView(BaseModel):
    """All doctors of a department."""

    doctors: list[DoctorView]


class SlotView(BaseModel):
    """A slot; `schedule` is opaque."""

    schedule: str
    number: int
    date: Date
    begin: str
    end: str
    left: int
    fee_fen: int


class SlotsView(BaseModel):
    """What is left of a doctor's hours."""

    slots: list[SlotView]


class LockRequest(BaseModel):
    """Which slot to keep."""

    model_config = ConfigDict(extra="forbid")

    schedule: Annotated[str, Field(max_length=1_000)]
    number: Annotated[int, Field(ge=0, le=100_000)]


class LockView(BaseModel):
    """A slot that is kept for the patient."""

    lock: str
    expires_at: AwareDatetime
    fee_fen: int
    queue_number: str
    department: str
    doctor: str
    begin: str
    end: str


@dataclass(frozen=True, slots=True)
class Lock:
    """A slot that is kept for a session."""

    lock: str
    session: str
    kiosk: str
    pre_id: str
    slot_key: str
    fee_fen: int
    queue_number: str
    department: str
    doctor: str
    location: str
    begin: str
    end: str
    expires_at: datetime
    order: str | None = None
