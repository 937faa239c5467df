"""What recordings keep of each device: nothing of a person, every length, frames that stay frames."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.card_reader import redact as cards
from agent.devices.id_card_reader import frames as sdt
from agent.devices.id_card_reader import redact as identity
from agent.devices.paper_sensor import redact as board
from agent.devices.paper_sensor.frames import encode_rtu
from agent.devices.pin_pad import redact as pad
from agent.devices.pin_pad.frames import Decoder as PadDecoder
from agent.devices.pin_pad.frames import encode_command
from agent.devices.qr_scanner import redact as scanner
from agent.devices.qr_scanner.frames import Code, Garbage
from agent.devices.qr_scanner.frames_ssi import SsiDecoder
from agent.devices.receipt_printer import frames as escpos
from agent.devices.receipt_printer import frames_page as page
from agent.devices.receipt_printer import redact as receipt
from agent.devices.receipt_printer.glyphs import Glyphs
from agent.devices.receipt_printer.layout import PageFormat, compose, lay_out
from agent.devices.receipt_printer.types import Barcode, Pair, QrCode, Text
from agent.devices.report_printer import redact as report
from agent.devices.report_printer.frames import decode_reply
from agent.devices.ups import redact as power
from agent.recorder.parts import Echo, Lengths, Mask, Part, Redactor, length_of, standing
from simulators.devices.id_card_reader import SimulatedCard, reply_frame
from simulators.devices.smart_card import Holder, SocialCardApplication, debit_card
from simulators.people import Paper, People
from support.golden import golden_frames
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile
from wire.recording import Way


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=6, key=b"test").hexdigest()


def profile(capability: Capability, dialect: str, **capabilities: bool) -> DeviceProfile:
    link = LinkProfile(kind=LinkKind.SERIAL)
    return DeviceProfile(
        vendor="Test", model="Any", capability=capability, link=link, dialect=dialect, capabilities=dict(capabilities)
    )


_C = Capability
MAKERS: dict[str, Callable[[], Redactor | None]] = {
    "sdt": lambda: identity.redactor(profile(_C.ID_CARD_READER, "sdt"), digest),
    "pad": lambda: pad.redactor(profile(_C.PIN_PAD, "gz_b", encrypts=True), digest),
    "plain": lambda: scanner.redactor(profile(_C.QR_SCANNER, "plain"), digest),
    "newland": lambda: scanner.redactor(profile(_C.QR_SCANNER, "newland"), digest),
    "ssi": lambda: scanner.redactor(profile(_C.QR_SCANNER, "ssi"), digest),
    "escpos": lambda: receipt.redactor(profile(_C.RECEIPT_PRINTER, "escpos"), digest),
    "card": lambda: cards.redactor(profile(_C.CARD_READER, "pcsc"), digest),
    "ipp": lambda: report.redactor(profile(_C.REPORT_PRINTER, "ipp"), digest),
    "rtu": lambda: board.redactor(profile(_C.PAPER_SENSOR, "modbus_rtu"), digest),
    "tcp": lambda: board.redactor(profile(_C.PAPER_SENSOR, "modbus_tcp"), digest),
    "nut": lambda: power.redactor(profile(_C.UPS, "nut"), digest),
    "unknown": Lengths,
}


def made(name: str) -> Redactor:
    found = MAKERS[name]()
    assert found is not None
    return found


def shown(parts: Sequence[Part]) -> bytes:
    return b"".join(part.data if isinstance(part, Echo) else part for part in parts if not isinstance(part, Mask))


def kinds(parts: Sequence[Part]) -> list[str]:
    return [part.kind for part in parts if isinstance(part, Mask)]


def played(parts: Sequence[Part]) -> bytes:
    return b"".join(map(standing, parts))


def in_pieces(data: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


_ALPHABET = bytes.fromhex("aa9669020d0a1b1d10041d6b7e013b0390000512300000370022")
_STREAM = st.binary(max_size=120) | st.lists(st.sampled_from(_ALPHABET), max_size=120).map(bytes)


_TALK = st.lists(st.tuples(st.sampled_from(Way), _STREAM), max_size=12)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=60, deadline=None)
@given(talk=_TALK)
def test_every_byte_is_accounted_for(name: str, talk: list[tuple[Way, bytes]]) -> None:
    _account(name, talk)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=10_000, deadline=None)
@given(talk=_TALK)
def test_every_byte_is_accounted_for_at_length(name: str, talk: list[tuple[Way, bytes]]) -> None:
    _account(name, talk)


def _account(name: str, talk: list[tuple[Way, bytes]]) -> None:
    redactor = made(name)
    counted = dict.fromkeys(Way, 0)
    for way, data in talk:
        counted[way] += sum(map(length_of, redactor.feed(way, data)))
    for way in Way:
        counted[way] += sum(map(length_of, redactor.rest(way)))
        assert counted[way] == sum(len(data) for direction, data in talk if direction is way)


# --- identity cards ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper", Paper)
def test_an_identity_is_masked_and_its_frame_stays_a_frame(paper: Paper) -> None:
    card = SimulatedCard(People(7).person(paper))
    parts = [len(card.text()).to_bytes(2), len(card.picture()).to_bytes(2), card.text(), card.picture()]
    frame = reply_frame(0x90, b"".join(parts))
    redactor = made("sdt")
    redactor.feed(Way.SENT, sdt.encode_request(sdt.READ_BASE))
    found = redactor.feed(Way.CAME, frame)
    assert kinds(found) == ["text", "photo", "check"]
    assert len(shown(found)) == 7 + 3 + 4
    replies = sdt.Decoder().feed(played(found))
    assert [(reply.status, len(reply.data)) for reply in replies] == [(0x90, len(b"".join(parts)))]
    number = card.person.number.encode("utf-16-le")
    assert number in frame
    assert number not in played(found)


def test_a_digest_tells_the_same_card_from_another() -> None:
    def of(seed: int) -> str | None:
        redactor = made("sdt")
        redactor.feed(Way.SENT, sdt.encode_request(sdt.SELECT))
        mask, _check = [
            part
            for part in redactor.feed(Way.CAME, reply_frame(0x90, random.Random(seed).randbytes(8)))
            if isinstance(part, Mask)
        ]
        return mask.digest

    assert of(1) == of(1) != of(2)


def test_a_wrong_check_stays_wrong_and_shows_nothing() -> None:
    card = SimulatedCard(People(7).person())
    frame = bytearray(reply_frame(0x90, bytes((1, 0, 4, 0)) + card.text() + card.picture()))
    frame[300] ^= 0x55
    parts = identity.redact(bytes(frame), Way.CAME, digest, asked=b"\x30\x01")
    decoder = sdt.Decoder()
    assert decoder.feed(played(parts)) == []
    assert decoder.errors == 1


@pytest.mark.parametrize("missing", range(1, 40))
def test_bytes_lost_in_front_of_an_identity_show_none_of_it(missing: int) -> None:
    text = SimulatedCard(People(7).person()).text()
    frame = reply_frame(0x90, bytes((1, 0, 4, 0)) + text + bytes(1_024))
    parts = identity.redact(frame[:7] + frame[7 + missing :], Way.CAME, digest, asked=b"\x30\x01")
    assert len(shown(parts)) <= 8  # the head, and at most a check byte


@pytest.mark.parametrize("frame", golden_frames("id_card_requests") + golden_frames("id_card_replies"))
def test_short_frames_are_kept_as_they_are(frame: bytes) -> None:
    way = Way.SENT if frame[7] in {0x10, 0x11, 0x12, 0x20, 0x30} else Way.CAME
    parts = identity.redact(frame, way, digest, asked=b"\x12\xff")
    assert played(parts) == frame or kinds(parts) in (["card", "check"], ["data", "check"])


# --- PIN pads ------------------------------------------------------------------------------------------------


def test_of_a_pin_entry_nothing_is_left_but_that_there_was_one() -> None:
    redactor = made("pad")
    account, block = bytes.fromhex("200123456789"), bytes.fromhex("9f3c51aa07e2b4d8")
    sent = redactor.feed(Way.SENT, encode_command(0x35, b"\x04\x06\x3c" + account))
    assert kinds(sent) == ["account", "check"]
    assert shown(sent)[:6] == b"\x02\x0a\x35\x04\x06\x3c"
    assert redactor.feed(Way.CAME, encode_command(0x04, b"\x2a")) == [encode_command(0x04, b"\x2a")]
    came = redactor.feed(Way.CAME, encode_command(0x04, block))
    assert came[1] == Mask("pin", 8)  # without a digest
    assert [len(frame.data) for frame in PadDecoder().feed(played(came))] == [8]
    clear = redactor.feed(Way.CAME, encode_command(0x04, b"7"))
    assert PadDecoder().feed(played(clear))[0].data == b"0"
    assert redactor.grain_s >= 1.0


# --- scanners ------------------------------------------------------------------------------------------------


def test_codes_are_masked_whole_however_they_come() -> None:
    rng = random.Random(3)
    code = b"134567890123456789"
    for _ in range(50):
        redactor = made("plain")
        parts = [part for piece in in_pieces(code + b"\r", rng) for part in redactor.feed(Way.CAME, piece)]
        assert parts == [Mask("code", len(code), b"0", digest(code)), b"\r"]


def test_a_packet_of_the_serial_interface_stays_a_packet() -> None:
    (packet,) = [frame for frame in golden_frames("qr_scanner_ssi") if frame[1] == 0xF3]
    parts = made("ssi").feed(Way.CAME, packet)
    items = SsiDecoder().feed(played(parts))
    assert [item.data for item in items if isinstance(item, Code)] == [b"00"]
    wrong = packet[:-1] + bytes((packet[-1] ^ 1,))
    assert Garbage() in SsiDecoder().feed(played(made("ssi").feed(Way.CAME, wrong)))


def test_a_code_that_looks_like_a_reply_shows_nothing() -> None:
    parts = made("newland").feed(Way.CAME, b"\x02\x010000" + b"#11010119900101123X\x06" + b"\x3b\x03")
    assert shown(parts) == b"\x02\x010000\x06\x3b\x03"


# --- receipts ------------------------------------------------------------------------------------------------


def test_of_a_receipt_only_commands_are_left() -> None:
    form = PageFormat(columns=42)
    elements = (Text("张三 0123456789", bold=True), Pair("姓名", "龚䶮"), QrCode("A0001234567"), Barcode("B7654321"))
    data = compose(lay_out(elements, 42), form, Glyphs()).data + page.encode_process_id(b"MARK")
    rng = random.Random(5)
    for _ in range(30):
        redactor = made("escpos")
        parts = [part for piece in in_pieces(data, rng) for part in redactor.feed(Way.SENT, piece)]
        seen = shown(parts)
        assert Echo("process_id", b"MARK") in parts
        for secret in ("张三", "龚", "0123456789", "A0001234567", "B7654321"):
            assert secret.encode("gb18030") not in seen
        assert page.INITIALIZE in seen
        assert {"text", "code"} <= set(kinds(parts))
        assert not any(part.digest for part in parts if isinstance(part, Mask))


def test_a_question_in_the_middle_of_a_picture_is_seen() -> None:
    redactor = made("escpos")
    picture = page.encode_raster(8, bytes(range(64)) * 4)
    question = escpos.DLE_EOT[2].request
    parts = redactor.feed(Way.SENT, picture[:100] + question + picture[100:] + b"text\n")
    assert question in shown(parts)
    assert sum(part.length for part in parts if isinstance(part, Mask) and part.kind == "picture") == 256
    assert redactor.feed(Way.CAME, b"\x12") == [b"\x12"]


def test_after_an_unknown_command_nothing_is_shown_until_it_is_initialised() -> None:
    parts = made("escpos").feed(Way.SENT, b"\x1b\x7aname\n\x1bE\x01name" + page.INITIALIZE + b"\n")
    assert shown(parts) == page.INITIALIZE + b"\n"


def test_an_echo_of_a_receipt_is_not_shown() -> None:
    redactor = made("escpos")
    redactor.feed(Way.SENT, b"\x10\x04\x01")
    parts = redactor.feed(Way.CAME, "姓名 张三 13800138000".encode("gb18030"))
    assert len(shown(parts)) <= 1  # at most what the open question may have been answered with


# --- cards ---------------------------------------------------------------------------------------------------


def _talk_to(application: SocialCardApplication, commands: Sequence[bytes]) -> list[Part]:
    redactor = made("card")
    parts: list[Part] = []
    for command in commands:
        parts += redactor.feed(Way.SENT, command)
        parts += redactor.feed(Way.CAME, application.run(command))
    return parts


def test_records_of_a_card_are_masked() -> None:
    person = People(11).person()
    holder = Holder(name=person.name, id_number=person.number)
    application = SocialCardApplication(holder)
    select = [bytes.fromhex("00a40400") + bytes((15,)) + b"sx1.sh." + "社会保障".encode("gbk") + b"\0"]
    files = [bytes.fromhex("00a4000002ef06")]
    records = [bytes((0, 0xB2, number, 4, 0)) for number in range(1, 9)]
    parts = _talk_to(application, [*select, *files, *records])
    assert person.number.encode() not in shown(parts)
    assert person.name.encode("gb18030") not in shown(parts)
    assert "record" in kinds(parts)


def test_a_bank_card_played_again_is_a_card_of_zeros() -> None:
    pan = "6217000012345678906"
    card, redactor = debit_card(pan), made("card")
    card.power_up()
    seen = b""
    for sfi in range(1, 4):
        for number in range(1, 4):
            redactor.feed(Way.SENT, command := bytes((0, 0xB2, number, sfi << 3 | 4, 0)))
            answer = card.exchange(command).data or b"\x6a\x83"
            seen += shown(redactor.feed(Way.CAME, answer))
    assert bytes.fromhex(pan[:18]) not in seen
    record = bytes.fromhex("700e570c6217000012345678906d3012") + b"\x90\x00"
    parts = cards.redact_answer(0xB2, record, digest)
    assert played(parts).hex() == "700e570c" + "30" * 9 + "0d" + "30" * 2 + "9000"


def test_a_command_that_is_not_for_reading_is_masked() -> None:
    assert kinds(cards.redact_command(bytes.fromhex("0020000003123456"))) == ["command"]


# --- reports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", golden_frames("ipp_requests") + golden_frames("ipp_replies"))
def test_messages_of_a_printer_keep_their_form(message: bytes) -> None:
    parts = report.redact(message, digest)
    assert len(played(parts)) == len(message)


def test_names_of_jobs_are_masked() -> None:
    name = "张三 检验报告".encode()
    head = bytes.fromhex("0200000000000007") + b"\x02"
    message = head + b"\x42\x00\x08job-name" + len(name).to_bytes(2) + name + b"\x03"
    parts = report.redact(message, digest)
    assert name not in shown(parts)
    assert decode_reply(played(parts)).request_id == 7


# --- boards and power ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pdu", [frame for frame in golden_frames("modbus_pdu") if frame[0] & 0x7F in {1, 2, 5, 15}])
def test_frames_of_a_board_are_kept_and_what_is_around_them_is_not(pdu: bytes) -> None:
    frame = encode_rtu(1, pdu)
    assert shown(made("rtu").feed(Way.CAME, frame)) == frame
    assert kinds(made("rtu").feed(Way.CAME, b"13456789" + frame)) == ["noise"]


def test_lines_of_a_ups_are_kept_and_others_are_not() -> None:
    redactor = made("nut")
    for line in golden_frames("nut_list_var"):
        assert redactor.feed(Way.CAME, line) == [line]
    assert redactor.feed(Way.CAME, b"134567890123456789\n") == [Mask("noise", 19)]
