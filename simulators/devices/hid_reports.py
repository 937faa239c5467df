"""An SDT reader behind 64-byte HID reports, as two makers do it; what the host writes begins with the report's number.

Huaxu (2B8B:2721): the frame in as many reports as it needs, the last one padded. MIAXIS (10C4:0007): each report is an
envelope `88`/`AA`, two bytes, length (LE), `B1` or a result, content, sum (LE) of all from the length on; an answer's
content begins with two bytes of no meaning. Both as public drivers have it; written without a look at ours.
"""

from __future__ import annotations

from simulators.devices.transports import Core, Send

REPORT_BYTES = 64
_ENVELOPE_BYTES, _JUNK = 8, b"\x5a\xa5"


class HuaxuReports:
    """Frames in plain reports."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def connected(self, send: Send) -> None:
        """See `Core`."""

        def split(frame: bytes) -> None:
            for start in range(0, len(frame), REPORT_BYTES):
                send(frame[start : start + REPORT_BYTES].ljust(REPORT_BYTES, b"\0"))

        self.core.connected(split)

    def received(self, data: bytes) -> None:
        """See `Core`: a report with its number in front."""
        if len(data) == REPORT_BYTES + 1 and data[0] == 0:
            self.core.received(data[1:])


class MiaxisReports:
    """Frames in envelopes."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def connected(self, send: Send) -> None:
        """See `Core`."""
        room = REPORT_BYTES - _ENVELOPE_BYTES - len(_JUNK)

        def split(frame: bytes) -> None:
            for start in range(0, len(frame), room):
                content = b"\0" + _JUNK + frame[start : start + room]
                send(_sealed(b"\xaa", content).ljust(REPORT_BYTES, b"\0"))

        self.core.connected(split)

    def received(self, data: bytes) -> None:
        """See `Core`; an envelope that is wrong gets no answer."""
        if len(data) != REPORT_BYTES + 1 or data[:4] != b"\0\x88\0\0":
            return
        content = data[6 : 6 + int.from_bytes(data[4:6], "little")]
        if data[1:].startswith(_sealed(b"\x88", content)) and content[:1] == b"\xb1":
            self.core.received(content[1:])


def _sealed(lead: bytes, content: bytes) -> bytes:
    body = len(content).to_bytes(2, "little") + content
    return lead + b"\0\0" + body + (sum(body) % 65_536).to_bytes(2, "little")
