"""What goes wrong with the bills of channels, and how their tables are read: by the names in the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from patient_platform.errors import PlatformError

ROWS_MAX: Final = 1_000_000
_ZONE: Final = timezone(timedelta(hours=8))
_TIME_LENGTH: Final = len("2026-11-22 12:00:00")


class BillNotReady(PlatformError):
    """There will be one later."""


class BillInvalid(PlatformError):
    """It is damaged, or does not add up to its own summary; nothing of it may be used."""


def table(text: str, wanted: Sequence[str], *, strip: str) -> Iterator[dict[str, str]]:
    """Rows of a CSV table by the names in its first row; `strip` is what every cell is padded with.

    Raises:
        BillInvalid: a name is missing, or a row has another number of cells than the header.
    """
    rows = csv.reader(io.StringIO(text))
    header = [cell.strip().strip(strip).lstrip("\ufeff") for cell in next(rows, [])]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise BillInvalid(f"the bill has no column {missing[0]}")
    for number, row in enumerate(rows):
        if number >= ROWS_MAX:
            raise BillInvalid("the bill has no end")
        if not row:
            continue
        if len(row) != len(header):
            raise BillInvalid(f"row {number + 2} of the bill has {len(row)} cells, the header {len(header)}")
        yield {name: cell.strip().lstrip(strip).strip() for name, cell in zip(header, row, strict=True)}


def wall_time(text: str) -> datetime:
    """`2026-11-22 12:00:00` in China. Raises: ValueError; `strptime` says the same in twenty times the time."""
    moment = datetime.fromisoformat(text)
    if len(text) != _TIME_LENGTH or moment.tzinfo is not None:
        raise ValueError("no time of a bill")
    return moment.replace(tzinfo=_ZONE).astimezone(UTC)
