"""From an MQTT message to a batch: everything that can be wrong with it, named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fleet_server.uplink.model import Incoming, Rejected
from wire.envelope import WireError, WireFault, decode
from wire.topics import DELIVERY, Channel
from wire.uplink import SEQ_LIMIT, AnyRecord, Batch, BatchHeader

_RECORD: Final[TypeAdapter[AnyRecord]] = TypeAdapter(AnyRecord)
_CONTENT_LIMIT: Final = 8_192
_REASON_LIMIT: Final = 400
LIMIT_BYTES: Final = DELIVERY[Channel.LOG].limit_bytes


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a batch and when it came."""

    kid: str
    kiosk_no: int
    received_at: datetime


def read_batch(payload: bytes, sender: Sender) -> Incoming:
    """Understand a batch; records that break the schema are set aside one by one.

    Raises:
        WireError: nothing of it can be used: too large, not JSON, a newer wire version, or no batch at all.
    """
    try:
        batch = decode(Batch, payload, limit_bytes=LIMIT_BYTES)
    except WireError as error:
        if error.fault is not WireFault.WRONG_SCHEMA:
            raise
        return _salvage(payload, sender)
    return Incoming(sender.kid, sender.kiosk_no, batch.epoch, batch.records, batch.void, (), sender.received_at)


def _salvage(payload: bytes, sender: Sender) -> Incoming:
    """Take the good records of a batch that has bad ones.

    Raises:
        WireError: not even the frame of a batch is there.
    """
    header = decode(BatchHeader, payload, limit_bytes=LIMIT_BYTES)
    good: list[AnyRecord] = []
    bad: list[Rejected] = []
    for document in header.records:
        try:
            good.append(_RECORD.validate_json(json.dumps(document)))
        except ValidationError as error:
            rejected = _rejected(document, error)
            if rejected is not None:
                bad.append(rejected)
    return Incoming(sender.kid, sender.kiosk_no, header.epoch, good, header.void, bad, sender.received_at)


def _rejected(document: dict[str, Any], error: ValidationError) -> Rejected | None:
    """The record as it came; None without a usable number: it can neither be kept nor acknowledged."""
    seq = document.get("seq")
    if not isinstance(seq, int) or isinstance(seq, bool) or not 1 <= seq <= SEQ_LIMIT:
        return None
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    reason = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in problems)
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Rejected(seq, reason[:_REASON_LIMIT], content[:_CONTENT_LIMIT].replace("\x00", ""))
