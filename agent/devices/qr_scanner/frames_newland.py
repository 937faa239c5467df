"""Newland's unified commands (FM530 user guide, "serial programming command"); codes come as plain lines.

Command `7E 01 30 30 30 30 STORAGE TAG SUB DATA {; TAG SUB DATA} 3B 03`, reply `02 01 30 30 30 30` with the same and
06, 15 or 05 behind each. Never seen on hardware.
"""

from __future__ import annotations

from agent.devices.qr_scanner.frames import Answer, Decoder, Garbage, Item, Suffix

_COMMAND, _REPLY = b"\x7e\x010000", b"\x02\x010000"
_TERMINATOR = b"\x3b\x03"
_TEMPORARY, _PERMANENT = b"#", b"@"
_ACK = 0x06
_REPLY_LIMIT_BYTES = 512

TRIGGER, RELEASE = ("SCNTRG1",), ("SCNTRG0",)
NO_SETUP_CODES = "SETUPE0"
"""A patient must not be able to reprogram the scanner with a printed code."""


def encode(settings: tuple[str, ...], *, permanent: bool = False) -> bytes:
    """One command with several settings, kept over power-off only when asked for."""
    body = b";".join(setting.encode("ascii") for setting in settings)
    return _COMMAND + (_PERMANENT if permanent else _TEMPORARY) + body + _TERMINATOR


class NewlandDecoder(Decoder):
    """Replies among codes. A reply begins with STX SOH, which no code holds."""

    def __init__(self, suffix: Suffix = Suffix.CR, *, has_aim: bool = False) -> None:
        super().__init__(suffix, has_aim=has_aim)
        self._reply = bytearray()

    @property
    def is_waiting(self) -> bool:
        """See `Decoder`."""
        return super().is_waiting or bool(self._reply)

    def feed(self, data: bytes) -> list[Item]:
        """See `Decoder`."""
        self._reply += data
        found: list[Item] = []
        while self._reply:
            start = self._reply.find(_REPLY[:1])
            if start != 0:
                plain = bytes(self._reply if start < 0 else self._reply[:start])
                del self._reply[: len(plain)]
                found += super().feed(plain)
                continue
            if not _REPLY.startswith(self._reply[: len(_REPLY)]):
                del self._reply[0]
                found.append(Garbage())
                continue
            end = self._reply.find(_TERMINATOR, len(_REPLY))
            if end < 0:
                if len(self._reply) > _REPLY_LIMIT_BYTES:
                    self._reply.clear()
                    found.append(Garbage())
                break
            found.append(_answer(bytes(self._reply[len(_REPLY) : end])))
            del self._reply[: end + len(_TERMINATOR)]
        return found

    def pause(self) -> list[Item]:
        """See `Decoder`."""
        is_lost = bool(self._reply)
        self._reply.clear()
        found: list[Item] = [Garbage()] if is_lost else []
        return found + super().pause()

    def reset(self) -> None:
        """See `Decoder`."""
        self._reply.clear()
        super().reset()


def _answer(body: bytes) -> Item:
    marks = [part[-1] for part in body[1:].split(b";") if part]
    return Answer(is_ok=bool(marks) and all(mark == _ACK for mark in marks))
