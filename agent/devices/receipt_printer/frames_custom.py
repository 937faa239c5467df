"""What printers with a presenter of the Custom family add: full status and ejector.

Follows Custom's command manuals for KPM150-H and KPM210. Bits that these manuals do not agree on are not used.
Never seen on hardware.
"""

from __future__ import annotations

from agent.devices.receipt_printer.frames import Condition, Query, Shape

FULL_STATUS = Query("full_status", b"\x10\x04\x14", Shape.FIXED, lead=b"\x10\x0f", length=6)
EJECTOR_STATUS = Query("ejector_status", b"\x1d\x65\x06", Shape.FIXED, length=1)
RETRACT = b"\x1d\x65\x02"
EJECT = b"\x1d\x65\x05"
_STEPS_LIMIT = 255


def encode_produce(steps: int) -> bytes:
    """Move the ticket out by `steps` of 0.625 mm, the patient can take it then."""
    if not 0 < steps <= _STEPS_LIMIT:
        raise ValueError("the presenter moves 1 to 255 steps")
    return bytes((0x1D, 0x65, 0x03, steps))


def decode_full_status(body: bytes) -> Condition:
    """The six bytes of DLE EOT 20: paper, user, recoverable and unrecoverable errors."""
    paper, user, recoverable, unrecoverable = body[2:6]
    return Condition(
        paper_out=bool(paper & 0x01),
        paper_low=bool(paper & 0x04),
        ticket=bool(paper & 0x20),
        cover_open=bool(user & 0x03),
        recoverable=bool(recoverable & 0x01),
        voltage=bool(recoverable & 0x08),
        mechanical=bool(recoverable & 0x80),
        cutter=bool(unrecoverable & 0x01),
        unrecoverable=bool(unrecoverable & 0x0C),
    )


def decode_ejector_status(body: bytes) -> Condition:
    """The byte of GS e 6. Its error bit alone names nothing and is taken as a jam as well."""
    value = body[0]
    return Condition(ticket=bool(value & 0x08), jammed=bool(value & 0xC0))
