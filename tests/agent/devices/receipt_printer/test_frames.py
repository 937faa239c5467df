"""Golden bytes, streams with several speakers, and noise."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.devices.receipt_printer import frames, frames_custom
from agent.devices.receipt_printer import frames_page as page
from agent.devices.receipt_printer.frames import (
    DLE_EOT,
    Answer,
    Asb,
    Block,
    Condition,
    Demultiplexer,
    Flow,
    Frame,
    Noise,
    Query,
    Unasked,
)
from support.receipt_golden import rows

QUERIES = {query.name: query for query in DLE_EOT.values()} | {
    "full_status": frames_custom.FULL_STATUS,
    "ejector_status": frames_custom.EJECTOR_STATUS,
}
NUMBERS = {f"dle_eot_{number}": number for number in DLE_EOT}


def words(condition: Condition) -> set[str]:
    return {item.name for item in fields(condition) if getattr(condition, item.name)}


def decoded(frame: Frame) -> Condition:
    match frame:
        case Asb(body=body):
            return frames.decode_asb(body)
        case Answer(query=frames_custom.FULL_STATUS, body=body):
            return frames_custom.decode_full_status(body)
        case Answer(query=frames_custom.EJECTOR_STATUS, body=body):
            return frames_custom.decode_ejector_status(body)
        case Answer():
            return frames.decode_answer(frame)
        case _:
            raise AssertionError(frame)


def one_by_one(demux: Demultiplexer, data: bytes) -> list[Frame]:
    return [frame for byte in data for frame in demux.feed(bytes((byte,)))]


@pytest.mark.parametrize(("asked", "data", "meant"), rows("status") + rows("custom"))
def test_golden_status(asked: str, data: bytes, meant: frozenset[str]) -> None:
    for feed in (Demultiplexer.feed, one_by_one):
        demux = Demultiplexer()
        if asked != "asb":
            demux.expect(QUERIES[asked])
        (frame,) = feed(demux, data)
        assert words(decoded(frame)) == meant
        assert demux.pending == 0


def test_golden_commands() -> None:
    ours = {
        "process_id": page.encode_process_id(b"ABCD"),
        "clear_buffers": page.CLEAR_BUFFERS,
        "qr": page.encode_qr(b"HTTP://EXAMPLE.TEST/R/42", 6),
        "barcode": page.encode_barcode("R-20261123-42", 80),
        "cut": page.encode_cut(page.Cut.PARTIAL),
        "bold_on": page.BOLD_ON,
        "raster": page.encode_raster(2, bytes.fromhex("800000800001")),
        "produce_128": frames_custom.encode_produce(128),
        "retract": frames_custom.RETRACT,
        "eject": frames_custom.EJECT,
    }
    golden = {name: data for name, data, _ in rows("commands")}
    assert ours == golden


def test_answers_are_told_apart_in_the_order_of_the_requests() -> None:
    demux = Demultiplexer()
    for number in (1, 4):
        demux.expect(DLE_EOT[number])
    assert demux.feed(b"\x1a\x72") == [Answer(DLE_EOT[1], b"\x1a"), Answer(DLE_EOT[4], b"\x72")]


def test_several_speakers_at_once() -> None:
    demux = Demultiplexer()
    demux.expect(DLE_EOT[1])
    stream = b"\x13\x18\x00\x13\x0c\x00\x11\x12\x37\x22AB\x13CD\x00\x12"
    expected = [
        Flow(may_send=False),
        Flow(may_send=False),
        Asb(b"\x18\x00\x0c\x00"),
        Flow(may_send=True),
        Answer(DLE_EOT[1], b"\x12"),
        Flow(may_send=False),
        Block(0x37, 0x22, b"ABCD"),
        Unasked(0x12),
    ]
    assert demux.feed(stream) == expected


def test_a_real_time_answer_overtakes_one_that_waits_for_paper() -> None:
    demux = Demultiplexer()
    demux.expect(frames.PAPER_SENSOR)
    demux.expect(DLE_EOT[3])
    assert demux.feed(b"\x12\x00") == [Answer(DLE_EOT[3], b"\x12"), Answer(frames.PAPER_SENSOR, b"\x00")]


def test_full_status_may_hold_any_byte_and_asb_is_told_from_it() -> None:
    demux = Demultiplexer()
    demux.expect(frames_custom.FULL_STATUS)
    asb, full = b"\x10\x00\x00\x00", b"\x10\x0f\x11\x13\x12\x37"
    assert demux.feed(asb + full) == [Asb(asb), Answer(frames_custom.FULL_STATUS, full)]


def test_information_with_and_without_a_header() -> None:
    demux, query = Demultiplexer(), frames.information("model")
    demux.expect(query)
    assert demux.feed(b"\x13_TM-T88VI\x11\x00") == [
        Flow(may_send=False),
        Flow(may_send=True),
        Answer(query, b"_TM-T88VI"),
    ]
    assert frames.decode_information(b"_TM-T88VI", 0x5F) == "TM-T88VI"
    assert frames.decode_information(b"CHD6800", 0x5F) == "CHD6800"
    assert frames.decode_information(b"", None) is None


def test_a_broken_asb_does_not_swallow_the_answer_behind_it() -> None:
    demux = Demultiplexer()
    demux.expect(DLE_EOT[2])
    assert demux.feed(b"\x10\x00\x12") == [Noise(2), Answer(DLE_EOT[2], b"\x12")]


def test_no_more_than_eight_requests_are_open() -> None:
    demux = Demultiplexer()
    for _ in range(frames.PENDING_LIMIT):
        demux.expect(DLE_EOT[1])
    with pytest.raises(ValueError, match="too many"):
        demux.expect(DLE_EOT[1])
    demux.forget()
    assert demux.pending == 0


def test_a_request_that_was_withdrawn_gets_no_late_answer() -> None:
    demux = Demultiplexer()
    demux.expect(DLE_EOT[4])
    demux.withdraw(DLE_EOT[4])
    assert demux.feed(b"\x12") == [Unasked(0x12)]


ANY_QUERY = st.sampled_from([*QUERIES.values(), frames.PAPER_SENSOR, frames.information("serial")])


def whole(data: bytes, queries: list[Query]) -> None:
    together, apart = Demultiplexer(), Demultiplexer()
    for query in queries:
        together.expect(query)
        apart.expect(query)
    at_once, singly = together.feed(data), one_by_one(apart, data)
    assert [frame for frame in at_once if not isinstance(frame, Noise)] == [
        frame for frame in singly if not isinstance(frame, Noise)
    ]
    for frame in at_once:
        if isinstance(frame, (Asb, Answer)):
            words(decoded(frame))
    assert len(together._part) <= frames.BLOCK_LIMIT
    together.forget()
    assert together.feed(b"\x10\x00\x00\x00") == [Asb(b"\x10\x00\x00\x00")]


@settings(max_examples=500, deadline=None)
@example(b"\x10\x0f\x10\x0f", [frames_custom.FULL_STATUS])
@given(st.binary(max_size=200), st.lists(ANY_QUERY, max_size=frames.PENDING_LIMIT))
def test_any_bytes_come_out_the_same_however_they_are_split(data: bytes, queries: list[Query]) -> None:
    whole(data, queries)


SPEECH = st.sampled_from(
    [b"\x11", b"\x13", b"\x12", b"\x1a", b"\x10\x00\x00\x00", b"\x37\x22ABCD\x00", b"\x10\x0f\x20\x00\x00\x00", b"\x00"]
)
BROKEN = st.lists(SPEECH | st.binary(min_size=1, max_size=3), max_size=40).map(b"".join)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=100_000, deadline=None)
@given(st.binary(max_size=120), st.lists(ANY_QUERY, max_size=4))
def test_any_bytes_at_length(data: bytes, queries: list[Query]) -> None:
    whole(data, queries)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=20_000, deadline=None)
@given(BROKEN, st.lists(ANY_QUERY, max_size=4))
def test_broken_speech_at_length(data: bytes, queries: list[Query]) -> None:
    whole(data, queries)


@given(st.binary(max_size=300))
def test_no_picture_holds_a_real_time_command(rows_of_dots: bytes) -> None:
    harmless = page.without_real_time(b"\x10\x04\x01" + rows_of_dots + b"\x10\x14\x01\x10")
    assert not any(command in harmless for command in (b"\x10\x04", b"\x10\x05", b"\x10\x14"))
    assert len(harmless) == len(rows_of_dots) + 7


@pytest.mark.parametrize("mark", [b"ABC", b"AB\x00D", b"ABCDE"])
def test_a_process_id_is_four_printable_characters(mark: bytes) -> None:
    with pytest.raises(ValueError, match="four printable"):
        page.encode_process_id(mark)


def test_what_a_manual_does_not_allow_is_refused() -> None:
    for wrong in (
        lambda: page.encode_qr(b"", 6),
        lambda: page.encode_qr(b"x" * 1_001, 6),
        lambda: page.encode_barcode("中文", 80),
        lambda: page.encode_raster(2, b"abc"),
        lambda: frames_custom.encode_produce(0),
        lambda: frames.decode_dle_eot(5, 0x12),
    ):
        with pytest.raises(ValueError, match=r".+"):
            wrong()
