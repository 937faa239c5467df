"""The same frames in 64-byte HID reports (Huaxu, 2B8B:2721): padded requests, replies over several."""

from __future__ import annotations

from agent.devices.id_card_reader import frames
from agent.devices.id_card_reader.frames import Reply, Request

REPORT_BYTES = 64


def encode_request(request: Request, data: bytes = b"") -> bytes:
    """One report.

    Raises:
        ValueError: it does not fit into one.
    """
    frame = frames.encode_request(request, data)
    if len(frame) > REPORT_BYTES:
        raise ValueError("the request does not fit into one report")
    return frame.ljust(REPORT_BYTES, b"\0")


class Decoder(frames.Decoder):
    """Takes one report at a time; what pads the last one of a reply is dropped."""

    def feed(self, data: bytes) -> list[Reply]:
        """See `frames.Decoder`; bytes behind a whole reply belong to no next one."""
        found = super().feed(data)
        if found:
            self._buffer.clear()
        return found
