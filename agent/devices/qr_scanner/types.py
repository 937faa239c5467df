"""What a scanner does for the rest of the agent. A code may be money: it never shows in `repr`, and is used once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kit.clock import Clock

LIFETIME_S = 60.0
_FINGERPRINT_CHARACTERS = 12


class CodeKind(StrEnum):
    """What a code may be to the hospital."""

    WECHAT_PAY = "wechat_pay"
    ALIPAY_PAY = "alipay_pay"
    UNIONPAY_PAY = "unionpay_pay"
    HEALTH_CARD = "health_card"
    INSURANCE_VOUCHER = "insurance_voucher"
    RESIDENT_ID = "resident_id"
    HOSPITAL = "hospital"


PAYMENTS = frozenset({CodeKind.WECHAT_PAY, CodeKind.ALIPAY_PAY, CodeKind.UNIONPAY_PAY})


class CodeSpent(Exception):
    """The code was taken already, or is older than a minute."""


class OneUseCode:
    """A scanned code, always a string. `take` gives it once, within a minute."""

    __slots__ = ("_born_s", "_clock", "_text", "fingerprint")

    def __init__(self, text: str, clock: Clock, salt: bytes) -> None:
        self._text: str | None = text
        self._clock = clock
        self._born_s = clock.monotonic()
        self.fingerprint = hashlib.blake2b(text.encode(), key=salt).hexdigest()[:_FINGERPRINT_CHARACTERS]

    def __repr__(self) -> str:
        return "OneUseCode(…)"

    def take(self) -> str:
        """The text, which is forgotten.

        Raises:
            CodeSpent: it was taken before, or too long ago was now.
        """
        text, self._text = self._text, None
        if text is None or self._clock.monotonic() - self._born_s > LIFETIME_S:
            raise CodeSpent("the code is spent")
        return text


@dataclass(frozen=True, slots=True)
class Scan:
    """One code and what it may be among what was asked for: none, one, or several (then a person is asked)."""

    code: OneUseCode = field(repr=False)
    kinds: tuple[CodeKind, ...]
    symbology: str | None = None

    @property
    def is_ambiguous(self) -> bool:
        """Whether it may be more than one thing; never guess."""
        return len(self.kinds) > 1


class QrScanner(Protocol):
    """A scanner for codes on paper and phones."""

    async def read_code(self, expect: Collection[CodeKind], *, wait_s: float) -> Scan | None:
        """Light up, wait for one code, go dark; None when none was shown. What was scanned before is not taken.

        Raises:
            DeviceFault: the scanner failed.
            LinkError: the link failed.
        """
