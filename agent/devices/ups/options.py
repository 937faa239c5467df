"""What a profile may say of a UPS, in `capabilities` and `quirks`; an unknown key is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from wire.profile import DeviceProfile

_Seconds = Annotated[float, Field(gt=0, le=60)]


class Options(BaseModel):
    """Numbers and habits of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    ups: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "ups"
    """Its name in upsd's configuration."""
    model_answer: str | None = None
    """What its maker and model must hold, as upsd tells them; a UPS that tells neither is believed."""
    charge_low_percent: Annotated[int, Field(ge=0, le=100)] = 20
    runtime_low_s: Annotated[int, Field(ge=0, le=3_600)] = 120
    poll_s: _Seconds = 2.0
    answer_s: _Seconds = 3.0

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What this profile says.

        Raises:
            ValueError: it says something a UPS does not know.
        """
        both = profile.capabilities.keys() & profile.quirks.keys()
        if both:
            raise ValueError(f"profile {profile.vendor}-{profile.model} says these twice: {', '.join(sorted(both))}")
        return cls.model_validate({**profile.capabilities, **profile.quirks})
