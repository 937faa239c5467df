"""Patients and sessions. What identifies a person is sealed in the store and masked everywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

ELDER_AGE: Final = 65


class _Medium(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True)


Name = Annotated[str, Field(min_length=1, max_length=60)]
Number = Annotated[str, Field(min_length=5, max_length=40, pattern=r"^[0-9A-Za-z]+$")]


class IdCardMedium(_Medium):
    """What an ID card reader read."""

    kind: Literal["id_card"]
    name: Name
    number: Number
    sex: Annotated[str, Field(max_length=4)] = ""
    born: date | None = None
    address: Annotated[str, Field(max_length=200)] = ""


class SocialSecurityCardMedium(_Medium):
    """What a card reader read from a social security card."""

    kind: Literal["social_security_card"]
    name: Name
    number: Number
    card_number: Number


class CodeMedium(_Medium):
    """What a scanner read: a visit code or a health code."""

    kind: Literal["code"]
    text: Annotated[str, Field(min_length=4, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class VisitNumberMedium(_Medium):
    """A visit number somebody typed."""

    kind: Literal["visit_number"]
    text: Number


AnyMedium = Annotated[
    IdCardMedium | SocialSecurityCardMedium | CodeMedium | VisitNumberMedium, Field(discriminator="kind")
]


class SessionRequest(BaseModel):
    """Somebody presents something."""

    model_config = ConfigDict(extra="forbid")

    medium: AnyMedium


class PatientView(BaseModel):
    """What a screen may show of a patient."""

    display_name: str
    number_tail: str | None
    phone: str | None
    is_elder: bool
    is_new: bool


class SessionView(BaseModel):
    """One patient at one kiosk."""

    session: str
    expires_at: AwareDatetime
    patient: PatientView


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient as we keep them."""

    patient: str
    """Our reference; in orders and logs."""
    his_patient: str
    visit_number: str
    name: str = field(repr=False)
    id_number: str = field(repr=False)
    phone: str = field(repr=False)
    birthday: date | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """One patient at one kiosk, for a while."""

    session: str
    kiosk: str
    patient: str
    expires_at: datetime
    ended_at: datetime | None = None
