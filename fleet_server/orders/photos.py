"""Photos of a repair: pictures only, without what a phone writes beside them, kept under their digest.

Nothing of a picture is decoded or run. A JPEG loses its application and comment segments (EXIF, with place and phone),
a PNG every chunk that is not needed to draw it, and both what follows their end.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path
from typing import Final

from fleet_server.errors import Refusal

LIMIT_BYTES: Final = 5 * 1024 * 1024
_JPEG: Final = b"\xff\xd8\xff"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_KEPT_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"IDAT", b"IEND"})
_MARK, _SOS, _EOI, _COMMENT = 0xFF, 0xDA, 0xD9, 0xFE
_APP: Final = range(0xE0, 0xF0)
_RESTARTS: Final = range(0xD0, 0xD8)


class _Broken(ValueError):
    """Not a whole picture."""


def cleaned(content: bytes) -> tuple[str, bytes]:
    """The media type and the picture without what is beside it. Raises: Refusal."""
    if len(content) > LIMIT_BYTES:
        raise Refusal("photo_too_large", "a photo has at most 5 MB", status=413)
    try:
        if content.startswith(_JPEG):
            return "image/jpeg", _jpeg(content)
        if content.startswith(_PNG):
            return "image/png", _png(content)
    except (_Broken, struct.error, IndexError):
        raise Refusal("photo_broken", "the picture is not whole", status=422) from None
    raise Refusal("photo_type", "only JPEG and PNG are taken", status=415)


def _jpeg(content: bytes) -> bytes:
    out, at = bytearray(b"\xff\xd8"), 2
    while True:
        if content[at] != _MARK:
            raise _Broken
        marker = content[at + 1]
        if marker == _EOI:
            return bytes(out + b"\xff\xd9")
        length = struct.unpack_from(">H", content, at + 2)[0]
        end = at + 2 + length
        if length < 2 or end > len(content):  # noqa: PLR2004 - the length counts itself
            raise _Broken
        if marker == _SOS:
            end = _scan_end(content, end)
        if marker != _COMMENT and marker not in _APP:
            out += content[at:end]
        at = end


def _scan_end(content: bytes, at: int) -> int:
    """Where coded picture data ends: at a marker that is none of restart or stuffing."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0:
            raise _Broken
        following = content[at + 1]
        if following not in _RESTARTS and following not in {0x00, _MARK}:
            return at
        at += 1 if following == _MARK else 2


def _png(content: bytes) -> bytes:
    out, at = bytearray(_PNG), len(_PNG)
    while True:
        length, name = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        body = content[at + 4 : end - 4]
        if end > len(content) or zlib.crc32(body) != struct.unpack_from(">I", content, end - 4)[0]:
            raise _Broken
        if name in _KEPT_CHUNKS:
            out += content[at:end]
        if name == b"IEND":
            return bytes(out)
        at = end


class PhotoFolder:
    """Files under their digest; nobody can execute or overwrite one. File work: belongs in a thread."""

    def __init__(self, folder: Path) -> None:
        """Keep them here."""
        self._folder = folder

    def keep(self, content: bytes) -> str:
        """Write a picture durably; its digest. Raises: OSError."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        if path.is_file():
            return digest
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.new")
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o400)
        with os.fdopen(fd, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(path)
        return digest

    def path(self, digest: str) -> Path:
        """Where the picture of a digest lies."""
        return self._folder / digest[:2] / digest
