"""The durable uplink: records in batches, receipts after the server's COMMIT.

A record is identified by (kiosk, epoch, seq). `seq` rises within an epoch and may have gaps; a new epoch
starts when the outbox had to be rebuilt. New records go before the backlog, so a receipt is a set: all
up to `through_seq`, and `ranges` above it. Only a receipt lets the agent delete a record.
Class P0 records are hash-chained in the order they were appended.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from wire.envelope import (
    Code,
    ComponentName,
    Digest,
    Moment,
    Scalar,
    ShortText,
    Text,
    Ulid,
    WireMessage,
    WireModel,
    canonical_digest,
)
from wire.faults import Severity
from wire.telemetry import MetricName

BATCH_RECORDS_LIMIT = 500
RANGES_LIMIT = 1_000
SEQ_LIMIT = 2**63 - 1
CHAIN_START = "0" * 64

Seq = Annotated[int, Field(ge=1, le=SEQ_LIMIT)]
SeqRange = tuple[Seq, Seq]
"""Both ends included."""


class RecordClass(StrEnum):
    """How dear a record is when disk or link are short."""

    P0 = "p0"
    """Alarms, command results, audit, payment-device events: never dropped."""
    P1 = "p1"
    """Events: kept 7 days."""
    P2 = "p2"
    """Telemetry: thinned with age."""


class Edge(StrEnum):
    """Which way an alarm went."""

    RAISE = "raise"
    CLEAR = "clear"


class Record(WireModel):
    """What every record carries; fields of a newer agent are kept so that its digest still holds.

    `at` is the kiosk's own wall clock, `offset_s` that clock minus server time as known then,
    `mono_ms` its monotonic clock within `boot`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True, allow_inf_nan=False)

    seq: Seq
    record_class: RecordClass
    at: Moment
    boot: ShortText
    mono_ms: int = Field(ge=0)
    offset_s: float | None = None
    hist: bool = False
    """Sent late, from the backlog: it never pages anyone, it does back-date clocks."""
    chain_n: int | None = Field(default=None, ge=1)
    chain: Digest | None = None


class AlarmRecord(Record):
    """An alarm went up or down on the kiosk."""

    kind: Literal["alarm"] = "alarm"
    component: ComponentName
    code: Code
    edge: Edge
    severity: Severity
    since: Moment | None = None
    detail: dict[ShortText, Scalar] = Field(default_factory=dict, max_length=32)


class EventRecord(Record):
    """Something happened; `name` is `noun.verb`."""

    kind: Literal["event"] = "event"
    component: ComponentName
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=64)]
    fields: dict[ShortText, Scalar] = Field(default_factory=dict, max_length=32)


class TelemetryRecord(Record):
    """One sample of one component; values are finite numbers in the unit their name says."""

    kind: Literal["telemetry"] = "telemetry"
    component: ComponentName = "host"
    values: dict[MetricName, float] = Field(max_length=64)
    span_s: float | None = Field(default=None, gt=0.0)
    """Set when this row stands for several samples that were averaged to save space."""
    samples: int | None = Field(default=None, ge=1)


class CommandStatusRecord(Record):
    """A command changed its state on the kiosk."""

    kind: Literal["command_status"] = "command_status"
    command_id: Ulid
    state: ShortText
    step: int | None = Field(default=None, ge=0)
    steps: int | None = Field(default=None, ge=0)
    reason: Text | None = None
    result: dict[ShortText, Scalar] | None = Field(default=None, max_length=64)


class TwinReportRecord(Record):
    """What the kiosk did with a desired document."""

    kind: Literal["twin_report"] = "twin_report"
    version: int = Field(ge=0)
    desired_version_seen: int = Field(ge=0)
    desired_version_applied: int = Field(ge=0)
    state: ShortText
    hash_applied: Digest | None = None
    reason: Text | None = None


class UpdateProgressRecord(Record):
    """How far an update is on this kiosk."""

    kind: Literal["update_progress"] = "update_progress"
    rollout_id: ShortText
    release: ShortText
    state: ShortText
    percent: float | None = Field(default=None, ge=0.0, le=100.0)
    reason: Text | None = None


class AuditRecord(Record):
    """A person or process did something on the kiosk that must be provable."""

    kind: Literal["audit"] = "audit"
    actor: ShortText
    action: Code
    target: ShortText | None = None
    outcome: Literal["ok", "refused", "failed"]
    fields: dict[ShortText, Scalar] = Field(default_factory=dict, max_length=32)


class SyncRecord(Record):
    """What the kiosk knows, sent after each connect so that the server re-sends what is open."""

    kind: Literal["sync"] = "sync"
    twin_version: int = Field(ge=0)
    open_commands: list[Ulid] = Field(default_factory=list, max_length=200)
    agent_version: ShortText
    dropped: dict[RecordClass, int] = Field(default_factory=dict)
    """Records thinned or dropped since this epoch began, by class."""


AnyRecord = Annotated[
    AlarmRecord
    | EventRecord
    | TelemetryRecord
    | CommandStatusRecord
    | TwinReportRecord
    | UpdateProgressRecord
    | AuditRecord
    | SyncRecord,
    Field(discriminator="kind"),
]


class Batch(WireMessage):
    """`up/log`: some records of one epoch, ascending by `seq`."""

    epoch: ShortText
    first_seq: Seq
    records: list[AnyRecord] = Field(max_length=BATCH_RECORDS_LIMIT)
    void: list[SeqRange] = Field(default_factory=list, max_length=RANGES_LIMIT)
    """Sequence numbers that will never come: thinned or dropped on the kiosk, and said so."""


class BatchHeader(WireMessage):
    """The part of a batch that is read when a record in it is not understood."""

    epoch: ShortText
    first_seq: Seq
    records: list[dict[str, Any]] = Field(max_length=BATCH_RECORDS_LIMIT)
    void: list[SeqRange] = Field(default_factory=list, max_length=RANGES_LIMIT)


class Receipt(WireMessage):
    """`down/receipt`: what the server has committed of `epoch`."""

    epoch: ShortText
    through_seq: int = Field(ge=0, le=SEQ_LIMIT)
    ranges: list[SeqRange] = Field(default_factory=list, max_length=RANGES_LIMIT)


def record_digest(record: dict[str, Any]) -> str:
    """Digest of a record in its JSON form, without the chain fields and the backlog flag."""
    return canonical_digest({key: value for key, value in record.items() if key not in {"chain", "chain_n", "hist"}})


def chain_next(previous: str, digest: str) -> str:
    """The chain value after a record with `digest` follows `previous`, 64 hex digits each."""
    return hashlib.sha256(f"{previous}{digest}".encode()).hexdigest()
