"""Codes of scan engines that frame them: `02 SYMBOLOGY DATA 03 04`, as Honeywell engines are set up by kiosk makers.

Written from the frames of one public driver; what the byte in front means differs between engines and is not
interpreted. Triggered as Honeywell's plain lines are. Never seen on hardware.
"""

from __future__ import annotations

from agent.devices.qr_scanner.frames import CODE_LIMIT_BYTES, Code, Decoder, Garbage, Item

_START, _END = b"\x02", b"\x03\x04"
_HEAD_BYTES = 2
_FRAME_LIMIT_BYTES = _HEAD_BYTES + CODE_LIMIT_BYTES + len(_END)


class FramedDecoder(Decoder):
    """Takes framed codes off a stream; what stands outside frames is noise, one `Garbage` a stretch."""

    def feed(self, data: bytes) -> list[Item]:
        """See `Decoder`."""
        self._buffer += data
        found: list[Item] = []
        while self._buffer:
            start = self._buffer.find(_START)
            if start != 0:
                del self._buffer[: start if start > 0 else len(self._buffer)]
                found += self._noise()
                continue
            end = self._buffer.find(_END, _HEAD_BYTES)
            if end > _FRAME_LIMIT_BYTES or (end < 0 and len(self._buffer) > _FRAME_LIMIT_BYTES):
                del self._buffer[: end + len(_END) if end > 0 else len(self._buffer)]
                found += self._noise()
                continue
            if end < 0:
                break
            code = bytes(self._buffer[_HEAD_BYTES:end])
            del self._buffer[: end + len(_END)]
            self._is_skipping = False
            found += [Code(code)] if code else []
        return found

    def pause(self) -> list[Item]:
        """See `Decoder`. Half a frame is no code."""
        is_lost = bool(self._buffer)
        self.reset()
        return [Garbage()] if is_lost else []

    def _noise(self) -> list[Item]:
        was_skipping, self._is_skipping = self._is_skipping, True
        return [] if was_skipping else [Garbage()]
