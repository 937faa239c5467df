"""The sender's blocks and the receiver's words, held against golden bytes and a check written bit by bit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.firmware.ymodem import ABORT, END, NO_MORE, Replies, Reply, blocks_of, header
from support.golden import golden_frames

HEADER, SHORT, END_OF_FILE, END_OF_BATCH = golden_frames("ymodem")


def _crc(data: bytes) -> int:
    """CRC-16 with 0x1021 and a start of zero, a bit at a time."""
    check = 0
    for byte in data:
        check ^= byte << 8
        for _ in range(8):
            check = (check << 1) ^ (0x1021 if check & 0x8000 else 0)
            check &= 0xFFFF
    return check


def test_golden_blocks() -> None:
    assert header("foo.c", 6347) == HEADER
    assert blocks_of(b"123456789") == [SHORT]
    assert END == END_OF_FILE
    assert NO_MORE == END_OF_BATCH


@given(st.binary(min_size=1, max_size=300_000))
@settings(max_examples=40, deadline=None)
def test_blocks_carry_the_file_and_nothing_else(image: bytes) -> None:
    carried = b""
    for number, block in enumerate(blocks_of(image), start=1):
        assert block[1:3] == bytes((number & 0xFF, ~number & 0xFF))
        assert len(block) == {1: 133, 2: 1_029}[block[0]]
        assert int.from_bytes(block[-2:], "big") == _crc(block[3:-2])
        carried += block[3:-2]
    assert carried.startswith(image)
    assert not carried[len(image) :].strip(b"\x1a")


@pytest.mark.parametrize("name", ["", "a\0b", "固件.bin", "x" * 1_022])
def test_a_name_that_fits_no_header(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        header(name, 1)


def test_a_long_name_takes_a_long_header() -> None:
    assert len(header("x" * 200, 1)) == 1_029


def test_replies_among_noise() -> None:
    replies = Replies()
    assert replies.feed(b"Boot 1.0\r\n\x06\x15") == [Reply.TAKEN, Reply.AGAIN]
    assert replies.feed(b"\x18") == []
    assert replies.feed(b"\x18") == [Reply.CANCEL]
    assert replies.feed(b"\x18x\x18\x06") == [Reply.TAKEN]
    assert Replies().feed(ABORT) == [Reply.CANCEL, Reply.CANCEL]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_replies_do_not_depend_on_how_bytes_arrive(pieces: list[bytes]) -> None:
    whole, apart = Replies(), Replies()
    assert whole.feed(b"".join(pieces)) == [reply for piece in pieces for reply in apart.feed(piece)]
