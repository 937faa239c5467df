"""What a profile may say of a report printer, in `capabilities` and `quirks`; an unknown key is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agent.devices.report_printer.pages import Limits
from wire.profile import DeviceProfile

_Seconds = Annotated[float, Field(gt=0, le=3_600)]


class Options(BaseModel):
    """Numbers and habits of a model; everything a manual does not settle has its place here."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    duplex: bool = False
    impressions: bool = True
    """Whether the model counts impressions of a job; without, `completed` alone has to do."""
    media: str = "iso_a4_210x297mm"
    model_answer: str | None = None
    toner_low_percent: Annotated[int, Field(ge=0, le=50)] = 10
    max_pages: Annotated[int, Field(ge=1, le=500)] = 60
    max_bytes: Annotated[int, Field(ge=1_024, le=64 * 2**20)] = 8 * 2**20

    poll_s: _Seconds = 10.0
    job_poll_s: _Seconds = 0.5
    answer_s: _Seconds = 5.0
    send_s: _Seconds = 60.0
    stall_s: _Seconds = 90.0
    """How long a job may make no progress although nothing is reported to be wrong."""
    page_s: _Seconds = 6.0
    """How long a page may take where nothing counts them; comes on top of `stall_s` for each."""
    wait_s: _Seconds = 180.0
    """How long a job that was begun waits for paper, toner or a closed door before it is cancelled."""
    contact_s: _Seconds = 30.0
    """How long the printer may be silent about a job it has."""
    cancel_s: _Seconds = 15.0
    doubt_s: _Seconds = 300.0
    """How long an idle queue of CUPS is believed what it said of its printer during the last job."""
    settle_s: _Seconds = 3.0
    """How long a completed job may still be counting its pages."""

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What this profile says.

        Raises:
            ValueError: it says something a report printer does not know.
        """
        both = profile.capabilities.keys() & profile.quirks.keys()
        if both:
            raise ValueError(f"profile {profile.vendor}-{profile.model} says these twice: {', '.join(sorted(both))}")
        return cls.model_validate({**profile.capabilities, **profile.quirks})

    def limits(self) -> Limits:
        """What documents are taken."""
        return Limits(document_bytes=self.max_bytes, pages=self.max_pages)
