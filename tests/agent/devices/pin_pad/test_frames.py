from __future__ import annotations

from contextlib import suppress
from functools import reduce
from operator import xor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.pin_pad.frames import Decoder, Frame, PadNoise, encode_command
from support.damage import damaged, noise
from support.golden import golden_frames


def test_golden() -> None:
    request, answer = golden_frames("gzb_epp")
    assert encode_command(0x30) == request
    assert Decoder().feed(answer) == [Frame(0x04, b"\x2a")]


@given(st.lists(st.integers(1, 3), max_size=20))
def test_pieces_and_noise_do_not_matter(sizes: list[int]) -> None:
    frame = encode_command(0x04, b"\x01\x02\x03\x04\x05\x06\x07\x08")
    data, decoder, found = b"\x00\x02\xff" + frame + frame, Decoder(), list[Frame]()
    for size in [*sizes, len(data)]:
        found += decoder.feed(data[:size])
        data = data[size:]
    assert found == [Frame(0x04, b"\x01\x02\x03\x04\x05\x06\x07\x08")] * 2


def test_what_was_taken_is_overwritten() -> None:
    decoder = Decoder()
    buffer = decoder._buffer
    decoder.feed(encode_command(0x04, b"secret!!")[:-1])
    assert b"secret!!" in buffer
    decoder.wipe()
    assert buffer == b""


def test_a_frame_does_not_show_its_data() -> None:
    assert "secret" not in repr(Frame(4, b"secret!!"))


def test_endless_noise_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(PadNoise) as caught:
        Decoder().feed(b"1234" * 1_000)
    assert "1234" not in str(caught.value)


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    decoder = Decoder()
    for piece in pieces:
        with suppress(PadNoise):
            decoder.feed(piece)


def _sealed(body: bytes) -> bytes:
    """A frame around ST and DATA, with a length and a check that are right."""
    inner = bytes((len(body) % 251,)) + body
    return b"\x02" + inner + bytes((reduce(xor, inner),))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_noise_and_damaged_answers() -> None:
    good = encode_command(0x04, bytes(range(8)))
    for stream in (*noise(9_564), *damaged(9_565, good[2:-1], _sealed)):
        decoder = Decoder()
        for frame in decoder.feed(stream):
            body = bytes((frame.status,)) + frame.data
            assert _sealed(body) in stream, "data of a frame that was none"
        decoder.feed(bytes(300))
        assert decoder.feed(good * 2)[-1] == Frame(0x04, bytes(range(8)))
        decoder.wipe()
        assert len(decoder._buffer) == 0
