"""What a profile may say of a PIN pad. A pad that gives digits in clear is refused here, before anything is opened."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from wire.profile import DeviceProfile

_Command = Annotated[int, Field(ge=0, le=0xFF)]
_CLEAR = frozenset({"legacy_clear", "branch_clear", "esc_clear"})


class BlockFormat(StrEnum):
    """How the PIN is put into the block."""

    ISO_0 = "iso0"
    ISO_4 = "iso4"
    SM4 = "sm4"


class Options(BaseModel):
    """Numbers of a model; commands are nobody's standard."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    encrypts: bool = False
    """Whether the maker states that no digit leaves the pad; without it the pad is refused."""
    block_format: BlockFormat = BlockFormat.ISO_0
    block_bytes: Annotated[int, Field(ge=8, le=32)] = 8
    key_name: str = "pin"
    command_status: _Command = 0x30
    command_enter: _Command = 0x35
    command_cancel: _Command = 0x36
    key_mark: _Command = 0x2A
    """What the pad sends for a pressed digit."""
    erase_mark: _Command = 0x08
    cancel_mark: _Command = 0x1B
    answer_s: Annotated[float, Field(gt=0, le=30)] = 2.0
    poll_s: Annotated[float, Field(gt=0, le=60)] = 5.0

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What this profile says.

        Raises:
            ValueError: it says something a PIN pad does not know, or the pad gives a PIN in clear.
        """
        name = f"profile {profile.vendor}-{profile.model}"
        if profile.dialect in _CLEAR:
            raise ValueError(f"{name}: pads that give a PIN in clear are not supported")
        both = profile.capabilities.keys() & profile.quirks.keys()
        if both:
            raise ValueError(f"{name} says these twice: {', '.join(sorted(both))}")
        found = cls.model_validate({**profile.capabilities, **profile.quirks})
        if not found.encrypts:
            raise ValueError(f"{name}: a PIN pad has to encrypt (encrypts: true, as its maker states)")
        if chr(found.key_mark).isdigit():
            raise ValueError(f"{name}: the mark of a key must not be a digit")
        return found
