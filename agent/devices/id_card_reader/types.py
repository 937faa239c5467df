"""What a reader of identity documents can do and what it gives.

Everything that says who a person is stays out of `repr`, so that no log line and no exception can show it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Protocol


class DocumentType(StrEnum):
    """The four documents that carry the same chip."""

    RESIDENT = "resident"
    HK_MACAO_TAIWAN = "hk_macao_taiwan"
    FOREIGNER_2017 = "foreigner_2017"
    FOREIGNER_2023 = "foreigner_2023"


class Sex(StrEnum):
    """As GB/T 2261.1 has it."""

    UNKNOWN = "unknown"
    MALE = "male"
    FEMALE = "female"
    UNSPECIFIED = "unspecified"


@dataclass(frozen=True, slots=True)
class IdDocument:
    """What was read from one document; a field its kind does not have is empty, a date that is none is None."""

    type: DocumentType
    name: str = field(repr=False)
    number: str = field(repr=False)
    number_is_valid: bool
    """Whether the check digit fits; a document that fails it was read as it is."""
    sex: Sex = field(repr=False)
    born: date | None = field(repr=False)
    valid_from: date | None = field(repr=False)
    valid_to: date | None = field(repr=False)
    is_long_term: bool = field(default=False, repr=False)
    latin_name: str = field(default="", repr=False)
    nation_code: str = field(default="", repr=False)
    nation: str = field(default="", repr=False)
    """Empty for a code that nobody gave a meaning; the code is kept."""
    address: str = field(default="", repr=False)
    newest_address: str = field(default="", repr=False)
    issuer: str = field(default="", repr=False)
    pass_number: str = field(default="", repr=False)
    issue_count: str = field(default="", repr=False)
    country: str = field(default="", repr=False)
    older_number: str = field(default="", repr=False)
    """The number of the same person's permit of 2017, derived from the one of 2023."""
    photo: bytes = field(default=b"", repr=False)
    """The picture as the chip has it; only a vendor's decoder can open it."""
    picture: Picture | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo, three bytes a pixel: blue, green, red."""

    width: int
    height: int
    bgr: bytes = field(repr=False)


class PhotoDecoder(Protocol):
    """A vendor's decoder of the photo; where none is installed there is no picture."""

    def decode(self, photo: bytes) -> Picture | None:
        """The picture, or None when it cannot be opened. May take a while: called in a thread."""


class IdCardReader(Protocol):
    """Reads one document at a time."""

    @property
    def is_card_present(self) -> bool:
        """Whether a card lies on the reader, as far as it was seen."""

    async def read_document(self, *, timeout_s: float) -> IdDocument | None:
        """Wait for a card and read it; None when none was put there in time.

        Raises:
            DeviceFault: CARD_UNREADABLE (take it off and put it there again), DEVICE_BUSY (somebody reads already),
                SAM_FAILED, NOT_RESPONDING, PROTOCOL_ERROR.
            LinkError: the link failed.
        """

    async def wait_removed(self, *, timeout_s: float) -> bool:
        """Whether the card was taken off in time."""
