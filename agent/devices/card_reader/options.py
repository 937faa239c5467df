"""What a profile may say of a card reader, in `capabilities` and `quirks`; an unknown key is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from wire.profile import DeviceProfile


class Addressing(StrEnum):
    """How records of a social-security card are asked for first."""

    RECORD = "record"
    TAG = "tag"


class Options(BaseModel):
    """Numbers and habits of a model, and which cards are read with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    social: bool = True
    bank: bool = True
    addressing: Addressing = Addressing.RECORD
    select_file_p1: Annotated[int, Field(ge=0, le=15)] = 0
    answer_s: Annotated[float, Field(gt=0, le=30)] = 3.0

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What this profile says.

        Raises:
            ValueError: it says something a card reader does not know.
        """
        return cls.model_validate({**profile.capabilities, **profile.quirks})
