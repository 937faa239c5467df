"""A batch as it comes: what is refused whole, what is taken apart, what survives the two ways of reading."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.uplink.decode import CONTENT_LIMIT, LIMIT_BYTES, BatchReader, raw_text, storable
from fleet_server.uplink.lane import TelemetryLane
from fleet_server.uplink.model import Incoming
from support.ingest import Document, batch, chain_of, event, sample, sender
from wire.envelope import WireError, WireFault
from wire.uplink import BATCH_RECORDS_LIMIT, SEQ_LIMIT

NUL = "\x00"


def read(payload: bytes) -> Incoming:
    return BatchReader().read(payload, sender())


def refusal(payload: bytes) -> WireFault:
    with pytest.raises(WireError) as found:
        read(payload)
    return found.value.fault


def with_literal(literal: str, *records: Document) -> bytes:
    """Records with a JSON literal that Python would not write, in place of the text "X"."""
    return batch(records).replace(b'"X"', literal.encode())


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", WireFault.NOT_JSON),
        (b"\xff\xfe\x00garbage", WireFault.NOT_JSON),
        (b'{"v":1,"epoch":"e","records":[', WireFault.NOT_JSON),
        (b"[" * 100_000 + b"]" * 100_000, WireFault.NOT_JSON),
        (b"[]", WireFault.WRONG_SCHEMA),
        (b"null", WireFault.WRONG_SCHEMA),
        (b'"batch"', WireFault.WRONG_SCHEMA),
        (b"{}", WireFault.WRONG_SCHEMA),
        (b'{"v":1,"epoch":"e","first_seq":1,"records":{}}', WireFault.WRONG_SCHEMA),
        (b'{"v":0,"epoch":"e","first_seq":1,"records":[]}', WireFault.WRONG_SCHEMA),
        (batch([sample(1)], v=2), WireFault.UNSUPPORTED_VERSION),
        (batch([sample(1)], v=10**30), WireFault.UNSUPPORTED_VERSION),
        (batch([event(1)], epoch=""), WireFault.WRONG_SCHEMA),
        (batch([sample(1)], epoch="a\nb"), WireFault.WRONG_SCHEMA),
        (batch([sample(1)], epoch=NUL), WireFault.WRONG_SCHEMA),
        (batch([event(1)], epoch="e" * 65), WireFault.WRONG_SCHEMA),
        (batch([event(1) | {"name": "BAD"}], void=[[1, 2, 3]]), WireFault.WRONG_SCHEMA),
        (batch([{"nothing": 1}] * (BATCH_RECORDS_LIMIT + 1)), WireFault.WRONG_SCHEMA),
        (batch([sample(number + 1) for number in range(BATCH_RECORDS_LIMIT + 1)]), WireFault.WRONG_SCHEMA),
    ],
)
def test_what_is_no_batch_is_refused_with_its_reason(payload: bytes, fault: WireFault) -> None:
    assert refusal(payload) is fault


def test_a_payload_of_the_size_limit_is_read_and_one_byte_more_is_not() -> None:
    payload = batch([sample(1)])
    padded = payload + b" " * (LIMIT_BYTES - len(payload))
    assert read(padded).header.size == 1
    assert refusal(padded + b" ") is WireFault.TOO_LARGE


def test_a_refusal_repeats_nothing_of_what_came() -> None:
    with pytest.raises(WireError) as found:
        read(batch([event(1) | {"name": "BAD"}], first_seq="id 330106199001011234"))
    assert "330106199001011234" not in str(found.value)


POISON: Sequence[tuple[str, Document]] = (
    ("an unknown kind", {"kind": "poison"}),
    ("no kind", {"kind": None}),
    ("no time", {"at": "yesterday"}),
    ("a time without a zone", {"at": "2026-03-02T00:00:00"}),
    ("a number as text", {"values": {"cpu_percent": "many"}}),
    ("a bad metric name", {"values": {"CPU; DROP TABLE": 1.0}}),
    ("too many metrics", {"values": {f"metric_{number}": 1.0 for number in range(65)}}),
    ("a negative uptime", {"mono_ms": -1}),
    ("a span of nothing", {"span_s": 0.0}),
    ("no class", {"record_class": "p9"}),
)


@pytest.mark.parametrize("last", [sample(3), event(3)], ids=["telemetry only", "mixed"])
@pytest.mark.parametrize(("name", "poison"), POISON, ids=[name for name, _ in POISON])
def test_one_bad_record_is_set_aside_and_the_rest_is_kept(name: str, poison: Document, last: Document) -> None:
    bad = sample(2) | poison
    found = read(batch([sample(1), bad, last]))
    assert sorted([*found.samples.seqs, *(item.record.seq for item in found.evidence)]) == [1, 3]
    (rejected,) = found.header.rejected
    assert rejected.seq == 2
    assert rejected.reason
    assert json.loads(rejected.content) == bad
    assert list(found.header.seqs) == [1, 2, 3], "a record set aside counts as received"
    assert found.header.spoiled == 0


@pytest.mark.parametrize("seq", [None, 0, -1, SEQ_LIMIT + 1, "seven", 1.5, [7]])
def test_a_bad_record_without_a_usable_number_cannot_be_acknowledged_and_is_counted(seq: object) -> None:
    found = read(batch([sample(1), sample(2) | {"seq": seq}, sample(3)]))
    assert found.header.spoiled == 1
    assert list(found.header.seqs) == [1, 3]
    assert found.header.rejected == []


@pytest.mark.parametrize("item", [None, 7, "text", [], [[]]])
def test_a_record_that_is_no_object_is_hopeless_and_harms_nobody(item: object) -> None:
    document = json.loads(batch([sample(1), sample(3)]))
    document["records"].insert(1, item)
    found = read(json.dumps(document).encode())
    assert (list(found.header.seqs), found.header.spoiled) == ([1, 3], 1)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
@pytest.mark.parametrize("place", ["values", "offset_s", "span_s"])
def test_no_number_that_is_none_gets_in(literal: str, place: str) -> None:
    poison: Document = {"values": {"cpu_percent": "X"}} if place == "values" else {place: "X"}
    found = read(with_literal(literal, sample(1), sample(2) | poison))
    assert list(found.samples.seqs) == [1]
    assert [item.seq for item in found.header.rejected] == [2]
    assert all(math.isfinite(value) for values in found.samples.values for value in values.values())


def test_the_same_in_an_event_is_set_aside_too() -> None:
    payload = with_literal("NaN", event(1) | {"fields": {"number": "X"}})
    assert [item.seq for item in read(payload).header.rejected] == [1]


def test_a_deep_document_in_a_record_is_set_aside_and_does_not_break_the_reader() -> None:
    deep = "[" * 150 + "]" * 150
    found = read(with_literal(deep, event(1) | {"fields": {"number": "X"}}, event(2)))
    assert [item.record.seq for item in found.evidence] == [2]
    assert [item.seq for item in found.header.rejected] == [1]


@pytest.mark.parametrize("depth", [150, 190, 300, 500])
def test_what_hides_in_a_field_of_a_newer_agent_is_kept_or_set_aside(depth: int) -> None:
    found = read(with_literal("[" * depth + "]" * depth, event(1) | {"newer": "X"}))
    assert list(found.header.seqs) == [1]
    assert len(found.evidence) + len(found.header.rejected) == 1


@pytest.mark.parametrize("depth", [5_000, 60_000])
def test_a_bottomless_document_is_refused_and_breaks_nothing(depth: int) -> None:
    assert refusal(with_literal("[" * depth + "]" * depth, event(1) | {"newer": "X"})) is WireFault.NOT_JSON


def test_a_record_whose_text_no_store_takes_is_set_aside_as_something_every_store_takes() -> None:
    payload = with_literal('"half \\ud800 pair"', sample(1) | {"boot": "X"})
    found = read(payload)
    (rejected,) = found.header.rejected
    assert rejected.content.isascii()
    assert NUL not in rejected.content + rejected.reason


def test_what_is_kept_of_a_bad_record_is_bounded() -> None:
    (rejected,) = read(batch([event(1) | {"name": "X" * 200_000}])).header.rejected
    assert len(rejected.content) == CONTENT_LIMIT


def test_text_without_what_postgresql_cannot_hold() -> None:
    assert storable(f"a{NUL}b\ud800c") == "a\ufffdb?c"
    assert raw_text({"a": NUL}) == '{"a":"\\u0000"}'


def test_of_two_records_with_one_number_the_first_counts() -> None:
    first, second = sample(1, values={"cpu_percent": 1.0}), sample(1, values={"cpu_percent": 2.0})
    found = read(batch([first, second, sample(2)]))
    assert list(found.samples.seqs) == [1, 2]
    assert found.samples.values[0] == {"cpu_percent": 1.0}


def test_a_bad_record_with_the_number_of_a_good_one_does_not_replace_it() -> None:
    found = read(batch([sample(1) | {"values": None}, sample(1)]))
    assert list(found.samples.seqs) == [1]
    assert found.header.rejected == []


def test_records_out_of_order_are_put_in_order() -> None:
    found = read(batch([sample(3), sample(1), event(2)]))
    assert list(found.samples.seqs) == [1, 3]
    assert list(found.header.seqs) == [1, 2, 3]


def test_late_records_are_counted_and_marked() -> None:
    found = read(batch([sample(1), sample(2, hist=True), event(3, hist=True)]))
    assert found.header.late == 2
    assert list(found.samples.hist) == [False, True]


def test_an_empty_void_range_says_nothing() -> None:
    assert read(batch([sample(9)], void=[[1, 3], [8, 5]])).header.void == [(1, 3)]


def test_a_batch_of_nothing_but_voids_is_one() -> None:
    found = read(batch([], void=[[1, 3]]))
    assert (found.header.size, found.header.void) == (0, [(1, 3)])


def test_the_digest_covers_the_record_as_it_came_newer_fields_included() -> None:
    (document,) = chain_of(1)
    found = read(batch([document | {"hist": True}]))
    (item,) = found.evidence
    assert json.loads(item.body) == {key: value for key, value in document.items() if key not in {"chain", "chain_n"}}
    with_more = chain_of(1)[0] | {"newer": {"deep": [1, "x", None]}}
    assert json.loads(read(batch([with_more])).evidence[0].body)["newer"] == {"deep": [1, "x", None]}


@pytest.mark.parametrize("poison", [{"chain_n": 2**63}, {"chain_n": 10**30}])
def test_a_number_in_the_chain_beyond_the_store_is_set_aside(poison: Document) -> None:
    (document,) = chain_of(1)
    assert [item.seq for item in read(batch([document | poison])).header.rejected] == [1]


def test_telemetry_in_the_evidence_chain_is_evidence() -> None:
    found = read(batch([sample(1) | {"chain": "0" * 64, "chain_n": 1}, sample(2)]))
    assert list(found.samples.seqs) == [2]
    assert [item.record.seq for item in found.evidence] == [1]


def test_only_some_records_of_a_batch() -> None:
    whole = read(batch([sample(1), event(2), sample(3) | {"values": 7}, sample(4)], void=[[9, 9]]))
    part = whole.only(frozenset({1, 3}))
    assert (list(part.header.seqs), list(part.samples.seqs), part.evidence) == ([1, 3], [1], [])
    assert [item.seq for item in part.header.rejected] == [3]
    assert part.header.void == ()


def in_order(parts: list[Document]) -> list[Document]:
    return sorted(parts, key=lambda part: int(part["seq"]))


VALUES = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{1,10}", fullmatch=True) | st.sampled_from(["cpu_percent", "A", "x" * 65, ""]),
    st.floats(-1e300, 1e300) | st.integers(-(2**70), 2**70) | st.sampled_from(["1.5", True, None]),
    max_size=3,
)
RECORDS = st.fixed_dictionaries(
    {
        "seq": st.integers(0, 12),
        "values": VALUES,
        "hist": st.sampled_from([True, False, "true", 1]),
        "offset_s": st.none() | st.floats(-1e11, 1e11),
        "component": st.sampled_from(["host", "printer", "Bad Name"]),
        "mono_ms": st.integers(-1, 10**20),
    },
    optional={"span_s": st.sampled_from([60.0, 0.0, None]), "newer": st.integers(), "samples": st.integers(0, 3)},
)


GOOD = st.fixed_dictionaries(
    {
        "seq": st.integers(1, 12),
        "values": st.dictionaries(st.sampled_from(["cpu_percent", "load_1m", "own_metric"]), st.floats(-1e300, 1e300)),
        "hist": st.booleans(),
        "offset_s": st.none() | st.floats(-1e8, 1e8),
        "component": st.sampled_from(["host", "printer"]),
        "mono_ms": st.integers(0, 10**12),
    },
    optional={"span_s": st.sampled_from([60.0, None]), "newer": st.integers(), "samples": st.integers(1, 3)},
)


@given(st.lists(RECORDS, max_size=6) | st.lists(GOOD, max_size=6, unique_by=lambda part: part["seq"]).map(in_order))
def test_the_short_way_never_differs_from_the_long_one(parts: list[Document]) -> None:
    payload = batch([sample(1) | part for part in parts], first_seq=1)
    short, long = BatchReader(), BatchReader()
    # A second kind of record, a bad one without a number, sends the same records the long way.
    document = json.loads(payload)
    document["records"].append({"kind": "none"})
    assert everything(long.read(json.dumps(document).encode(), sender()), spoiled=-1) == everything(
        short.read(payload, sender())
    )


def everything(found: Incoming, spoiled: int = 0) -> tuple[Any, ...]:  # Any: one part each
    """A batch as plain lists; `spoiled` corrects what the test added."""
    header = replace(found.header, seqs=list(found.header.seqs), spoiled=found.header.spoiled + spoiled)
    columns = [list(getattr(found.samples, name)) for name in found.samples.__slots__]
    rejected = sorted((item.seq, item.reason) for item in header.rejected)
    return replace(header, rejected=()), columns, rejected, [item.body for item in found.evidence]


def test_the_short_way_is_really_taken_by_ordinary_telemetry() -> None:
    assert TelemetryLane().read(batch([sample(1), sample(2, hist=True)])) is not None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(payload: bytes) -> None:
    with pytest.raises(WireError):
        read(payload)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@given(JSON)
def test_no_json_in_the_place_of_a_record_breaks_the_reader(item: Any) -> None:  # noqa: ANN401 - any JSON
    document = json.loads(batch([sample(1)]))
    document["records"].append(item)
    found = read(json.dumps(document).encode())
    assert 1 in found.header.seqs
