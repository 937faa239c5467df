"""Server time of a record, judged from evidence: the kiosk's own clock may be wrong by years.

1. The record says how far the kiosk's clock was off: kiosk time minus offset.
2. Another record of the same boot says it: carried over by the kiosk's monotonic clock.
3. The kiosk's time is plausible: taken as it is.
4. Otherwise the moment it was received: never the future, never a year that cannot be.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from wire.uplink import AnyRecord

FUTURE: Final = timedelta(minutes=5)
PAST: Final = timedelta(days=60)
_BOOTS_KEPT: Final = 20_000


class RecordTimes:
    """Remembers, for each boot of each kiosk, one moment at which both clocks were known."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._anchors: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def moments(self, kid: str, records: Sequence[AnyRecord], received_at: datetime) -> list[datetime]:
        """The server time of each record."""
        for record in records:
            if record.offset_s is not None:
                self._anchor(kid, record)
        return [self._moment(kid, record, received_at) for record in records]

    def _anchor(self, kid: str, record: AnyRecord) -> None:
        key = (kid, record.boot)
        start = record.at - timedelta(seconds=record.offset_s or 0.0, milliseconds=record.mono_ms)
        self._anchors[key] = start
        self._anchors.move_to_end(key)
        if len(self._anchors) > _BOOTS_KEPT:
            self._anchors.popitem(last=False)

    def _moment(self, kid: str, record: AnyRecord, received_at: datetime) -> datetime:
        if record.offset_s is not None:
            guess = record.at - timedelta(seconds=record.offset_s)
        else:
            start = self._anchors.get((kid, record.boot))
            guess = record.at if start is None else start + timedelta(milliseconds=record.mono_ms)
        if guess > received_at + FUTURE or guess < received_at - PAST:
            return received_at
        return min(guess, received_at)
