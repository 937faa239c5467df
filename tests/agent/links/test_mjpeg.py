"""Pictures come whole out of whatever cameras send, and nothing makes the parser grow or fail."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.links.mjpeg import PICTURE_MAX, MjpegDecoder

FIRST = b"\xff\xd8\xff\xe0" + b"first" * 40 + b"\xff\xd9"
SECOND = b"\xff\xd8\xff\xdb" + bytes(range(200)) + b"\xff\xd9"


def part(picture: bytes, *, length: int | None = None, end: bytes = b"\r\n") -> bytes:
    head = [b"--frame", b"Content-Type: image/jpeg"]
    head += [] if length is None else [b"Content-Length: %d" % length]
    return end.join([*head, b"", b""]) + picture + end


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("tells_length", [True, False])
@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_pictures_come_whole_in_any_pieces(end: bytes, tells_length: bool, size: int) -> None:
    stream = b"".join(part(one, length=len(one) if tells_length else None, end=end) for one in (FIRST, SECOND, FIRST))
    decoder = MjpegDecoder()
    found = [one for at in range(0, len(stream), size) for one in decoder.feed(stream[at : at + size])]
    assert found == [FIRST, SECOND, FIRST]
    assert decoder.errors == 0


def test_a_thumbnail_within_a_picture_does_not_end_it_when_the_length_is_told() -> None:
    picture = b"\xff\xd8\xff\xe1" + FIRST + b"rest" + b"\xff\xd9"
    assert MjpegDecoder().feed(part(picture, length=len(picture))) == [picture]


@pytest.mark.parametrize("wrong", [3, 150])
def test_a_wrong_length_is_noticed_and_the_next_picture_is_right(wrong: int) -> None:
    decoder = MjpegDecoder()
    found = decoder.feed(part(FIRST, length=wrong) + part(SECOND, length=len(SECOND)) + part(SECOND))
    assert SECOND in found
    assert decoder.errors >= 1


@pytest.mark.parametrize("told", [b"-5", b"999999999999", b"x", b""])
def test_a_length_that_is_none_is_not_believed(told: bytes) -> None:
    stream = b"--frame\r\nContent-Length: " + told + b"\r\n\r\n" + FIRST + b"\r\n"
    assert MjpegDecoder().feed(stream) == [FIRST]


def test_a_picture_without_end_is_dropped() -> None:
    decoder = MjpegDecoder()
    chunk = b"\x01" * 65_536
    assert decoder.feed(b"\xff\xd8\xff") == []
    for _ in range(PICTURE_MAX // len(chunk) + 2):
        assert decoder.feed(chunk) == []
    assert decoder.errors == 1
    assert decoder.feed(part(FIRST)) == [FIRST]


def _holds(pieces: list[bytes]) -> None:
    decoder = MjpegDecoder()
    total = 0
    for piece in pieces:
        total += len(piece)
        for picture in decoder.feed(piece):
            assert picture.startswith(b"\xff\xd8\xff")
            assert len(picture) <= total
    found = decoder.feed(b"\xff\xd9" + part(FIRST) * 2)
    assert FIRST in found


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from(
            [b"\xff\xd8\xff", b"\xff\xd9", b"Content-Length: 9\r\n\r\n", part(FIRST), part(SECOND, length=5)]
        ),
    ),
    max_size=12,
)


@settings(max_examples=500)
@given(PIECES)
def test_noise_never_hurts(pieces: list[bytes]) -> None:
    _holds(pieces)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=100_000)
@given(PIECES)
def test_much_noise_never_hurts(pieces: list[bytes]) -> None:
    _holds(pieces)
