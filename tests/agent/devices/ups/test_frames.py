from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.ups.frames import LINE_BYTES_MAX, Decoder, Line, NutError, encode_list_variables
from support.damage import damaged, noise
from support.golden import golden_frames

ANSWER = b"".join(golden_frames("nut_list_var"))


def test_a_real_answer_is_read() -> None:
    lines = Decoder().feed(ANSWER)
    assert lines[0].words == ("BEGIN", "LIST", "VAR", "k")
    assert Line(("VAR", "k", "ups.status", "OL")) in lines
    assert lines[-1].words == ("END", "LIST", "VAR", "k")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", ()),
        (b'VAR k a "x y"', ("VAR", "k", "a", "x y")),
        (b'VAR k a ""', ("VAR", "k", "a", "")),
        (b'VAR k a "say \\"hi\\" \\\\"\r', ("VAR", "k", "a", 'say "hi" \\')),
        (b"ERR DATA-STALE", ("ERR", "DATA-STALE")),
    ],
)
def test_words(text: bytes, words: tuple[str, ...]) -> None:
    assert Decoder().feed(text + b"\n") == [Line(words)]


@given(st.lists(st.integers(1, 60), max_size=40))
def test_pieces_do_not_matter(sizes: list[int]) -> None:
    decoder, found, rest = Decoder(), list[Line](), ANSWER
    for size in [*sizes, len(ANSWER)]:
        found += decoder.feed(rest[:size])
        rest = rest[size:]
    assert found == Decoder().feed(ANSWER)


def test_endless_lines_and_open_quotes_are_refused_and_forgotten() -> None:
    decoder = Decoder()
    with pytest.raises(NutError, match="too long"):
        decoder.feed(b"x" * (LINE_BYTES_MAX + 1))
    with pytest.raises(NutError, match="quote"):
        decoder.feed(b'VAR k a "x\n')
    assert decoder.feed(b"OK\n") == [Line(("OK",))]


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    decoder = Decoder()
    for piece in pieces:
        with suppress(NutError):
            decoder.feed(piece)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_noise_and_damaged_answers() -> None:
    for stream in (*noise(3_493), *damaged(3_494, ANSWER, bytes)):
        decoder = Decoder()
        with suppress(NutError):
            for line in decoder.feed(stream):
                assert all(word.isprintable() for word in line.words), "a control character came through"
        with suppress(NutError):
            assert Decoder().feed(ANSWER)


@pytest.mark.parametrize("name", ["", "a b", "k\nSHUTDOWN", "k" * 65])
def test_only_names_go_out(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        encode_list_variables(name)
