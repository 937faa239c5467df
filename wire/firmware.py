"""What a device profile says of a device's own firmware: which is known, what it may be replaced by, and how."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from wire.envelope import ShortText, Text

IMAGE_BYTES_MAX = 32 * 1_048_576
ImageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class FirmwarePart(BaseModel):
    """A part of what a profile says of firmware."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FlashProtocol(StrEnum):
    """How an image gets into a device."""

    YMODEM = "ymodem"
    """A command of the vendor wakes the boot loader, which takes the image by YMODEM with CRC and 1,024-byte blocks."""
    PROGRAM = "program"
    """The vendor's own program does it, on a port that nobody else has open."""


class FlashProfile(FirmwarePart):
    """How a model is flashed."""

    protocol: FlashProtocol
    enter: Annotated[str, Field(pattern=r"^([0-9a-f]{2} ?){1,256}$")] | None = Field(
        default=None, description="ymodem: the command that wakes the boot loader, in hexadecimal"
    )
    argv: list[Text] = Field(
        default_factory=list, max_length=32, description="program: its command line; {port} and {image} are filled in"
    )
    begin_s: float = Field(default=20.0, gt=0.0, le=300.0, description="from the command to a boot loader that asks")
    answer_s: float = Field(default=5.0, gt=0.0, le=60.0, description="to the answer to one block")
    tries: int = Field(default=10, ge=3, le=100, description="of one block; the end of a file takes two")
    limit_s: float = Field(default=600.0, gt=0.0, le=3_600.0, description="for the whole image")
    restart_s: float = Field(default=60.0, gt=0.0, le=600.0, description="until the device answers as itself again")

    @model_validator(mode="after")
    def _is_whole(self) -> FlashProfile:
        if self.protocol is FlashProtocol.YMODEM and (self.enter is None or self.argv):
            raise PydanticCustomError("flash", "ymodem wants `enter` and no `argv`")
        if self.protocol is FlashProtocol.PROGRAM and (not self.argv or self.enter is not None):
            raise PydanticCustomError("flash", "program wants `argv` and no `enter`")
        if self.protocol is FlashProtocol.PROGRAM and not any("{image}" in word for word in self.argv):
            raise PydanticCustomError("flash", "no word of `argv` has {image} in it")
        return self

    @property
    def wake(self) -> bytes:
        """The bytes of `enter`."""
        return bytes.fromhex(self.enter or "")


class FirmwareUpdate(FirmwarePart):
    """One image and what it may be put on."""

    version: ShortText = Field(description="what the device says of itself afterwards")
    image: ImageName = Field(description="name of the file in the kiosk's firmware folder")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    replaces: list[ShortText] = Field(min_length=1, max_length=64, description="versions it may be put on")

    @field_validator("replaces")
    @classmethod
    def _are_others(cls, replaces: list[str]) -> list[str]:
        if len(set(replaces)) != len(replaces):
            raise PydanticCustomError("replaces", "a version is named twice")
        return replaces


class FirmwareProfile(FirmwarePart):
    """The firmware of one model."""

    known: list[ShortText] = Field(default_factory=list, max_length=64, description="versions that were tried")
    flash: FlashProfile | None = None
    updates: list[FirmwareUpdate] = Field(default_factory=list, max_length=16)

    @model_validator(mode="after")
    def _fits_together(self) -> FirmwareProfile:
        versions = [update.version for update in self.updates]
        if self.updates and self.flash is None:
            raise PydanticCustomError("firmware", "updates without `flash`: nothing says how")
        if len(set(versions)) != len(versions):
            raise PydanticCustomError("firmware", "two updates to the same version")
        for update in self.updates:
            if update.version in update.replaces:
                raise PydanticCustomError("firmware", "{version} replaces itself", {"version": update.version})
        return self

    def update_to(self, version: str) -> FirmwareUpdate | None:
        """The update to a version."""
        return next((update for update in self.updates if update.version == version), None)
