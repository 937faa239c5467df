"""Yuan as both wallets write them, fen as everything here counts."""

from __future__ import annotations

import re
from typing import Final

_YUAN: Final = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?")


def yuan(fen: int) -> str:
    """`-12.30` for -1230."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def fen(text: str) -> int:
    """1230 for `12.3`. Raises: ValueError: no amount, or a third decimal."""
    match = _YUAN.fullmatch(text)
    if match is None:
        raise ValueError("no amount in yuan")
    return int(match.group(1)) * 100 + int((match.group(2) or "").ljust(2, "0"))
