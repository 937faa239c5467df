"""What a card reader does for the rest of the agent; nothing of a card shows in `repr`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class CardKind(StrEnum):
    """What a card may be to the hospital."""

    SOCIAL = "social"
    BANK = "bank"


@dataclass(frozen=True, slots=True)
class SocialHolder:
    """EF06: who the card belongs to. `sex` is 1 or 2, `birth_date` YYYYMMDD; None where the card is silent."""

    id_number: str = field(repr=False)
    name: str = field(repr=False)
    sex: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    area: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SocialCard:
    """A social-security card. With `needs_pin` the holder may be read on the certified terminal only."""

    card_number: str = field(repr=False)
    identification: str = field(repr=False)
    version: str
    issued_on: str
    expires_on: str
    needs_pin: bool = False
    holder: SocialHolder | None = field(default=None, repr=False)
    reset_information: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class BankCard:
    """What the flow needs of a bank card: six and four digits of the number, and when it expires (YYMM)."""

    masked_pan: str = field(repr=False)
    expires: str = field(repr=False)
    label: str = ""
    application: str = ""


Card = SocialCard | BankCard


class CardReader(Protocol):
    """A contact reader."""

    async def read_card(self, accept: Collection[CardKind], *, wait_s: float) -> Card | None:
        """Wait for a card and read it; None when none came.

        A card that is in already is read at once. PINs are never presented: a wrong one burns a try of the patient.

        Raises:
            DeviceFault: `card_unreadable` (its detail says why: removed, mute, other_kind, damaged, no_answer), or the
                reader or its service is gone.
        """


class SocialCardTerminal(Protocol):
    """The local bureau's certified component, where a city demands that cards are read through it."""

    async def read_social_card(self, *, wait_s: float) -> SocialCard | None:
        """As `CardReader.read_card` for social-security cards.

        Raises:
            DeviceFault: the component failed, or the card cannot be read.
        """
