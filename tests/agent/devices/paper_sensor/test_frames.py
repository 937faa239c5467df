from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from agent.devices.paper_sensor.frames import (
    Function,
    ModbusError,
    ModbusRefused,
    RtuDecoder,
    TcpDecoder,
    check_written,
    crc16,
    decode_bits,
    decode_identity,
    encode_read,
    encode_read_identity,
    encode_rtu,
    encode_tcp,
    encode_write_coils,
)
from simulators.devices.io_board import IoBoardCore
from support.damage import damaged, noise
from support.golden import golden_frames


def _number(bits: tuple[bool, ...]) -> int:
    return sum(1 << index for index, bit in enumerate(bits) if bit)


def test_the_examples_of_the_specification() -> None:
    coils, coils_answer, inputs, inputs_answer, write, written = golden_frames("modbus_pdu")
    assert encode_read(Function.READ_COILS, 0x13, 19) == coils
    assert _number(decode_bits(coils_answer, Function.READ_COILS, 19)) == 0x056BCD
    assert encode_read(Function.READ_INPUTS, 0xC4, 22) == inputs
    assert _number(decode_bits(inputs_answer, Function.READ_INPUTS, 22)) == 0x35DBAC
    bits = [bool(0x01CD >> index & 1) for index in range(10)]
    assert encode_write_coils(0x13, bits) == write
    check_written(written, write)


def test_the_checksum_of_the_specification() -> None:
    (frame,) = golden_frames("modbus_rtu")
    assert encode_rtu(frame[0], frame[1:2]) == frame


@given(st.binary(min_size=1, max_size=60))
def test_the_checksum_is_pymodbus_own(data: bytes) -> None:
    assert crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_an_identification_by_hand() -> None:
    """Section 6.21 of the specification: function, kind, code, conformity, more, next, number, then the objects."""
    assert encode_read_identity() == bytes.fromhex("2B0E0100")
    answer = bytes.fromhex("2B0E0101000003") + b"\x00\x07Example" + b"\x01\x04IO16" + b"\x02\x05V2.11"
    assert decode_identity(answer) == {0: "Example", 1: "IO16", 2: "V2.11"}
    frame, decoder, found = encode_rtu(7, answer), RtuDecoder(7, Function.IDENTITY), None
    for byte in b"\xff" + frame:
        assert found is None
        found = decoder.feed(bytes((byte,)))
    assert found == answer
    with pytest.raises(ModbusRefused):
        decode_identity(b"\xab\x01")


@given(st.binary(max_size=60))
def test_any_identification_is_read_or_refused(rest: bytes) -> None:
    for pdu in (rest, b"\x2b\x0e\x01" + rest):
        try:
            found = decode_identity(pdu)
        except (ModbusError, ModbusRefused):
            continue
        assert sum(2 + len(text) for text in found.values()) <= len(pdu)
        assert all(text.isprintable() for text in found.values())
    whole = RtuDecoder(7, Function.IDENTITY).feed(b"\x07\x2b\x0e\x01" + rest)
    assert whole is None or whole[0] & 0x7F == Function.IDENTITY


def test_refusals_and_other_answers() -> None:
    with pytest.raises(ModbusRefused):
        decode_bits(b"\x82\x02", Function.READ_INPUTS, 8)
    for answer in (b"", b"\x01\x01\x00", b"\x02\x02\x00\x00", b"\x02"):
        with pytest.raises(ModbusError):
            decode_bits(answer, Function.READ_INPUTS, 8)
    with pytest.raises(ModbusError):
        check_written(b"\x0f\x00\x13\x00\x0b", encode_write_coils(0x13, [True] * 10))


@given(st.binary(max_size=20), st.lists(st.integers(1, 4), max_size=20))
def test_an_answer_is_found_behind_noise_and_in_pieces(noise: bytes, sizes: list[int]) -> None:
    frame = encode_rtu(7, b"\x02\x02\xac\x35")
    data, decoder, found = bytes(byte for byte in noise if byte != 7) + frame, RtuDecoder(7, Function.READ_INPUTS), None
    for size in [*sizes, len(data)]:
        found = decoder.feed(data[:size]) if found is None else found
        data = data[size:]
    assert found == b"\x02\x02\xac\x35"


def test_answers_to_others_are_passed_over() -> None:
    rtu = RtuDecoder(7, Function.READ_INPUTS)
    assert rtu.feed(encode_rtu(8, b"\x02\x01\xff") + encode_rtu(7, b"\x02\x01\x01")) == b"\x02\x01\x01"
    tcp = TcpDecoder(5, 7)
    assert tcp.feed(encode_tcp(4, 7, b"\x02\x01\xff") + encode_tcp(5, 7, b"\x02\x01\x01")) == b"\x02\x01\x01"


def test_endless_noise_is_refused() -> None:
    with pytest.raises(ModbusError, match="noise"):
        RtuDecoder(1, Function.READ_INPUTS).feed(b"\xff" * 2_000)
    with pytest.raises(ModbusError, match="header"):
        TcpDecoder(1, 1).feed(b"\xff" * 8)


def _feed_all(pieces: list[bytes]) -> None:
    for decoder in (RtuDecoder(1, Function.READ_INPUTS), TcpDecoder(0, 1)):
        for piece in pieces:
            with suppress(ModbusError, ModbusRefused):
                pdu = decoder.feed(piece)
                if pdu is not None:
                    decode_bits(pdu, Function.READ_INPUTS, 8)
    IoBoardCore().feed(b"".join(pieces))
    IoBoardCore(framing="tcp").feed(b"".join(pieces))


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    _feed_all(pieces)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_noise_and_damaged_answers() -> None:
    for stream in noise(502):
        _feed_all([stream])
    for stream in damaged(503, b"\x02\x01\x55", lambda pdu: encode_rtu(1, pdu)):
        with suppress(ModbusError):
            found = RtuDecoder(1, Function.READ_INPUTS).feed(stream)
            assert found is None or encode_rtu(1, found) in stream, "data of a frame that was none"
        _feed_all([stream])
    for stream in damaged(504, b"\x02\x01\x55", lambda pdu: encode_tcp(0, 1, pdu[:250])):
        with suppress(ModbusError):
            found = TcpDecoder(0, 1).feed(stream)
            assert found is None or found in stream
        _feed_all([stream])


@pytest.mark.slow
def test_an_answer_behind_noise_is_found() -> None:
    answer = encode_rtu(1, b"\x02\x01\x55")
    for stream in noise(505, 20_000, size=60):
        decoder = RtuDecoder(1, Function.READ_INPUTS)
        if decoder.feed(stream) is None:
            assert decoder.feed(answer + answer) == b"\x02\x01\x55"
