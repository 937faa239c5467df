"""Codecs of scanners against golden bytes, in pieces and against noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.qr_scanner import frames_framed, frames_newland, frames_ssi
from agent.devices.qr_scanner.frames import (
    CODE_LIMIT_BYTES,
    Answer,
    Code,
    Decoder,
    Garbage,
    Item,
    Respond,
    Suffix,
    text_of,
)
from support.golden import golden_frames

AnyDecoder = Decoder | frames_ssi.SsiDecoder

NEWLAND = golden_frames("qr_scanner_newland")
SSI = golden_frames("qr_scanner_ssi")
FRAMED = golden_frames("qr_scanner_framed")


def fed(decoder: AnyDecoder, data: bytes, size: int = 1) -> list[Item]:
    return [item for at in range(0, len(data), size) for item in decoder.feed(data[at : at + size])]


def test_commands_are_the_bytes_of_the_guides() -> None:
    assert frames_newland.encode(frames_newland.TRIGGER) == NEWLAND[0]
    assert frames_newland.encode((frames_newland.NO_SETUP_CODES,)) == NEWLAND[1]
    assert frames_newland.encode(("SCNMOD0", "GRBENA1"), permanent=True) == NEWLAND[2]
    assert SSI[:4] == [frames_ssi.TRIGGER, frames_ssi.RELEASE, frames_ssi.ACK, frames_ssi.NAK]


@pytest.mark.parametrize("size", [1, 3, 500])
def test_replies_and_codes_are_told_apart(size: int) -> None:
    stream = b"123\r" + b"".join(NEWLAND[3:]) + b"456\r"
    expected = [Code(b"123"), Answer(is_ok=True), Answer(is_ok=False), Answer(is_ok=False), Code(b"456")]
    assert fed(frames_newland.NewlandDecoder(), stream, size) == expected


@pytest.mark.parametrize("size", [1, 2, 100])
def test_framed_codes_come_out_of_their_frames(size: int) -> None:
    decoder = frames_framed.FramedDecoder()
    assert fed(decoder, b"".join(FRAMED), size) == [Code(b"A1"), Code(b"123456"), Code("门诊".encode())]
    assert not decoder.is_waiting


@pytest.mark.parametrize("size", [1, 5_000])
def test_what_stands_outside_frames_is_noise(size: int) -> None:
    assert fed(frames_framed.FramedDecoder(), b"123\r" + FRAMED[0], size) == [Garbage(), Code(b"A1")]
    decoder = frames_framed.FramedDecoder()
    overlong = b"\x02s" + b"9" * (2 * CODE_LIMIT_BYTES) + b"\x03\x04"
    assert fed(decoder, overlong + FRAMED[1], size) == [Garbage(), Code(b"123456")]
    assert fed(decoder, FRAMED[0][:-1], size) + decoder.pause() + fed(decoder, FRAMED[0]) == [Garbage(), Code(b"A1")]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_ssi_codes_are_acknowledged_and_taken_once(size: int) -> None:
    decoder = frames_ssi.SsiDecoder()
    assert fed(decoder, SSI[4] + SSI[5], size) == [Answer(is_ok=True), Respond(frames_ssi.ACK), Code(b"A1", "qr")]
    again = frames_ssi.Packet(frames_ssi.Opcode.DECODE_DATA, b"\x1cA1", status=1, source=0).encode()
    assert fed(decoder, again, size) == [Respond(frames_ssi.ACK)]


def test_ssi_puts_continued_packets_together() -> None:
    decoder = frames_ssi.SsiDecoder()
    first = frames_ssi.Packet(frames_ssi.Opcode.DECODE_DATA, b"\x1cA1", status=2, source=0).encode()
    assert fed(decoder, first + SSI[5])[-1] == Code(b"A1A1", "qr")


def test_ssi_is_in_step_again_after_a_broken_packet() -> None:
    decoder = frames_ssi.SsiDecoder()
    broken = bytearray(SSI[5])
    broken[-1] ^= 1
    items = fed(decoder, bytes(broken)) + decoder.pause() + fed(decoder, SSI[5])
    assert Respond(frames_ssi.NAK) in items
    assert items[-1] == Code(b"A1", "qr")


@pytest.mark.parametrize(
    ("suffix", "end"), [(Suffix.CR, b"\r"), (Suffix.LF, b"\n"), (Suffix.CRLF, b"\r\n"), (Suffix.TAB, b"\t")]
)
def test_suffixes(suffix: Suffix, end: bytes) -> None:
    assert fed(Decoder(suffix), b"one" + end + end + b"two" + end) == [Code(b"one"), Code(b"two")]


def test_without_a_suffix_a_pause_ends_a_code() -> None:
    decoder = Decoder(Suffix.NONE)
    assert fed(decoder, b"one") == []
    assert decoder.is_waiting
    assert decoder.pause() == [Code(b"one")]
    assert not decoder.is_waiting


def test_half_a_code_before_a_pause_is_no_code() -> None:
    decoder = Decoder()
    fed(decoder, b"123")
    assert decoder.pause() == [Garbage()]
    assert fed(decoder, b"456\r") == [Code(b"456")]


@pytest.mark.parametrize("size", [1, 700])
def test_a_code_that_is_too_long_is_dropped_whole(size: int) -> None:
    decoder = Decoder()
    assert fed(decoder, b"9" * (2 * CODE_LIMIT_BYTES) + b"\r123\r", size) == [Garbage(), Code(b"123")]


def test_aim_identifiers_are_taken_off() -> None:
    assert fed(Decoder(has_aim=True), b"]Q1abc\r]C0123\r]x\r") == [
        Code(b"abc", "qr"),
        Code(b"123", "code128"),
        Code(b"]x"),
    ]
    assert fed(Decoder(), b"]Q1abc\r") == [Code(b"]Q1abc")]


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_chinese_in_either_charset(charset: str) -> None:
    assert text_of("门诊号:王䶮".encode(charset)) == "门诊号:王䶮"


@pytest.mark.parametrize("data", [b"\xff\xfe\x81\x00", b"a\x1b[2Jb", b"a\x00b"])
def test_what_is_no_text_is_no_code(data: bytes) -> None:
    assert text_of(data) is None


def test_a_code_does_not_show() -> None:
    assert "134567" not in repr(Code(b"134567890123456789", "qr"))


DECODERS: dict[str, Callable[[], AnyDecoder]] = {
    "plain": Decoder,
    "gap": lambda: Decoder(Suffix.NONE, has_aim=True),
    "newland": frames_newland.NewlandDecoder,
    "ssi": frames_ssi.SsiDecoder,
    "framed": frames_framed.FramedDecoder,
}
FRAME_OF = {"plain": b"123\r", "gap": b"123", "newland": b"123\r", "ssi": SSI[5], "framed": FRAMED[0]}


def _survives(name: str, chunks: list[bytes]) -> None:
    """Noise ends nothing: after pauses the next frame is read."""
    decoder = DECODERS[name]()
    for chunk in chunks:
        decoder.feed(chunk)
    for _ in range(3):
        decoder.pause()
    found = decoder.feed(FRAME_OF[name]) + decoder.pause()
    assert any(isinstance(item, Code) for item in found)


_PIECES = st.sampled_from(
    [*NEWLAND, *SSI, *FRAMED, b"\x02\x01", b"\x02", b"\r", b"\n", b"]Q1", b"1345", b"\xff\xff", b"\x05\xf3\x00"]
)
_CHUNKS = st.lists(st.one_of(_PIECES, st.binary(max_size=64)), max_size=12)


@pytest.mark.parametrize("name", list(DECODERS))
@given(chunks=_CHUNKS)
@settings(max_examples=500, deadline=None)
def test_noise_is_survived(name: str, chunks: list[bytes]) -> None:
    _survives(name, chunks)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(DECODERS))
@given(chunks=st.lists(st.binary(max_size=64), max_size=8))
@settings(max_examples=100_000, deadline=None)
def test_much_noise_is_survived(name: str, chunks: list[bytes]) -> None:
    _survives(name, chunks)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(DECODERS))
@given(chunks=_CHUNKS)
@settings(max_examples=20_000, deadline=None)
def test_much_that_looks_right_is_survived(name: str, chunks: list[bytes]) -> None:
    _survives(name, chunks)
