"""A record as the outbox keeps it: the JSON bytes that will be sent, built once and never re-encoded.

What is hashed is what the server will hash: the bytes are parsed back through the wire model, so digest and
message cannot disagree (see `wire.uplink.record_digest`).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from agent.errors import InvalidRecord
from wire.uplink import (
    AlarmRecord,
    AuditRecord,
    CommandStatusRecord,
    EventRecord,
    Record,
    RecordClass,
    SyncRecord,
    TelemetryRecord,
    TwinReportRecord,
    UpdateProgressRecord,
    chain_next,
    record_digest,
)

RECORD_LIMIT_BYTES = 16_384
CLASSES: tuple[RecordClass, ...] = (RecordClass.P0, RecordClass.P1, RecordClass.P2)
MODELS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "alarm": AlarmRecord,
        "event": EventRecord,
        "telemetry": TelemetryRecord,
        "command_status": CommandStatusRecord,
        "twin_report": TwinReportRecord,
        "update_progress": UpdateProgressRecord,
        "audit": AuditRecord,
        "sync": SyncRecord,
    }
)
_STAMPED = frozenset(Record.model_fields) | {"kind"}
_NUMBER_AND_NAME = {record_class: (number, record_class.value.encode()) for number, record_class in enumerate(CLASSES)}
_KIND_NAMES = {kind: kind.encode() for kind in MODELS}
_LATE = b',"hist":true}'


@dataclass(slots=True)  # not frozen: three times as fast to make, and one is made per record
class Stamp:
    """When and in which run of the agent a record came to be."""

    at: datetime
    boot: str
    mono_ms: int
    offset_s: float | None


@dataclass(slots=True)  # as above
class Draft:
    """A valid record that has no sequence number yet; `tail` is its JSON after the opening brace."""

    class_no: int
    kind: str
    tail: bytes
    kept_ms: int


@dataclass(frozen=True, slots=True)
class Row:
    """A stored record, its checksum verified."""

    seq: int
    class_no: int
    kept_ms: int
    body: bytes


def draft(record_class: RecordClass, kind: str, fields: Mapping[str, Any], stamp: Stamp, *, kept_ms: int) -> Draft:
    """Encode a record and let its wire model read it back, as the server will.

    Raises:
        InvalidRecord: breaks the schema, is no JSON, or is larger than `RECORD_LIMIT_BYTES`.
    """
    if not _STAMPED.isdisjoint(fields):
        raise InvalidRecord(f"{kind}: a field of the stamp is given")
    class_no, class_name = _NUMBER_AND_NAME[record_class]
    offset = b"" if stamp.offset_s is None else b'"offset_s":%a,' % stamp.offset_s
    try:
        tail = b'"record_class":"%b","at":"%b","boot":"%b","mono_ms":%d,%b"kind":"%b",%b' % (
            class_name,
            stamp.at.isoformat().encode(),
            stamp.boot.encode(),
            stamp.mono_ms,
            offset,
            _KIND_NAMES[kind],
            to_json(fields)[1:],
        )
        MODELS[kind].model_validate_json(b'{"seq":1,' + tail)
    except ValidationError as error:
        items = error.errors(include_input=False, include_url=False, include_context=False)[:5]
        rules = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['type']}" for item in items)
        raise InvalidRecord(f"{kind}: {rules}") from None
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"{kind}: no JSON: {type(error).__name__}") from None
    if len(tail) > RECORD_LIMIT_BYTES:
        raise InvalidRecord(f"{kind}: {len(tail)} bytes, at most {RECORD_LIMIT_BYTES} are kept")
    return Draft(class_no, kind, tail, kept_ms)


def body(seq: int, tail: bytes) -> bytes:
    """The JSON of a record under its sequence number."""
    return b'{"seq":%d,%b' % (seq, tail)


def chained(kind: str, plain: bytes, number: int, head: str) -> tuple[bytes, str]:
    """The record with its link in the chain, and the new head."""
    new_head = chain_next(head, digest(kind, plain))
    return b'%b,"chain_n":%d,"chain":"%b"}' % (plain[:-1], number, new_head.encode()), new_head


def digest(kind: str, record: bytes) -> str:
    """The digest the server will compute from the sent bytes."""
    model = MODELS[kind].model_validate_json(record)
    return record_digest(model.model_dump(mode="json", exclude_unset=True))


def checksum(seed: int, seq: int, class_no: int, kept_ms: int, record: bytes) -> int:
    """Guards a row against bit rot and against rows of another epoch (`seed` comes from the epoch)."""
    return zlib.crc32(record, (seed + seq * 0x9E3779B1 + class_no * 0x85EBCA6B + kept_ms * 0xC2B2AE35) & 0xFFFFFFFF)


def batch_payload(
    epoch: str, rows: Sequence[Row], void: Sequence[tuple[int, int]], *, late: bool, first_seq: int
) -> bytes:
    """The `up/log` message of these rows, byte for byte as they are stored; `late` flags them as backlog."""
    bodies = (row.body[:-1] + _LATE if late else row.body for row in rows)
    ranges = ",".join(f"[{first},{last}]" for first, last in void)
    head = f'{{"v":1,"epoch":"{epoch}","first_seq":{first_seq},"records":['.encode()
    tail = f'],"void":[{ranges}]}}'.encode() if void else b"]}"
    return head + b",".join(bodies) + tail
