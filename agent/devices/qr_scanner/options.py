"""What a profile may say of a scanner, in `capabilities` and `quirks`; an unknown key is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agent.devices.qr_scanner.frames import Suffix
from wire.profile import DeviceProfile


class Dialect(StrEnum):
    """The `dialect` of a profile."""

    PLAIN = "plain"
    NEWLAND = "newland"
    HONEYWELL = "honeywell"
    SSI = "ssi"
    FRAMED = "framed"


class Options(BaseModel):
    """Numbers and habits of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    suffix: Suffix = Suffix.CR
    aim: bool = False
    triggered: bool = True
    setup: Annotated[str, Field(pattern=r"^([A-Z]{6}[0-9A-Z]*(;|$))*$")] = ""
    pause_s: Annotated[float, Field(ge=0.02, le=2.0)] = 0.05
    answer_s: Annotated[float, Field(gt=0, le=10)] = 1.0
    model_answer: str | None = None
    """What a scanner that tells its revision (SSI) must say in it."""
    same_code_s: Annotated[float, Field(ge=0, le=10)] = 1.0
    voucher_pattern: Annotated[str, Field(max_length=200)] = r"[0-9]{28}"
    hospital_pattern: Annotated[str, Field(max_length=200)] = ""

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What this profile says.

        Raises:
            ValueError: it says something a scanner does not know.
        """
        return cls.model_validate({**profile.capabilities, **profile.quirks})
