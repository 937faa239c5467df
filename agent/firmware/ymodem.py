"""YMODEM with CRC-16 and blocks of 1,024 bytes, the sender's side.

Written from C. Forsberg, "XMODEM/YMODEM Protocol Reference" (1988), chapters 4 to 8.
"""

from __future__ import annotations

from binascii import crc_hqx
from enum import Enum
from typing import Final

SHORT_BYTES, LONG_BYTES = 128, 1_024
_SOH, _STX, _EOT, _ACK, _NAK, _CAN, _CRC, _PAD = 0x01, 0x02, 0x04, 0x06, 0x15, 0x18, 0x43, 0x1A
END: Final = bytes((_EOT,))
ABORT: Final = bytes((_CAN,)) * 5 + b"\b" * 5
"""Two would do; the rest survives noise, and the backspaces take them off a command line that got them instead."""
NO_MORE: Final = bytes((_SOH, 0x00, 0xFF)) + bytes(SHORT_BYTES) + bytes(2)
"""The header of no file: the batch is over. The check value of nothing but zeros is zero."""


class Reply(Enum):
    """What a receiver says."""

    TAKEN = "ack"
    AGAIN = "nak"
    BEGIN = "crc"
    """It wants a file, and blocks with CRC."""
    CANCEL = "cancel"


_REPLIES: Final = {_ACK: Reply.TAKEN, _NAK: Reply.AGAIN, _CRC: Reply.BEGIN}


def header(name: str, size_bytes: int) -> bytes:
    """Block 0: which file comes, and how long it is.

    Raises:
        ValueError: the name is not ASCII, or too long for a block.
    """
    body = name.encode("ascii") + b"\x00" + str(size_bytes).encode("ascii") + b"\x00"
    length = SHORT_BYTES if len(body) <= SHORT_BYTES else LONG_BYTES
    if not name or "\x00" in name or len(body) > length:
        raise ValueError("not a name for a header")
    return _block(0, body.ljust(length, b"\x00"))


def blocks_of(image: bytes) -> list[bytes]:
    """All blocks of a file in order, from block 1; its rest travels in a short block where it fits into one."""
    made = []
    for at in range(0, len(image), LONG_BYTES):
        chunk = image[at : at + LONG_BYTES]
        length = SHORT_BYTES if len(chunk) <= SHORT_BYTES else LONG_BYTES
        made.append(_block(at // LONG_BYTES + 1, chunk.ljust(length, bytes((_PAD,)))))
    return made


def _block(number: int, body: bytes) -> bytes:
    mark, count = (_SOH if len(body) == SHORT_BYTES else _STX), number & 0xFF
    return bytes((mark, count, count ^ 0xFF)) + body + crc_hqx(body, 0).to_bytes(2, "big")


class Replies:
    """Takes replies off a stream; anything else is noise. One CAN may be noise too, two in a row are not."""

    def __init__(self) -> None:
        self._is_after_cancel = False

    def feed(self, data: bytes) -> list[Reply]:
        """Every reply in these bytes."""
        found = []
        for byte in data:
            if byte == _CAN:
                if self._is_after_cancel:
                    found.append(Reply.CANCEL)
                self._is_after_cancel = not self._is_after_cancel
                continue
            self._is_after_cancel = False
            if byte in _REPLIES:
                found.append(_REPLIES[byte])
        return found
