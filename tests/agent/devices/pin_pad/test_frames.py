from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.pin_pad.frames import Decoder, Frame, PadNoise, encode_command
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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_damaged_and_random_answers() -> None:
    rng, frame = random.Random(9564), encode_command(0x04, bytes(range(8)))
    for number in range(120_000):
        data = bytearray(rng.randbytes(rng.randrange(60)) if number % 6 else frame + frame)
        for _ in range(rng.randint(1, 4) if data else 0):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 255, rng.randrange(256)))
        decoder = Decoder()
        decoder.feed(bytes(data))
        decoder.wipe()
        assert len(decoder._buffer) == 0
