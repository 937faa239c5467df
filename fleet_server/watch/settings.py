"""Settings of the watch: `watch.toml`, and `FLEET_WATCH_…` of the environment. It shares no file with a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, model_validator

from fleet_server.settings import PagingTarget, Section, TargetName

ENV_PREFIX: Final = "FLEET_WATCH_"
ServerUrl = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]{1,253}/?$")]
LONGER_THAN_LOOKS: Final = 3


class WatchSettings(Section):
    """Whom to ask, and whom to call."""

    servers: tuple[ServerUrl, ...] = Field(min_length=1, max_length=10)
    """The API of every server of the fleet; one that answers well is enough."""
    ca_file: Path | None = None
    """The authority of the servers' certificates; without one, those of the system."""
    targets: dict[TargetName, PagingTarget] = Field(min_length=1)
    """All of them are told. Two channels that have nothing in common are better than one."""
    every_s: float = Field(default=15.0, ge=0.05, le=300.0)
    silent_s: float = Field(default=120.0, ge=0.2, le=3_600.0)
    """Alerting that shows no sign of life for so long is gone."""
    repeat_s: float = Field(default=600.0, ge=0.2, le=86_400.0)
    state_file: Path = Path("watch-state.json")
    """So that a restart neither forgets nor tells twice."""
    ping_url_file: Path | None = None
    """An address that is fetched after every look at which all is well: who watches the watch."""

    @model_validator(mode="after")
    def _looks_in_between(self) -> WatchSettings:
        if self.silent_s < LONGER_THAN_LOOKS * self.every_s:
            raise ValueError("silent_s: at least three times every_s, or one lost answer would wake somebody")
        return self
