"""The codecs of cards against golden bytes and against noise."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.card_reader import frames, frames_emv, tlv
from agent.devices.card_reader.frames import CardError, Command, Status
from support.tree import ROOT


def _golden() -> dict[str, bytes]:
    lines = (ROOT / "tests/golden/frames/card_reader.hex").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":") for line in lines if line and not line.startswith("#"))
    return {name: bytes.fromhex(value) for name, value in pairs}


GOLDEN = _golden()


@pytest.mark.parametrize(
    ("name", "command", "is_t0"),
    [
        ("select_ssse", frames.select_by_name(frames.SSSE), False),
        ("select_ssse_t0", frames.select_by_name(frames.SSSE), True),
        ("select_ef05", frames.select_file(frames.EF05), True),
        ("select_ef05_p1_02", frames.select_file(frames.EF05, p1=2), False),
        ("read_record_7", frames.read_record(7), True),
        ("read_tag_8", frames.read_tag(8), True),
        ("select_pse", frames.select_by_name(frames_emv.PSE), False),
        ("gpo_empty", frames.get_processing_options(b""), False),
    ],
)
def test_commands_are_the_bytes_of_the_standard(name: str, command: Command, is_t0: bool) -> None:
    assert command.encode(is_t0=is_t0) == GOLDEN[name]


def test_status_words() -> None:
    meaning = {name: frames.decode_reply(GOLDEN[name]).status for name in ("sw_6982", "sw_6a82", "reply_version")}
    assert meaning == {"sw_6982": Status.NEEDS_PIN, "sw_6a82": Status.NOT_FOUND, "reply_version": Status.OK}


def test_what_the_card_wants_next() -> None:
    more = frames.follow_up(frames.select_by_name(frames.SSSE), frames.decode_reply(GOLDEN["sw_61"]))
    assert more is not None
    assert more.encode(is_t0=True) == GOLDEN["get_response_1a"]
    again = frames.follow_up(frames.read_record(1), frames.decode_reply(GOLDEN["sw_6c"]))
    assert again is not None
    assert again.encode(is_t0=True) == bytes.fromhex("00B2010414")
    assert frames.follow_up(again, frames.decode_reply(GOLDEN["sw_6c"])) is None


@pytest.mark.parametrize("instruction", [0x20, 0x21, 0x24, 0x2C, 0x82, 0xD6, 0xDC, 0xE2, 0x50])
def test_verify_and_everything_that_writes_cannot_be_said(instruction: int) -> None:
    with pytest.raises(AssertionError):
        Command(0x00, instruction, 0, 0, b"123456")


def test_records_of_a_social_card() -> None:
    def value(name: str, item: frames.Item) -> bytes:
        return frames.decode_item(item, frames.decode_reply(GOLDEN[name]).data)

    assert frames.text(value("reply_version", frames.VERSION)) == "3.00"
    assert frames.text(value("reply_card_number", frames.CARD_NUMBER)) == "A12345678"
    assert frames.id_number(value("reply_id_number", frames.ID_NUMBER)) == "11010519491231002X"
    with pytest.raises(CardError):
        value("reply_version", frames.CARD_NUMBER)


def test_names_are_read_with_their_rare_characters() -> None:
    assert frames.text("王䶮𠮷".encode("gb18030") + b"\x00 \x00") == "王䶮𠮷"


def test_historical_bytes_of_an_atr() -> None:
    assert frames.historical_bytes(bytes.fromhex("3B6D00000081544432866044160000AA55")) == "0081544432866044160000AA55"
    assert frames.historical_bytes(bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")) == (
        "804F0CA0000003060300010000000" + "0"
    )
    assert not frames.historical_bytes(b"\x3b")
    assert not frames.historical_bytes(b"\x3b\xff\xff")


@pytest.mark.parametrize("name", ["gpo_format_1", "gpo_format_2"])
def test_both_formats_of_processing_options_name_the_same_records(name: str) -> None:
    assert frames_emv.records(GOLDEN[name]) == [(2, 1), (3, 1), (3, 2)]


def test_a_pdol_gets_country_and_zeros() -> None:
    pdol = bytes.fromhex("9F1A029F02069A039F3704")
    fci = bytes((0x6F, len(pdol) + 5, 0xA5, len(pdol) + 3, 0x9F, 0x38, len(pdol))) + pdol
    assert frames_emv.pdol_values(fci) == b"\x01\x56" + bytes(6 + 3 + 4)
    with pytest.raises(CardError):
        frames_emv.pdol_values(fci[:-1])


def test_a_number_is_masked_where_it_is_found() -> None:
    record = bytes.fromhex("70005A0A6217000012345678906F5F2403291231")
    found = frames_emv.account([bytes((0x70, len(record) - 2)) + record[2:]])
    assert found is not None
    assert (found.masked_pan, found.expires) == ("621700*********8906", "2912")
    assert "8906" not in repr(found)
    track = bytes.fromhex("700057006217000012345678906D2912220000000F00"[:-2])
    track = bytes((0x70, len(track) - 2, 0x57, len(track) - 4)) + track[4:]
    found = frames_emv.account([track])
    assert found is not None
    assert (found.masked_pan, found.expires) == ("621700*********8906", "2912")


def test_an_impossible_number_is_refused_without_being_told() -> None:
    with pytest.raises(CardError) as refused:
        frames_emv.mask_pan("62170000123456789012345")
    assert "6217" not in str(refused.value)


def test_long_tags_and_lengths() -> None:
    value = bytes(200)
    assert tlv.parse(b"\x00\x5f\x20\x81\xc8" + value) == [tlv.Tlv(0x5F20, value)]
    for broken in ("9F", "5A", "5A05AA", "5A84FFFFFFFF", "5A80", "9F818181815A"):
        with pytest.raises(tlv.TlvError):
            tlv.parse(bytes.fromhex(broken))


def _read_everything(data: bytes) -> None:
    """Every decoder may refuse with `CardError`, and nothing else."""
    item = frames.ID_NUMBER
    for read in (
        lambda: frames.decode_reply(data),
        lambda: frames.id_number(frames.decode_item(item, data)),
        lambda: frames.text(data),
        lambda: frames.date(data),
        lambda: frames.sex(data),
        lambda: frames.historical_bytes(data),
        lambda: frames_emv.directory_sfi(data),
        lambda: frames_emv.applications(data),
        lambda: frames_emv.label_of(data),
        lambda: frames_emv.pdol_values(data),
        lambda: frames_emv.records(data),
        lambda: frames_emv.account([data]),
    ):
        with suppress(CardError):
            read()


@given(st.binary(max_size=260))
@settings(max_examples=500, deadline=None)
def test_noise_is_refused(data: bytes) -> None:
    _read_everything(data)


def _tlv(tag: bytes, value: bytes) -> bytes:
    length = bytes((len(value),)) if len(value) < 0x80 else b"\x81" + bytes((len(value) & 0xFF,))
    return tag + length + value


_TAGS = st.sampled_from([bytes.fromhex(tag) for tag in ("6F", "70", "77", "80", "A5", "88", "4F", "50", "5A", "57",
                                                        "5F24", "9F38", "94", "61", "BF0C")])  # fmt: skip
_TREES = st.recursive(
    st.builds(_tlv, _TAGS, st.binary(max_size=24)),
    lambda inner: st.builds(lambda tag, parts: _tlv(tag, b"".join(parts)), _TAGS, st.lists(inner, max_size=4)),
    max_leaves=12,
)


@given(_TREES, st.integers(0, 300), st.integers(0, 255))
@settings(max_examples=500, deadline=None)
def test_almost_tlv_is_read_or_refused(data: bytes, place: int, value: int) -> None:
    broken = bytearray(data)
    if place < len(broken):
        broken[place] = value
    _read_everything(bytes(broken))


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(st.binary(max_size=260))
@settings(max_examples=100_000, deadline=None)
def test_much_noise_is_refused(data: bytes) -> None:
    _read_everything(data)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(_TREES, st.integers(0, 300), st.integers(0, 255))
@settings(max_examples=20_000, deadline=None)
def test_much_almost_tlv_is_read_or_refused(data: bytes, place: int, value: int) -> None:
    broken = bytearray(data)
    if place < len(broken):
        broken[place] = value
    _read_everything(bytes(broken))
