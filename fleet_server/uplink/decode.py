"""From an MQTT message to a batch: everything that can be wrong with it, named.

A batch that breaks the schema is taken apart: its good records are kept, and each bad one that has a sequence
number is set aside as it came and counts as received, so that one bad record never blocks a kiosk's queue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter, lt
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fleet_server.uplink.intervals import Range
from fleet_server.uplink.lane import Plain, TelemetryLane
from fleet_server.uplink.model import Evidence, Header, Incoming, Rejected, Samples, Sender
from fleet_server.uplink.times import Basis, Clocks, RecordTimes
from wire.envelope import WireError, WireFault, canonical_bytes, decode
from wire.topics import DELIVERY, Channel
from wire.uplink import BATCH_RECORDS_LIMIT, SEQ_LIMIT, AnyRecord, Batch, BatchHeader, TelemetryRecord

LIMIT_BYTES: Final = DELIVERY[Channel.LOG].limit_bytes
CONTENT_LIMIT: Final = 65_536
"""How much of a bad record is kept, in characters."""
REASON_LIMIT: Final = 400
HOST: Final = TelemetryRecord.model_fields["component"].default
_RECORD: Final[TypeAdapter[AnyRecord]] = TypeAdapter(AnyRecord)
_REQUIRED: Final = itemgetter("seq", "at", "boot", "mono_ms", "values")
_UNHASHED: Final = frozenset({"chain", "chain_n", "hist"})
_NUMBER_LIMIT: Final = 2**63 - 1


class BatchReader:
    """Reads batches and gives every record its server time."""

    def __init__(self, times: RecordTimes | None = None) -> None:
        """Start with no knowledge of any kiosk's clock."""
        self._times = times if times is not None else RecordTimes()
        self._lane = TelemetryLane()

    def read(self, payload: bytes, sender: Sender) -> Incoming:
        """Understand one message.

        Raises:
            WireError: nothing of it can be used: too large, not JSON, a newer wire version, or no batch at all.
        """
        if len(payload) <= LIMIT_BYTES:
            plain = self._lane.read(payload)
            if plain is not None:
                incoming = self._plain(sender, plain)
                if incoming is not None:
                    return incoming
        bad: list[Rejected] = []
        spoiled = 0
        try:
            batch = decode(Batch, payload, limit_bytes=LIMIT_BYTES)
            epoch, records, void = batch.epoch, batch.records, batch.void
        except WireError as error:
            if error.fault is not WireFault.WRONG_SCHEMA:
                raise
            epoch, records, void, bad, spoiled = _salvage(payload)
        return self._sorted_out(_frame(sender, epoch, void, spoiled), _ascending(records), bad)

    def _plain(self, sender: Sender, batch: Plain) -> Incoming | None:
        """A batch of telemetry read the short way; None when its records are not in order or one is chained."""
        records: list[Plain] = batch["records"]
        if not records or any("chain" in record for record in records):
            return None
        seqs, at, boot, mono_ms, values = zip(*map(_REQUIRED, records), strict=True)
        if not all(map(lt, seqs, seqs[1:])):
            return None
        offset_s = [record.get("offset_s") for record in records]
        hist = [record.get("hist", False) for record in records]
        placed = self._times.place(sender.kid, Clocks(at, offset_s, boot, mono_ms, hist), sender.received_us)
        samples = Samples(
            seqs,
            placed.at_us,
            placed.kiosk_us,
            hist,
            [record.get("component", HOST) for record in records],
            [record.get("span_s") for record in records],
            values,
        )
        frame = _frame(sender, batch["epoch"], batch.get("void", []), 0)
        return Incoming(replace(frame, seqs=_compact(seqs), late=hist.count(True)), samples, ())

    def _sorted_out(self, frame: Header, records: Sequence[AnyRecord], bad: list[Rejected]) -> Incoming:
        """Put each record where it belongs and give it its time; `bad` gets what cannot be kept."""
        hist = [record.hist for record in records]
        clocks = Clocks(
            [record.at for record in records],
            [record.offset_s for record in records],
            [record.boot for record in records],
            [record.mono_ms for record in records],
            hist,
        )
        placed = self._times.place(frame.sender.kid, clocks, frame.sender.received_us)
        samples: list[tuple[Any, ...]] = []  # Any: one column each
        evidence: list[Evidence] = []
        for place, record in enumerate(records):
            at_us, kiosk_us = placed.at_us[place], placed.kiosk_us[place]
            if isinstance(record, TelemetryRecord) and record.chain is None:
                samples.append(
                    (record.seq, at_us, kiosk_us, record.hist, record.component, record.span_s, record.values)
                )
                continue
            try:
                evidence.append(_evidence(record, at_us, kiosk_us, placed.basis.get(place, Basis.OFFSET)))
            except (ValueError, OverflowError, RecursionError) as error:
                bad.append(Rejected(record.seq, f"cannot be kept: {type(error).__name__}", ""))
        bad = list({item.seq: item for item in reversed(bad)}.values())
        seqs = sorted({*(record.seq for record in records), *(item.seq for item in bad)})
        header = replace(frame, seqs=_compact(seqs), rejected=bad, late=hist.count(True))
        return Incoming(header, Samples(*zip(*samples, strict=True)), evidence)


def _frame(sender: Sender, epoch: str, void: Sequence[Range], spoiled: int) -> Header:
    """The header without the numbers of the records.

    Raises:
        WireError: the epoch is no name.
    """
    if not epoch or not epoch.isprintable():
        raise WireError(WireFault.WRONG_SCHEMA, "epoch: not printable")
    return Header(sender, epoch, (), [item for item in void if item[0] <= item[1]], spoiled=spoiled)


def _compact(seqs: Sequence[int]) -> Sequence[int]:
    """The same numbers, as a range when they are one."""
    is_run = bool(seqs) and seqs[-1] - seqs[0] + 1 == len(seqs)
    return range(seqs[0], seqs[-1] + 1) if is_run else seqs


def _ascending(records: Sequence[AnyRecord]) -> Sequence[AnyRecord]:
    """The records in order, each number once: of two with the same number the first one counts."""
    seqs = [record.seq for record in records]
    if all(map(lt, seqs, seqs[1:])):
        return records
    first_of: dict[int, AnyRecord] = {}
    for record in records:
        first_of.setdefault(record.seq, record)
    return [first_of[seq] for seq in sorted(first_of)]


def _evidence(record: AnyRecord, at_us: int, kiosk_us: int, basis: Basis) -> Evidence:
    """A record with the text its digest covers.

    Raises:
        ValueError, OverflowError, RecursionError: it cannot be written as canonical JSON, or a number is too large.
    """
    if record.chain_n is not None and record.chain_n > _NUMBER_LIMIT:
        raise OverflowError("chain_n")
    document = record.model_dump(mode="json", exclude_unset=True)
    body = canonical_bytes({key: value for key, value in document.items() if key not in _UNHASHED})
    text = body.decode()
    return Evidence(record, at_us, kiosk_us, basis, text, hashlib.sha256(body).hexdigest())


def _salvage(payload: bytes) -> tuple[str, list[AnyRecord], list[Range], list[Rejected], int]:
    """Take a batch apart that breaks the schema: epoch, good records, voids, bad records, and how many are hopeless.

    Raises:
        WireError: not even the frame of a batch is there.
    """
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        raise WireError(WireFault.NOT_JSON, "the payload is not a JSON document") from None
    items = document.get("records") if isinstance(document, dict) else None
    if not isinstance(items, list) or len(items) > BATCH_RECORDS_LIMIT:
        raise WireError(WireFault.WRONG_SCHEMA, f"records: not a list of at most {BATCH_RECORDS_LIMIT}")
    try:
        header = BatchHeader.model_validate({**document, "records": []})
    except ValidationError as error:
        raise WireError(WireFault.WRONG_SCHEMA, _reason(error)) from None
    good: list[AnyRecord] = []
    bad: list[Rejected] = []
    spoiled = 0
    for item in items:
        try:
            good.append(_RECORD.validate_python(item))
        except ValidationError as error:
            rejected = _rejected(item, _reason(error))
            if rejected is None:
                spoiled += 1
            else:
                bad.append(rejected)
    taken = {record.seq for record in good}
    return header.epoch, good, header.void, [item for item in bad if item.seq not in taken], spoiled


def _reason(error: ValidationError) -> str:
    """Fields and rules, never values."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in problems[:8])


def _rejected(item: Any, reason: str) -> Rejected | None:  # noqa: ANN401 - whatever JSON there was
    """The record as it came; None without a usable number."""
    seq = item.get("seq") if isinstance(item, dict) else None
    if not isinstance(seq, int) or isinstance(seq, bool) or not 1 <= seq <= SEQ_LIMIT:
        return None
    return Rejected(seq, storable(reason)[:REASON_LIMIT], raw_text(item))


def raw_text(item: Any) -> str:  # noqa: ANN401 - whatever JSON there was
    """A document as text that any store takes, cut to `CONTENT_LIMIT`."""
    try:
        text = json.dumps(item, ensure_ascii=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return ""
    return text[:CONTENT_LIMIT]


def storable(text: str) -> str:
    """The text without what PostgreSQL's text cannot hold: NUL and halves of surrogate pairs."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
