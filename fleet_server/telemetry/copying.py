"""PostgreSQL's binary COPY format, written in one block (PostgreSQL documentation, COPY, "Binary Format").

A hand-written block costs a third of a driver's row-by-row adaptation; every row goes into the table as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">II", 0, 0)
TRAILER: Final = struct.pack(">h", -1)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NULL: Final = struct.pack(">i", -1)
JSONB_VERSION: Final = b"\x01"

_FIXED: Final = struct.Struct(">h ii iq iq iq iq i?")
"""Field count, then (length, value) of: kiosk_no int4, seq int8, at, kiosk_at, received_at timestamptz, hist bool."""
_LENGTH: Final = struct.Struct(">i")
SAMPLE_COLUMNS: Final = ("kiosk_no", "seq", "at", "kiosk_at", "received_at", "hist", "epoch", "component", "sample")

SampleTuple = tuple[int, int, datetime, datetime, datetime, bool, str, str, bytes]


def microseconds(moment: datetime) -> int:
    """A timestamptz: microseconds since 2000-01-01 UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def sample_block(rows: Iterable[SampleTuple]) -> bytes:
    """The whole COPY stream of these samples, in the order of `SAMPLE_COLUMNS`; the last one is JSON."""
    parts = [HEADER]
    received = at_received = None
    for no, seq, at, kiosk_at, received_at, hist, epoch, component, sample in rows:
        if received_at is not received:
            received, at_received = received_at, microseconds(received_at)
        fixed = _FIXED.pack(
            len(SAMPLE_COLUMNS), 4, no, 8, seq, 8, microseconds(at), 8, microseconds(kiosk_at), 8, at_received, 1, hist
        )
        parts.append(fixed)
        for text in (epoch.encode(), component.encode()):
            parts.append(_LENGTH.pack(len(text)))
            parts.append(text)
        parts.append(_LENGTH.pack(len(sample) + 1))
        parts.append(JSONB_VERSION)
        parts.append(sample)
    parts.append(TRAILER)
    return b"".join(parts)
