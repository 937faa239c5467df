"""What a kiosk kept while it was offline, sent late and slowly beside the live records.

The records are made when they are sent: the hours of a thousand kiosks need no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from wire.uplink import AnyRecord, EventRecord, RecordClass, TelemetryRecord

SAMPLE_S = 10.0
SAMPLES_PER_EVENT = 30
BURST_S = 2.0
"""Allowance that may gather while nothing can be sent, in seconds of the rate."""

Sample = Callable[[float], dict[str, float]]
"""Values of the host at an uptime."""


@dataclass(frozen=True, slots=True)
class Absence:
    """When the kiosk was offline, by its own clock, and in which boot."""

    ended: datetime
    seconds: float
    boot: str
    offset_s: float


class Backlog:
    """Numbers `first_seq` onwards, oldest first."""

    def __init__(self, absence: Absence, first_seq: int, sample: Sample) -> None:
        self._absence = absence
        self._first_seq = first_seq
        self._sample = sample
        self._count = length(absence.seconds)
        self._made = 0
        self._allowance = 0.0
        self._paid_s: float | None = None

    @property
    def remaining(self) -> int:
        """Records still to be sent."""
        return self._count - self._made

    def due(self, now_s: float, *, per_s: float, room: int) -> Sequence[AnyRecord]:
        """The next records the rate allows, at most `room`."""
        since_s = 0.0 if self._paid_s is None else now_s - self._paid_s
        self._paid_s = now_s
        self._allowance = min(BURST_S * per_s, self._allowance + since_s * per_s)
        number = max(0, min(int(self._allowance), room, self.remaining))
        self._allowance -= number
        made = [self._record(place) for place in range(self._made, self._made + number)]
        self._made += number
        return made

    def _record(self, place: int) -> AnyRecord:
        absence = self._absence
        uptime_s = place * absence.seconds / self._count
        at = absence.ended - timedelta(seconds=absence.seconds - uptime_s)
        mono_ms = int(uptime_s * 1_000)
        seq = self._first_seq + place
        if place % (SAMPLES_PER_EVENT + 1) == SAMPLES_PER_EVENT:
            return EventRecord(
                seq=seq,
                record_class=RecordClass.P1,
                at=at,
                boot=absence.boot,
                mono_ms=mono_ms,
                offset_s=absence.offset_s,
                hist=True,
                component="host",
                name="session.ended",
                fields={"duration_s": 60.0},
            )
        return TelemetryRecord(
            seq=seq,
            record_class=RecordClass.P2,
            at=at,
            boot=absence.boot,
            mono_ms=mono_ms,
            offset_s=absence.offset_s,
            hist=True,
            values=self._sample(uptime_s),
        )


def length(seconds: float) -> int:
    """Records of an absence: a sample every `SAMPLE_S`, an event now and then."""
    samples = int(seconds / SAMPLE_S)
    return samples + samples // SAMPLES_PER_EVENT
