from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.devices.report_printer.frames import (
    MAX_DEPTH,
    Attribute,
    Group,
    IppError,
    Operation,
    Range,
    Tag,
    decode_reply,
    encode_request,
)
from simulators.devices.ipp_messages import BadMessage, decode_request
from support.golden import golden_frames

_HEAD = b"\x02\x00\x00\x00\x00\x00\x00\x01"


def test_what_a_real_printer_said_is_read() -> None:
    idle, taken, processing, completed, low, empty, toner = map(decode_reply, golden_frames("ipp_replies"))
    assert idle.first(Group.PRINTER)["printer-state"] == (3,)
    assert "application/pdf" in idle.first(Group.PRINTER)["document-format-supported"]
    assert taken.first(Group.JOB)["job-id"] == (1,)
    assert processing.first(Group.JOB)["job-state"] == (5,)
    assert completed.first(Group.JOB)["job-impressions-completed"] == (3,)
    found = [reply.first(Group.PRINTER)["printer-state-reasons"] for reply in (low, empty, toner)]
    assert found == [("media-low-report",), ("media-empty-report",), ("toner-low-report",)]


def test_requests_a_real_printer_took_are_built_again() -> None:
    _, print_job, job = golden_frames("ipp_requests")
    sent = decode_request(print_job)
    uri = sent.text("printer-uri")
    assert uri is not None
    target = Attribute(Tag.URI, "printer-uri", (uri,))
    user = Attribute(Tag.NAME, "requesting-user-name", ("kiosk",))
    operation = (
        target,
        user,
        Attribute(Tag.NAME, "job-name", ("job1",)),
        Attribute(Tag.BOOLEAN, "ipp-attribute-fidelity", (False,)),
        Attribute(Tag.MIME_TYPE, "document-format", ("application/pdf",)),
    )
    template = (
        Attribute(Tag.INTEGER, "copies", (1,)),
        Attribute(Tag.KEYWORD, "media", ("iso_a4_210x297mm",)),
        Attribute(Tag.KEYWORD, "sides", ("one-sided",)),
    )
    assert encode_request(Operation.PRINT_JOB, sent.number, operation, template) == print_job
    asked = decode_request(job)
    assert (asked.integer("job-id"), asked.texts("requested-attributes")[0]) == (1, "job-id")


def test_the_simulator_reads_what_a_real_printer_took() -> None:
    requests = [decode_request(frame) for frame in golden_frames("ipp_requests")]
    assert [request.operation for request in requests] == [0x0B, 0x02, 0x09]


def test_kinds_of_values() -> None:
    body = b"\x04"
    body += b"\x33\x00\x01r\x00\x08" + b"\x00\x00\x00\x01\x00\x00\x00\x63"
    body += b"\x35\x00\x01t\x00\x0a" + b"\x00\x02en\x00\x04text"
    body += b"\x34\x00\x01c\x00\x00\x4a\x00\x00\x00\x01m\x21\x00\x00\x00\x04\x00\x00\x00\x07\x37\x00\x00\x00\x00"
    body += b"\x13\x00\x01n\x00\x00" + b"\x22\x00\x01b\x00\x01\x01"
    found = decode_reply(_HEAD + body + b"\x03").first(Group.PRINTER)
    assert found["r"] == (Range(1, 99),)
    assert found["t"] == ("text",)
    assert found["c"] == ({"m": (7,)},)
    assert found["b"] == (True,)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no end tag"),
        (b"\x04\x41\x00\x01x\xff\xf9abc\x03", "over the end"),
        (b"\x41\x00\x01x\x00\x00\x03", "before the first group"),
        (b"\x04\x41\x00\x00\x00\x00\x03", "without a first one"),
        (b"\x04\x21\x00\x01x\x00\x02\x00\x00\x03", "wrong size"),
        (
            b"\x04" + b"\x34\x00\x01x\x00\x00" + b"\x4a\x00\x00\x00\x01m\x34\x00\x00\x00\x00" * (MAX_DEPTH + 1),
            "too deep",
        ),
        (b"\x04" + b"\x13\x00\x01x\x00\x00" * 3_000 + b"\x03", "too many attributes"),
        (b"\x04\x13\x00\x01x\x00\x00" + b"\x13\x00\x00\x00\x00" * 20_000 + b"\x03", "too many values"),
    ],
)
def test_hostile_replies_are_refused(body: bytes, why: str) -> None:
    with pytest.raises(IppError, match=why):
        decode_reply(_HEAD + body)


def _decodes_or_refuses(data: bytes) -> None:
    with suppress(IppError):
        decode_reply(data)
    with suppress(BadMessage):
        decode_request(data)


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _decodes_or_refuses(data)
    _decodes_or_refuses(_HEAD + b"\x04" + data)


def _mutate(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.choice((0, 1, 3, 0x34, 0x37, 0x4A, 0x7F, 0xFF))
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at:at] = data[at : at + rng.randint(1, 40)]
            case _:
                data[at] ^= 1 << rng.randrange(8)
        if not data:
            return b""
    return bytes(data)


def test_damaged_real_replies_are_read_or_refused() -> None:
    rng, frames = random.Random(8010), golden_frames("ipp_replies")
    for _ in range(500):
        _decodes_or_refuses(_mutate(rng, rng.choice(frames)))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_damaged_and_random_replies() -> None:
    rng, frames = random.Random(8011), golden_frames("ipp_replies")
    for _ in range(100_000):
        _decodes_or_refuses(_HEAD + b"\x04" + rng.randbytes(rng.randrange(120)))
    for _ in range(20_000):
        _decodes_or_refuses(_mutate(rng, rng.choice(frames)))
