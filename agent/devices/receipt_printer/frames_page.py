"""What an ESC/POS printer is sent: the commands a receipt needs, and nothing that text could reach.

Follows Epson's ESC/POS command reference; each function names its command. Nothing here builds a real-time command
from outside, and pictures are kept free of bytes a printer would execute as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

INITIALIZE = b"\x1b@"
CHINESE_ON, CHINESE_OFF = b"\x1c&", b"\x1c."
BOLD_ON, BOLD_OFF = b"\x1bE\x01", b"\x1bE\x00"
CENTER, LEFT = b"\x1ba\x01", b"\x1ba\x00"
LARGE_ON, LARGE_OFF = b"\x1d!\x11", b"\x1d!\x00"
CHINESE_LARGE_ON, CHINESE_LARGE_OFF = b"\x1cW\x01", b"\x1cW\x00"
ASB_ON, ASB_OFF = b"\x1da\x0f", b"\x1da\x00"
CLEAR_BUFFERS = b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08"
RECOVER_AND_CLEAR = b"\x10\x05\x02"
PROCESS_ID_BYTES = 4
QR_LIMIT, BARCODE_LIMIT = 1_000, 60
_RASTER_HEADER_BYTES = 8
# DLE followed by one of these is executed even within a picture; a dot more in the second byte ends that.
_REAL_TIME = {b"\x10\x04": b"\x10\x06", b"\x10\x05": b"\x10\x07", b"\x10\x14": b"\x10\x16"}


class Cut(StrEnum):
    """What the printer's cutter does; `none` tears by hand."""

    PARTIAL = "partial"
    FULL = "full"
    NONE = "none"


_CUTS = {Cut.PARTIAL: b"\x1dVB\x00", Cut.FULL: b"\x1dVA\x00", Cut.NONE: b"\x1bd\x04"}


def encode_cut(cut: Cut) -> bytes:
    """GS V, function B: feed to the cutter and cut; ESC d where there is no cutter."""
    return _CUTS[cut]


def encode_feed(lines: int) -> bytes:
    """ESC d, as often as needed."""
    whole, rest = divmod(lines, 0xFF)
    return b"\x1bd\xff" * whole + (bytes((0x1B, 0x64, rest)) if rest else b"")


def encode_process_id(mark: bytes) -> bytes:
    """GS ( H function 48: the printer answers with `mark` when everything before it has been printed."""
    if len(mark) != PROCESS_ID_BYTES or not all(0x20 <= byte <= 0x7E for byte in mark):  # noqa: PLR2004 - the manual's range
        raise ValueError("a process id is four printable ASCII characters")
    return b"\x1d(H\x06\x0000" + mark


def encode_qr(content: bytes, module_dots: int) -> bytes:
    """GS ( k functions 165, 167, 169, 180 and 181: a QR code of model 2, error correction M."""
    if not 0 < len(content) <= QR_LIMIT or not 1 <= module_dots <= 16:  # noqa: PLR2004 - the manual's range
        raise ValueError(f"a QR code holds 1 to {QR_LIMIT} bytes, its squares have 1 to 16 dots")
    return b"".join(
        (
            b"\x1d(k\x04\x001A2\x00",
            b"\x1d(k\x03\x001C" + bytes((module_dots,)),
            b"\x1d(k\x03\x001E1",
            b"\x1d(k" + (len(content) + 3).to_bytes(2, "little") + b"1P0" + content,
            b"\x1d(k\x03\x001Q0",
        )
    )


def encode_barcode(content: str, height_dots: int) -> bytes:
    """GS k function B: Code 128, code set B, text below."""
    if not content.isascii() or not content.isprintable() or not 0 < len(content) <= BARCODE_LIMIT:
        raise ValueError(f"a barcode holds 1 to {BARCODE_LIMIT} printable ASCII characters")
    body = b"{B" + content.replace("{", "{{").encode("ascii")
    head = b"\x1dh" + bytes((min(max(height_dots, 1), 0xFF),)) + b"\x1dw\x02\x1df\x00\x1dH\x02"
    return head + b"\x1dkI" + bytes((len(body),)) + body


def encode_raster(width_bytes: int, rows: bytes) -> bytes:
    """GS v 0: a picture of whole rows, a set bit is black."""
    height, rest = divmod(len(rows), width_bytes)
    if rest or not height:
        raise ValueError("a picture consists of whole rows")
    head = b"\x1dv0\x00" + width_bytes.to_bytes(2, "little") + height.to_bytes(2, "little")
    return head + without_real_time(head + rows)[_RASTER_HEADER_BYTES:]


def without_real_time(picture: bytes) -> bytes:
    """`picture` with one dot more wherever a printer would take two of its bytes for a real-time command."""
    for command, harmless in _REAL_TIME.items():
        picture = picture.replace(command, harmless)
    return picture


def chunks(parts: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    """Whole parts together, about `size_bytes` each; a longer part stays whole."""
    chunk = bytearray()
    for part in parts:
        if chunk and len(chunk) + len(part) > size_bytes:
            yield bytes(chunk)
            chunk.clear()
        chunk += part
    if chunk:
        yield bytes(chunk)
