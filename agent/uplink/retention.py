"""What happens to records as they age or space runs short; the order of deletion is fixed.

P2 rows are averaged to one a minute after an hour and to one per five minutes after a day, and end after two
weeks; P1 ends after a week; P0 never ends. Over the cap or short of disk: oldest P2 first, then oldest P1.
Age is the outbox's own clock, which only runs forward, so a wrong wall clock deletes nothing.
Every pass is a bounded slice; cursors remember where the next one goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.settings import OutboxSettings
from agent.uplink.rows import Draft, checksum
from agent.uplink.spool import Spool
from agent.uplink.spool_file import P1, P2, SpoolCorrupt, translated

SLICE_ROWS = 2_000
MINUTE_MS = 60_000
FIVE_MINUTES_MS = 300_000
RAW, MINUTE, FIVE_MINUTES = range(3)


@dataclass(slots=True)
class Cursors:
    """Where each pass goes on; lost at a restart, which costs one scan."""

    thinned: dict[int, int] = field(default_factory=lambda: {RAW: 0, MINUTE: 0})
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A stored telemetry row, parsed."""

    seq: int
    kept_ms: int
    record: Mapping[str, object]

    @property
    def weight(self) -> int:
        """How many raw samples it stands for."""
        samples = self.record.get("samples", 1)
        return samples if isinstance(samples, int) else 1


def thin(spool: Spool, cursors: Cursors, settings: OutboxSettings, now_ms: int, hold: frozenset[int]) -> int:
    """Average one slice of telemetry that is old enough; rows in `hold` are on their way and stay. Rows replaced.

    Raises:
        SpoolError: nothing of the failed slice changed.
    """
    replaced = 0
    for tier, age_s, bucket_ms in (
        (RAW, settings.p2_raw_s, MINUTE_MS),
        (MINUTE, settings.p2_minute_s, FIVE_MINUTES_MS),
    ):
        before_ms = (now_ms - int(age_s * 1_000)) // bucket_ms * bucket_ms
        samples, end = _samples(spool, tier, cursors.thinned[tier], before_ms)
        groups = _grouped([item for item in samples if item.seq not in hold], bucket_ms)
        gone = sorted(item.seq for group in groups for item in group)
        if gone:
            fresh = [(_average(group, bucket_ms), tier + 1) for group in groups]
            spool.replace_rows(gone, fresh)
            replaced += len(gone)
        cursors.thinned[tier] = end
    return replaced


def expire(spool: Spool, cursors: Cursors, settings: OutboxSettings, now_ms: int) -> int:
    """Delete one slice of rows whose time is over; how many.

    Raises:
        SpoolError: nothing changed.
    """
    p1_ms = now_ms - int(settings.p1_keep_s * 1_000)
    p2_ms = now_ms - int(settings.p2_keep_s * 1_000)
    with translated():
        rows = spool.db.execute(
            "SELECT seq, class, kept_ms FROM record WHERE seq > ? ORDER BY seq LIMIT ?", (cursors.expired, SLICE_ROWS)
        ).fetchall()
    limit_ms = {P1: p1_ms, P2: p2_ms}
    gone = [seq for seq, class_no, kept_ms in rows if class_no in limit_ms and kept_ms < limit_ms[class_no]]
    if gone:
        spool.replace_rows(gone)
    young = next((seq for seq, _, kept_ms in rows if kept_ms >= max(p1_ms, p2_ms)), None)
    is_end = young is not None or len(rows) < SLICE_ROWS
    cursors.expired = 0 if is_end else int(rows[-1][0])
    return len(gone)


def drop_oldest(spool: Spool, class_no: int, number: int, hold: frozenset[int]) -> int:
    """Delete the oldest rows of a class to make room; how many.

    Raises:
        SpoolError: nothing changed.
    """
    with translated():
        found = spool.db.execute(
            "SELECT seq FROM record WHERE class = ? ORDER BY seq LIMIT ?", (class_no, number + len(hold))
        ).fetchall()
    gone = [seq for (seq,) in found if seq not in hold][:number]
    if gone:
        spool.replace_rows(gone)
    return len(gone)


def _samples(spool: Spool, tier: int, after: int, before_ms: int) -> tuple[list[Sample], int]:
    """Telemetry rows of a tier that are older than `before_ms`, and the cursor behind what need not be seen again."""
    with translated():
        found = spool.db.execute(
            "SELECT seq, tier, kept_ms, crc, body FROM record WHERE class = ? AND seq > ? ORDER BY seq LIMIT ?",
            (P2, after, SLICE_ROWS),
        ).fetchall()
    samples, end = [], after
    for seq, row_tier, kept_ms, crc, content in found:
        if row_tier == tier and kept_ms >= before_ms:
            break
        if row_tier == tier:
            if checksum(spool.seed, seq, P2, kept_ms, content) != crc:
                raise SpoolCorrupt(f"checksum of row {seq}")
            record = json.loads(content)
            if record["kind"] == "telemetry":
                samples.append(Sample(seq, kept_ms, record))
        end = seq
    if len(found) == SLICE_ROWS and samples and end == found[-1][0]:
        last = samples[-1].kept_ms
        whole = [item for item in samples if item.kept_ms // FIVE_MINUTES_MS != last // FIVE_MINUTES_MS]
        if whole:
            samples, end = whole, whole[-1].seq
    return samples, end


def _grouped(samples: Sequence[Sample], bucket_ms: int) -> list[list[Sample]]:
    """Samples of one component and one run of the agent that fall into the same bucket."""
    groups: dict[tuple[object, object, int], list[Sample]] = {}
    for item in samples:
        key = (item.record.get("component"), item.record.get("boot"), item.kept_ms // bucket_ms)
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def _average(group: Sequence[Sample], bucket_ms: int) -> Draft:
    """One record in place of several: the newest one's stamps, weighted means, and what it stands for."""
    sums: dict[str, list[float]] = {}
    for item in group:
        values = item.record["values"]
        if not isinstance(values, dict):
            raise SpoolCorrupt(f"row {item.seq} has no values")
        for name, value in values.items():
            entry = sums.setdefault(name, [0.0, 0.0])
            entry[0] += float(value) * item.weight
            entry[1] += item.weight
    record = {key: value for key, value in group[-1].record.items() if key not in {"seq", "hist"}}
    means = {name: total / weight for name, (total, weight) in sums.items()}
    record["values"] = {name: value for name, value in means.items() if math.isfinite(value)}
    record["span_s"] = bucket_ms / 1_000
    record["samples"] = sum(item.weight for item in group)
    tail = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()[1:]
    return Draft(P2, "telemetry", tail, group[-1].kept_ms)
