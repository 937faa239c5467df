"""Pictures out of an MJPEG stream: `multipart/x-mixed-replace` (RFC 2046, 5.1) as network cameras send it.

Cameras disagree about the boundary's dashes, the length of a part and the line ends, so a part's header is only used
for its length; where there is none, the picture ends with its end-of-image marker (ITU-T T.81, B.1.1.3).
"""

from __future__ import annotations

from typing import Final

PICTURE_MAX: Final = 4 * 1024 * 1024
_HEADER_MAX: Final = 8 * 1024
_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_LENGTH: Final = b"content-length:"


class MjpegDecoder:
    """Feed it what comes; pictures too large to be one are dropped, and `errors` counts them."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._looked = 0
        self.errors = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The pictures that are whole now."""
        self._held += data
        found = []
        while (picture := self._next()) is not None:
            found.append(picture)
        if len(self._held) > PICTURE_MAX:
            self._drop(len(self._held))
            self.errors += 1
        return found

    def _next(self) -> bytes | None:
        start = self._held.find(_START)
        if start < 0:
            self._drop(max(0, len(self._held) - _HEADER_MAX))
            return None
        length = _length(bytes(self._held[max(0, start - _HEADER_MAX) : start]))
        if length is not None and length <= PICTURE_MAX:
            if len(self._held) < start + length:
                return None
            end = start + length
            if self._held[start:end].rstrip(b"\0\r\n").endswith(_END):
                return self._take(start, end)
            self.errors += 1  # the length is wrong: go by the markers
        end = self._held.find(_END, max(start, self._looked - 1))
        if end < 0:
            self._looked = len(self._held)
            return None
        return self._take(start, end + len(_END))

    def _take(self, start: int, end: int) -> bytes:
        picture = bytes(self._held[start:end])
        self._drop(end)
        return picture

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._looked = 0


def _length(header: bytes) -> int | None:
    """The length a part's header tells; None where it tells none."""
    line = header.lower().rpartition(_LENGTH)[2] if _LENGTH in header.lower() else b""
    digits = line.split(b"\n", 1)[0].strip()
    return int(digits) if digits.isdigit() and len(digits) < len(str(PICTURE_MAX)) + 1 else None
