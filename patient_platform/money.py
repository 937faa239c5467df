"""Money inside is an integer number of fen; yuan exist only at the edges and only as exact text.

WeChat's API speaks fen, its bills and all of Alipay speak yuan with two decimals, insurance speaks numeric(16,2).
A float never holds money: it is refused here, so that it cannot come in anywhere.
"""

from __future__ import annotations

import re
from typing import Final, NewType

Fen = NewType("Fen", int)
"""1/100 yuan."""

NOTHING: Final = Fen(0)
AMOUNT_MAX: Final = Fen(10_000_000_00)
"""Nothing a patient pays at a kiosk is above ten million yuan; more is a mistake or an attack."""
_YUAN: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,2}))?")


class MoneyError(ValueError):
    """The text is no amount of yuan with at most two decimals."""


def to_yuan(amount: Fen) -> str:
    """`1230` as `12.30`."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def from_yuan(text: str) -> Fen:
    """`12.3` and `12.30` as 1230.

    Raises:
        MoneyError: anything else: more decimals, exponents, separators, signs in the middle, full-width digits.
    """
    found = _YUAN.fullmatch(text) if text.isascii() else None
    if found is None:
        raise MoneyError("no amount of yuan with at most two decimals")
    sign, whole, decimals = found.groups()
    fen = int(whole) * 100 + int((decimals or "").ljust(2, "0"))
    return Fen(-fen if sign else fen)
