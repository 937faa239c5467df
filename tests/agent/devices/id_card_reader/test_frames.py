"""Frames and text areas of identity card readers."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.id_card_reader import documents, frames, frames_hid, frames_miaxis
from agent.devices.id_card_reader.frames import Decoder, Reply, Status
from agent.devices.id_card_reader.types import DocumentType, IdDocument, Sex
from support.damage import damaged
from support.golden import golden_frames

REQUESTS = (
    frames.RESET,
    frames.STATUS,
    frames.SAM_ID,
    frames.FIND,
    frames.SELECT,
    frames.READ_BASE,
    frames.READ_ADDRESS,
)
DOCUMENTS = golden_frames("id_card_documents")
ALL_REPLIES = golden_frames("id_card_replies") + DOCUMENTS


def _document(index: int) -> IdDocument:
    (reply,) = Decoder().feed(DOCUMENTS[index])
    return documents.parse(*frames.split_base(reply.data)[:1])


def test_requests_are_as_published() -> None:
    assert [frames.encode_request(request) for request in REQUESTS] == golden_frames("id_card_requests")


def test_short_replies() -> None:
    found = [reply for frame in golden_frames("id_card_replies") for reply in Decoder().feed(frame)]
    assert [reply.status for reply in found] == [0x90, 0x60, 0x9F, 0x80, 0x90, 0x81, 0x41]
    assert (found[2].data, found[4].data) == (bytes(4), bytes(8))


def test_a_read_reply_has_1295_bytes() -> None:
    assert {len(frame) for frame in DOCUMENTS} == {1_295}


@pytest.mark.parametrize("lost", range(3))
def test_lost_leading_bytes(lost: int) -> None:
    for frame in ALL_REPLIES:
        assert len(Decoder().feed(frame[lost:])) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_pieces_and_neighbours(size: int) -> None:
    decoder, stream = Decoder(), b"\x00\xaa".join(ALL_REPLIES)
    found = [reply for at in range(0, len(stream), size) for reply in decoder.feed(stream[at : at + size])]
    assert len(found) == len(ALL_REPLIES)
    assert decoder.errors == 0


def test_a_damaged_frame_is_counted_and_the_next_one_found() -> None:
    for at in range(6, 11):
        damaged = bytearray(ALL_REPLIES[0])
        damaged[at] ^= 0x01
        decoder = Decoder()
        found = decoder.feed(bytes(damaged) + ALL_REPLIES[2] * 2)
        assert found[-1] == Reply(0, Status.FOUND, bytes(4))
        assert decoder.errors


def test_a_length_with_its_high_bit_set_does_not_wait_for_ever() -> None:
    decoder = Decoder()
    assert len(decoder.feed(bytes.fromhex("AAAAAA9669FFFF000090") + ALL_REPLIES[0])) == 1


def test_resident_with_rare_characters() -> None:
    document = _document(0)
    assert document.type is DocumentType.RESIDENT
    assert document.name == "𠮷田䶮"
    assert (document.sex, document.nation, document.nation_code) == (Sex.FEMALE, "满", "11")
    assert document.number_is_valid
    assert document.number.startswith("99999919491231002")
    assert document.is_long_term
    assert document.valid_to is None
    assert (document.born, document.valid_from) == (date(1949, 12, 31), date(2015, 1, 2))


def test_hk_macao_taiwan() -> None:
    document = _document(1)
    assert document.type is DocumentType.HK_MACAO_TAIWAN
    assert (document.pass_number, document.issue_count, document.nation) == ("H00000001", "01", "")
    assert document.born == date(1980, 2, 29)


def test_foreigner_2017() -> None:
    document = _document(2)
    assert document.type is DocumentType.FOREIGNER_2017
    assert (document.latin_name, document.name, document.country) == ("TANAKA, YUKI", "田中雪", "JPN")
    assert (document.sex, document.born) == (Sex.FEMALE, date(1990, 1, 2))


def test_foreigner_2023() -> None:
    document = _document(3)
    assert document.type is DocumentType.FOREIGNER_2023
    assert document.latin_name == "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRST"
    assert document.country == "USA"
    assert document.older_number[:14] == "USA10119001025"
    assert documents.number_is_valid(document.older_number)


def test_nothing_of_a_document_shows() -> None:
    for index in range(4):
        document = _document(index)
        shown = f"{document!r} {document}"
        assert not any(word and word in shown for word in (document.name, document.number, document.latin_name))


def test_unknown_nation_keeps_its_code() -> None:
    text = bytearray(frames.split_base(Decoder().feed(DOCUMENTS[0])[0].data)[0])
    text[32:36] = "77".encode("utf-16-le")
    document = documents.parse(bytes(text))
    assert (document.nation_code, document.nation) == ("77", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"", "256"), (b"\0" * 256, "without a number"), (b" \0" * 124 + b"Q\0" + b" \0" * 3, "kind of document")],
)
def test_what_is_no_document(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        documents.parse(text)


def test_the_licence_identity() -> None:
    assert frames.sam_id(bytes.fromhex("050001 00C77B3301 15CD5B07 2A000000")) == "05.01-20151239-0123456789-42"


@pytest.mark.parametrize("request_", REQUESTS)
def test_hid_requests_fill_a_report(request_: frames.Request) -> None:
    report = frames_hid.encode_request(request_)
    assert len(report) == 64
    assert report.rstrip(b"\0") == frames.encode_request(request_).rstrip(b"\0")


def test_hid_replies() -> None:
    for frame in ALL_REPLIES:
        decoder = frames_hid.Decoder()
        reports = [frame[at : at + 64].ljust(64, b"\0") for at in range(0, len(frame), 64)]
        assert [reply for report in reports for reply in decoder.feed(report)] == Decoder().feed(frame)
        assert not decoder.has_rest


def test_miaxis_request_by_hand() -> None:
    report = frames_miaxis.encode_request(frames.STATUS)
    body = bytes.fromhex("0B00B1") + bytes.fromhex("AAAAAA9669000311FFED")
    assert report == (b"\x88\0\0" + body + sum(body).to_bytes(2, "little")).ljust(64, b"\0")


def _miaxis_reports(frame: bytes) -> list[bytes]:
    reports = []
    for at in range(0, len(frame), 50):
        data = b"\x01\x02" + frame[at : at + 50]
        body = (len(data) + 1).to_bytes(2, "little") + b"\0" + data
        reports.append((b"\xaa\0\0" + body + (sum(body) & 0xFFFF).to_bytes(2, "little")).ljust(64, b"\0"))
    return reports


def test_miaxis_replies() -> None:
    for frame in ALL_REPLIES:
        decoder = frames_miaxis.Decoder()
        found = [reply for report in _miaxis_reports(frame) for reply in decoder.feed(report)]
        assert found == Decoder().feed(frame)
        assert decoder.errors == 0


def test_a_damaged_miaxis_report_is_counted() -> None:
    decoder = frames_miaxis.Decoder()
    for at in (0, 3, 5, 8):
        report = bytearray(_miaxis_reports(ALL_REPLIES[0])[0])
        report[at] ^= 0xFF
        assert decoder.feed(bytes(report)) == []
    assert decoder.errors == 4


DECODERS: list[type[Decoder | frames_miaxis.Decoder]] = [Decoder, frames_hid.Decoder, frames_miaxis.Decoder]


@pytest.mark.parametrize("decoder", DECODERS)
@given(st.lists(st.binary(max_size=200), max_size=20))
@settings(max_examples=500, deadline=None)
def test_anything_may_come(decoder: type[Decoder | frames_miaxis.Decoder], chunks: list[bytes]) -> None:
    under_test = decoder()
    for chunk in chunks:
        under_test.feed(chunk)


@given(st.binary(min_size=256, max_size=256), st.sampled_from(" JIYQ"))
@settings(max_examples=500, deadline=None)
def test_any_text_area_is_a_document_or_refused(text: bytes, letter: str) -> None:
    area = text[:248] + letter.encode("utf-16-le") + text[250:]
    with suppress(ValueError):
        documents.parse(area)


def _mutated(rng: random.Random) -> bytes:
    stream = bytearray(rng.choice(ALL_REPLIES))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(stream))
        match rng.randrange(3):
            case 0:
                stream[at] = rng.randrange(256)
            case 1:
                del stream[at : at + rng.randint(1, 9)]
            case _:
                stream[at:at] = rng.randbytes(rng.randint(1, 9))
        if not stream:
            break
    return bytes(stream)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_hundred_thousand_streams(decoder: type[Decoder | frames_miaxis.Decoder]) -> None:
    rng = random.Random(1)
    for _ in range(100_000):
        decoder().feed(rng.randbytes(rng.randrange(100)))
    for _ in range(20_000):
        under_test = decoder()
        under_test.feed(_mutated(rng))
        under_test.feed(bytes(frames.LENGTH_MAX + 16))
        found = under_test.feed(ALL_REPLIES[0] * 2)
        assert decoder is frames_miaxis.Decoder or found


def _sealed(body: bytes) -> bytes:
    """A reply around its status and data, with a length and a check that are right."""
    inner = (len(body) + 1).to_bytes(2) + body
    return b"\xaa\xaa\xaa\x96\x69" + inner + bytes((frames.check_of(inner),))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("reply", range(len(ALL_REPLIES)))
def test_replies_whose_content_is_damaged(reply: int) -> None:
    whole = ALL_REPLIES[reply]
    assert _sealed(whole[7:-1]) == whole
    for stream in damaged(reply, whole[7:-1], _sealed, 20_000 // len(ALL_REPLIES)):
        decoder = Decoder()
        for found in decoder.feed(stream):
            body = found.card_status.to_bytes(2) + bytes((found.status,)) + found.data
            assert _sealed(body) in stream, "data of a reply that was none"
            with suppress(ValueError):
                documents.parse(*frames.split_base(found.data)[:1])
        decoder.feed(bytes(frames.LENGTH_MAX + 16))
        assert len(decoder.feed(ALL_REPLIES[0] * 2)) >= 1
