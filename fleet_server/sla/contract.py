"""The contract as data: what was promised, what is excluded and by which proof, what a breach costs.

A TOML file that both sides can read; the contract in force is sealed with the evidence, so an export proves against
which promise it was judged. Percentages are exact to four places, money is whole fen, everything timed is seconds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fleet_server.errors import FleetError
from wire.faults import Fault, Severity
from wire.functions import PatientFunction

T = TypeVar("T")
HOURS_OF_A_DAY: Final = 24
PPM: Final = 1_000_000
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=4)]
Seconds = Annotated[int, Field(ge=60, le=31 * 86_400)]
Weight = Annotated[int, Field(ge=0, le=1_000_000)]
Fen = Annotated[int, Field(ge=0, le=10**13)]


class ContractError(FleetError):
    """The file is no contract; `problems` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        """Complain about these."""
        super().__init__("; ".join(problems))
        self.problems = problems


class Side(StrEnum):
    """Who has to put a cause right."""

    VENDOR = "vendor"
    HOSPITAL = "hospital"
    OUTSIDE = "outside"
    """Neither: a bank, the insurance, a carrier."""


class Exclusion(StrEnum):
    """Why a clock may stand still; the list is closed."""

    HOSPITAL_POWER = "hospital_power"
    HOSPITAL_NETWORK = "hospital_network"
    HOSPITAL_SYSTEM = "hospital_system"
    """HIS or another system of the hospital is down."""
    OUTSIDE_SYSTEM = "outside_system"
    AREA_LOCKED = "area_locked"
    """Nobody lets the engineer in."""
    HOSPITAL_REQUEST = "hospital_request"
    """The hospital asked in writing to wait."""
    FORCE_MAJEURE = "force_majeure"


PROOF: Mapping[Exclusion, frozenset[str]] = MappingProxyType(
    {
        Exclusion.HOSPITAL_POWER: frozenset({"incident", "alarm", "ups"}),
        Exclusion.HOSPITAL_NETWORK: frozenset({"incident", "alarm", "probe"}),
        Exclusion.HOSPITAL_SYSTEM: frozenset({"incident", "alarm", "probe"}),
        Exclusion.OUTSIDE_SYSTEM: frozenset({"incident", "alarm", "probe"}),
        Exclusion.AREA_LOCKED: frozenset({"photo", "document"}),
        Exclusion.HOSPITAL_REQUEST: frozenset({"document"}),
        Exclusion.FORCE_MAJEURE: frozenset({"document"}),
    }
)
"""What proves each, where a contract says nothing else: one of these kinds is enough."""


class Section(BaseModel):
    """One part of a contract; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(Section):
    """How long an answer and a repair may take, at any hour of any day."""

    response_s: Seconds = 14_400
    repair_s: Seconds = 14_400


class Targets(Section):
    """Promised availability; a function that is not named has the one of all functions."""

    kiosk: Percent = Decimal("99.0")
    function: Percent = Decimal("99.0")
    functions: dict[Word, Percent] = Field(default_factory=dict)


class Demand(Section):
    """How much an hour of the day weighs, 24 numbers from midnight; areas may have their own."""

    hours: tuple[Weight, ...] = (1,) * HOURS_OF_A_DAY
    areas: dict[str, tuple[Weight, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole_days(self) -> Self:
        for name, hours in {"hours": self.hours, **self.areas}.items():
            if len(hours) != HOURS_OF_A_DAY or not any(hours):
                raise ValueError(f"{name}: 24 weights are needed, from midnight, and not all of them zero")
        return self


class Penalties(Section):
    """What a breach of the vendor costs, in fen."""

    response_fen: Fen = 0
    repair_fen: Fen = 0
    kiosk_below_target_fen: Fen = 0
    """For each kiosk below its availability in a month."""
    monthly_cap_fen: Fen | None = None


class Contract(Section):
    """What was promised."""

    number: Annotated[str, Field(min_length=1, max_length=64)]
    hospital: Annotated[str, Field(min_length=1, max_length=128)]
    vendor: Annotated[str, Field(min_length=1, max_length=128)]
    starts_on: date
    years: int = Field(default=5, ge=1, le=20)
    zone: str = "Asia/Shanghai"
    """Where midnight is taken from."""
    warn_percent: tuple[Annotated[int, Field(gt=0, lt=100)], ...] = (50, 75, 90)
    relapse_s: Seconds = 86_400
    """Broken again within this time: the same case, and its clock never stopped."""
    proof_s: Seconds = 4_500
    """How long what a kiosk said holds while it is out of sight; it says everything again every hour."""
    settle_days: int = Field(default=7, ge=0, le=31)
    """How long after a month's end late evidence still counts for it."""
    limits: dict[Severity, Limits] = Field(default_factory=lambda: dict.fromkeys(Severity, Limits()))
    exclusions: dict[Exclusion, Annotated[tuple[Word, ...], Field(min_length=1)]] = Field(
        default_factory=lambda: {exclusion: tuple(sorted(kinds)) for exclusion, kinds in PROOF.items()}
    )
    """Which of the reasons count at all, and which kinds of evidence prove each."""
    targets: Targets = Targets()
    demand: Demand = Demand()
    functions: dict[Word, Weight] = Field(default_factory=dict)
    """How much a patient function weighs in a kiosk's availability; 1 where nothing is said."""
    sides: dict[Word, Side] = Field(default_factory=dict)
    """Who has to put a cause right, by fault code; the vendor where nothing is said."""
    warranty_days: int = Field(default=365, ge=0, le=3_660)
    penalties: Penalties = Penalties()

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; for example Asia/Shanghai") from None
        return zone

    @field_validator("warn_percent")
    @classmethod
    def _rising(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError("the warning levels must rise")
        return levels

    @field_validator("limits")
    @classmethod
    def _every_severity(cls, limits: dict[Severity, Limits]) -> dict[Severity, Limits]:
        missing = [severity.value for severity in Severity if severity not in limits]
        if missing:
            raise ValueError(f"these severities have no limits: {', '.join(missing)}")
        return limits

    @field_validator("functions")
    @classmethod
    def _known_functions(cls, functions: dict[str, int]) -> dict[str, int]:
        return _known(functions, {function.value for function in PatientFunction}, "patient function")

    @field_validator("sides")
    @classmethod
    def _known_codes(cls, sides: dict[str, Side]) -> dict[str, Side]:
        return _known(sides, {fault.value for fault in Fault}, "fault code")

    @property
    def begins_at(self) -> datetime:
        """The first moment of the term."""
        return datetime.combine(self.starts_on, time(), ZoneInfo(self.zone)).astimezone(UTC)

    @property
    def ends_at(self) -> datetime:
        """The first moment after the term."""
        year = self.starts_on.year + self.years
        try:
            last = self.starts_on.replace(year=year)
        except ValueError:  # the 29th of February
            last = date(year, 3, 1)
        return datetime.combine(last, time(), ZoneInfo(self.zone)).astimezone(UTC)

    def side_of(self, cause: str) -> Side:
        """Who has to put this cause right."""
        return self.sides.get(cause, SIDES.get(cause, Side.VENDOR))

    def proves(self, reason: str, kinds: Mapping[str, object]) -> bool:
        """Whether a pause with this reason and these kinds of evidence counts."""
        if reason not in _EXCLUSIONS:
            return False
        return any(kinds.get(kind) for kind in self.exclusions.get(Exclusion(reason), ()))


SIDES: Mapping[str, Side] = MappingProxyType(
    {
        Fault.ON_BATTERY.value: Side.HOSPITAL,
        Fault.BATTERY_LOW.value: Side.HOSPITAL,
    }
)
"""Causes that are not the vendor's, where a contract says nothing else."""
_EXCLUSIONS: Final = frozenset(exclusion.value for exclusion in Exclusion)


def ppm(percent: Decimal) -> int:
    """Millionths of a percentage, exact."""
    return int(percent * 10_000)


def _known(given: dict[str, T], known: set[str], what: str) -> dict[str, T]:
    strange = sorted(set(given) - known)
    if strange:
        raise ValueError(f"no such {what}: {', '.join(strange)}")
    return given


def load(file: Path) -> Contract:
    """Read a contract. Raises: ContractError."""
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError([f"{file}: {error}"]) from error


def parse(text: str) -> Contract:
    """Read the text of a contract. Raises: ContractError."""
    try:
        document: dict[str, Any] = tomllib.loads(text, parse_float=Decimal)  # Any: TOML
    except tomllib.TOMLDecodeError as error:
        raise ContractError([str(error)]) from error
    try:
        return Contract.model_validate(document)
    except ValidationError as error:
        raise ContractError([_problem(item["loc"], item["msg"]) for item in error.errors()]) from error


def _problem(place: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(str(part) for part in place if part != '[key]') or 'contract'}: {message}"
