"""PostgreSQL's binary COPY format, written in one block (PostgreSQL documentation, COPY, "Binary Format").

A hand-written block costs a third of a driver's row-by-row adaptation; every row goes into the table as it is.
Instants come in microseconds since 1970; PostgreSQL counts them from 2000.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from fleet_server.uplink.model import Samples

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">II", 0, 0)
TRAILER: Final = struct.pack(">h", -1)
EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 UTC in microseconds since 1970."""
SAMPLE_COLUMNS: Final = (
    "kiosk_no",
    "at",
    "stream_no",
    "seq",
    "kiosk_at",
    "received_at",
    "hist",
    "span_s",
    "component",
    "sample",
)
_COUNT: Final = len(SAMPLE_COLUMNS)
_COMMON: Final = struct.Struct(">h ii iq ii iq iq iq i? i i4s i")
"""A row of the component "host" without a span; the JSON follows. A length of -1 is NULL."""
_FRONT: Final = struct.Struct(">h ii iq ii iq iq iq i?")
_FLOAT: Final = struct.Struct(">id")
_NULL: Final = struct.pack(">i", -1)
_LENGTH: Final = struct.Struct(">i")


def common_rows(kiosk_no: int, stream_no: int, received_us: int, given: Samples, samples: Sequence[bytes]) -> bytes:
    """Rows of the component "host" without a span, all of one stream."""
    pack, received = _COMMON.pack, received_us - EPOCH_US
    parts: list[bytes] = []
    for seq, at, kiosk_at, hist, sample in zip(
        given.seqs, given.at_us, given.kiosk_us, given.hist, samples, strict=True
    ):
        parts += (
            pack(
                _COUNT, 4, kiosk_no, 8, at - EPOCH_US, 4, stream_no, 8, seq, 8, kiosk_at - EPOCH_US, 8, received,
                1, hist, -1, 4, b"host", len(sample),
            ),
            sample,
        )  # fmt: skip
    return b"".join(parts)


def any_rows(kiosk_no: int, stream_no: int, received_us: int, given: Samples, samples: Sequence[bytes]) -> bytes:
    """Rows of any component, with or without a span, all of one stream."""
    received = received_us - EPOCH_US
    parts: list[bytes] = []
    for place, sample in enumerate(samples):
        at, kiosk_at = given.at_us[place] - EPOCH_US, given.kiosk_us[place] - EPOCH_US
        span_s, name = given.span_s[place], given.component[place].encode()
        parts += (
            _FRONT.pack(
                _COUNT, 4, kiosk_no, 8, at, 4, stream_no, 8, given.seqs[place], 8, kiosk_at, 8, received,
                1, given.hist[place],
            ),
            _NULL if span_s is None else _FLOAT.pack(8, span_s),
            _LENGTH.pack(len(name)),
            name,
            _LENGTH.pack(len(sample)),
            sample,
        )  # fmt: skip
    return b"".join(parts)
