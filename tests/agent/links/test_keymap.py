"""Keys to bytes: by hand, against the simulated scanner, and anything at all."""

from __future__ import annotations

import string
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.qr_scanner.frames import text_of
from agent.links.keymap import EVENT, AltCodes, Typist
from simulators.devices.keyboard_scanner import AltMode, KeyboardScannerCore

CHINESE = "张三 丰𠮷䶮"
ASCII = "".join(chr(code) for code in range(32, 127))
UNICODE_NUMBERS = {AltMode.GBK: AltCodes.GBK, AltMode.UNICODE: AltCodes.UNICODE}


def key(code: int, value: int) -> bytes:
    """One event by hand: struct input_event of a 64-bit Linux, and the report that ends it."""
    return struct.pack("=qqHHi", 0, 0, 1, code, value) + struct.pack("=qqHHi", 0, 0, 0, 0, 0)


def strokes(*codes: int) -> bytes:
    return b"".join(key(code, 1) + key(code, 0) for code in codes)


def typed(text: str, mode: AltMode = AltMode.GBK) -> bytes:
    sent: list[bytes] = []
    core = KeyboardScannerCore(mode)
    core.connected(sent.append)
    core.scan(text)
    return b"".join(sent)


def test_an_event_is_24_bytes_on_this_machine() -> None:
    assert EVENT.size == 24


def test_by_hand() -> None:
    typist = Typist()
    assert typist.feed(strokes(30, 48)) == b"ab"
    assert typist.feed(key(42, 1) + strokes(30, 3) + key(42, 0) + strokes(30)) == b"A@a"
    assert typist.feed(strokes(58, 30, 2, 58, 30)) == b"A1a"  # Caps Lock is for letters only
    assert typist.feed(key(29, 1) + strokes(27) + key(29, 0)) == b"\x1d"
    assert typist.feed(key(30, 1) + key(30, 2) + key(30, 2) + key(30, 0)) == b"a"
    assert typist.feed(strokes(28, 96, 15)) == b"\r\r\t"
    assert typist.feed(strokes(125, 59, 113, 0, 700)) == b""  # a Windows key, F1, mute, nothing


@pytest.mark.parametrize(
    ("codes", "mode", "said"),
    [
        ("54992", AltCodes.GBK, "中".encode("gbk")),
        ("20013", AltCodes.UNICODE, "中".encode()),
        ("0233", AltCodes.GBK, b"\xe9"),
        ("0233", AltCodes.UNICODE, "é".encode()),
        ("134071", AltCodes.UNICODE, "𠮷".encode()),
        ("134071", AltCodes.GBK, b"\0"),
        ("55296", AltCodes.UNICODE, b"\0"),
        ("99999999", AltCodes.UNICODE, b"\0"),
        ("", AltCodes.GBK, b""),
    ],
)
def test_numbers_with_alt(codes: str, mode: AltCodes, said: bytes) -> None:
    digits = {"0": 82, "1": 79, "2": 80, "3": 81, "4": 75, "5": 76, "6": 77, "7": 71, "8": 72, "9": 73}
    stream = key(56, 1) + strokes(*(digits[one] for one in codes)) + key(56, 0) + strokes(30)
    assert Typist(mode).feed(stream) == said + b"a"


@pytest.mark.parametrize("mode", list(AltMode))
@pytest.mark.parametrize("text", [ASCII, CHINESE, f"姓名:{CHINESE};{ASCII}", "01069" + "\x1d" + "21AB"])
def test_what_a_scanner_types_is_read(text: str, mode: AltMode) -> None:
    found = Typist(UNICODE_NUMBERS[mode]).feed(typed(text, mode))
    assert found.endswith(b"\r")
    assert text_of(found[:-1]) == text


def test_dropped_events_spoil_the_code_they_were_in_and_no_other() -> None:
    sent: list[bytes] = []
    core = KeyboardScannerCore()
    core.connected(sent.append)
    typist = Typist()
    core.scan("1234")
    sent.insert(3, struct.pack("=qqHHi", 0, 0, 0, 3, 0) + struct.pack("=qqHHi", 0, 0, 0, 0, 0))
    core.scan("5678")
    first, second, rest = typist.feed(b"".join(sent)).split(b"\r")
    assert text_of(first) is None
    assert (text_of(second), rest) == ("5678", b"")


@given(st.text(string.ascii_letters + "张三丰0123456789-/:", max_size=40), st.integers(1, 50))
@settings(max_examples=100)
def test_pieces_make_no_difference(text: str, size: int) -> None:
    stream = typed(text)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    typist = Typist()
    assert b"".join(typist.feed(piece) for piece in pieces) == Typist().feed(stream)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 0x2FF), st.integers(-1, 3)), max_size=60))
@settings(max_examples=300)
def test_any_events_give_bytes_and_never_much_is_held(events: list[tuple[int, int, int]]) -> None:
    typist = Typist(AltCodes.UNICODE)
    stream = b"".join(EVENT.pack(0, 0, *event) for event in events)
    assert len(typist.feed(stream)) <= 4 * len(events)
    assert len(typist._number) <= 8
    assert len(typist._held) <= 6


@pytest.mark.slow
@pytest.mark.timeout(300)
@given(st.binary(max_size=2_000))
@settings(max_examples=100_000, deadline=None)
def test_a_hundred_thousand_streams(data: bytes) -> None:
    typist = Typist()
    assert len(typist.feed(data)) <= 4 * (len(data) // EVENT.size + 1)
    assert len(typist._half) < EVENT.size
