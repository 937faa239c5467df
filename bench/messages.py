"""The messages of the ingest bench: uplink batches of telemetry as the agent sends them, the same for every line."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kit.clock import SystemClock, ulid
from simulators.fleet.behaviour import HostWalk
from wire.envelope import encode
from wire.uplink import RecordClass, TelemetryRecord

EPOCH_MARK = b"E" * 26
"""Stands where each round puts an epoch of its own; otherwise the second round would be all duplicates."""
RECORDS_PER_BATCH = 50
STEP = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and as whom the messages travel; `sender_files` are kiosk id, certificate and key of each connection."""

    host: str
    port: int
    ca_file: str
    sender_files: Sequence[tuple[str, str, str]]
    payloads: Sequence[Sequence[bytes]]
    """Of each connection; the numbers of its records start at 2."""
    warm_up: bytes
    """A batch with record 1."""
    kiosk_nos: dict[str, int]
    subscriber: tuple[str, str, str]
    """Client id, certificate and key of the baselines' connection."""

    @property
    def records(self) -> int:
        """Of all connections, without the warm-up."""
        return RECORDS_PER_BATCH * sum(map(len, self.payloads))


def payloads(batches: int, seed: int) -> tuple[Sequence[bytes], bytes]:
    """The batches of one kiosk, and its warm-up."""
    clock, rng = SystemClock(), random.Random(seed)
    walk, boot = HostWalk(rng), ulid(clock)
    count = batches * RECORDS_PER_BATCH
    start = clock.utc() - STEP * count
    records = [
        encode(
            TelemetryRecord(
                seq=number + 1,
                record_class=RecordClass.P2,
                at=start + STEP * number,
                boot=boot,
                mono_ms=1_000_000 + 20 * number,
                offset_s=round(rng.gauss(0.0, 0.01), 3),
                values=walk.sample(uptime_s=number * 0.02, clock_offset_s=0.0, pending=number),
            )
        ).replace(b'"hist":false,', b"", 1)
        for number in range(count + 1)
    ]
    parts = [records[at : at + RECORDS_PER_BATCH] for at in range(1, count + 1, RECORDS_PER_BATCH)]
    made = [_batch(2 + number * RECORDS_PER_BATCH, part) for number, part in enumerate(parts)]
    return made, _batch(1, records[:1])


def _batch(first_seq: int, records: Sequence[bytes]) -> bytes:
    head = b'{"v":1,"epoch":"%b","first_seq":%d,"records":[' % (EPOCH_MARK, first_seq)
    return head + b",".join(records) + b"]}"


def save(path: Path, plan: Plan) -> None:
    """Write for the other processes."""
    path.write_bytes(pickle.dumps(plan))


def load(path: str) -> Plan:
    """Read in another process."""
    plan: Plan = pickle.loads(Path(path).read_bytes())  # noqa: S301 - written by `save` a moment ago
    return plan
