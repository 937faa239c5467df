"""The same frames inside MIAXIS's envelopes, one per 64-byte HID report (10C4:0007); known from one public driver.

Request: `88`, two zero bytes, length (LE, of what follows up to the sum), command `B1`, the SDT frame, sum (LE, of all
bytes from the length on). Reply: `AA`, two bytes, length, result, data, sum; the first two data bytes of every report
mean nothing to us, the rest of all reports together is the SDT reply.
"""

from __future__ import annotations

from agent.devices.id_card_reader import frames
from agent.devices.id_card_reader.frames import Reply, Request

REPORT_BYTES = 64
_REQUEST, _REPLY, _PASS_ON = 0x88, 0xAA, 0xB1
_LENGTH_AT, _RESULT_AT, _DATA_AT = 3, 5, 6
_SUM_BYTES, _SKIPPED = 2, 2
_SUM_MASK = 0xFFFF


def encode_request(request: Request, data: bytes = b"") -> bytes:
    """One report.

    Raises:
        ValueError: it does not fit into one.
    """
    frame = frames.encode_request(request, data)
    body = (len(frame) + 1).to_bytes(2, "little") + bytes((_PASS_ON,)) + frame
    report = bytes((_REQUEST, 0, 0)) + body + _sum_of(body)
    if len(report) > REPORT_BYTES:
        raise ValueError("the request does not fit into one report")
    return report.ljust(REPORT_BYTES, b"\0")


class Decoder:
    """Takes one report at a time."""

    def __init__(self) -> None:
        self._inner = frames.Decoder()
        self._errors = 0

    @property
    def errors(self) -> int:
        """Envelopes and frames that were wrong."""
        return self._errors + self._inner.errors

    @property
    def has_rest(self) -> bool:
        """See `frames.Decoder`."""
        return self._inner.has_rest

    def feed(self, data: bytes) -> list[Reply]:
        """The whole replies that are there now; a report that is none is counted and dropped."""
        inner = _unwrapped(data)
        if inner is None:
            self._errors += 1
            return []
        return self._inner.feed(inner)


def _unwrapped(report: bytes) -> bytes | None:
    if len(report) < _DATA_AT + _SUM_BYTES or report[0] != _REPLY:
        return None
    end = _RESULT_AT + int.from_bytes(report[_LENGTH_AT:_RESULT_AT], "little")
    if not _DATA_AT <= end <= len(report) - _SUM_BYTES or report[end : end + 2] != _sum_of(report[_LENGTH_AT:end]):
        return None
    return report[_DATA_AT + _SKIPPED : end] if report[_RESULT_AT] == 0 else None


def _sum_of(body: bytes) -> bytes:
    return (sum(body) & _SUM_MASK).to_bytes(2, "little")
