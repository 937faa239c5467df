"""What the watch sees and keeps. Times are of the machine it runs on (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at all servers."""

    at: datetime
    idle_s: float | None
    """For how long alerting had no turn, by the server that knows best; None when no server says so."""
    why: str
    """What was seen, for people: no addresses of channels, nothing of a patient."""


class WatchState(BaseModel):
    """What is kept between looks and over a restart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    well_at: AwareDatetime | None = None
    """The last sign of life of alerting."""
    began_at: AwareDatetime | None = None
    """Since when people are told that it is gone; None while it is not."""
    id: str = ""
    """Of that call: every message of it has an id made of this one."""
    told: dict[str, AwareDatetime] = {}
    """Target to when it last took a message of this call."""
    over: tuple[str, ...] = ()
    """Targets that still have to hear that it is back."""
