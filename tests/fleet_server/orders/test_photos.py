"""Pictures are kept without what a phone writes beside them; everything else is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from fleet_server.errors import Refusal
from fleet_server.orders.photos import LIMIT_BYTES, PhotoFolder, cleaned


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
FRAME = segment(0xDB, bytes(65)) + segment(0xC0, b"\x08\x00\x01\x00\x01\x01\x01\x11\x00")
JPEG = b"\xff\xd8" + segment(0xE1, b"Exif\x00\x00GPS 31.2304 N") + segment(0xFE, b"li") + FRAME + SCAN + b"\xff\xd9"


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


HEAD = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
TAIL = chunk(b"IDAT", zlib.compress(b"\x00\x00")) + chunk(b"IEND", b"")


def test_a_jpeg_loses_place_and_phone_and_what_follows_its_end() -> None:
    assert cleaned(JPEG + b"<script>") == ("image/jpeg", b"\xff\xd8" + FRAME + SCAN + b"\xff\xd9")


def test_a_png_loses_texts_and_exif_and_what_follows_its_end() -> None:
    picture = HEAD + chunk(b"eXIf", b"GPS") + chunk(b"tEXt", b"Author\x00li") + TAIL + b"PK\x03\x04"
    assert cleaned(picture) == ("image/png", HEAD + TAIL)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "photo_type"),
        (b"GIF89a", "photo_type"),
        (b"<svg onload='x'/>", "photo_type"),
        (b"\x7fELF", "photo_type"),
        (JPEG[:-2], "photo_broken"),
        (JPEG[:40], "photo_broken"),
        (HEAD, "photo_broken"),
        (HEAD + TAIL[:-1] + b"x", "photo_broken"),
        (JPEG + bytes(LIMIT_BYTES), "photo_too_large"),
    ],
)
def test_what_is_no_whole_picture_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        cleaned(content)
    assert refused.value.code == code


def test_a_file_lies_under_its_digest_and_nobody_may_run_it(tmp_path: Path) -> None:
    folder = PhotoFolder(tmp_path)
    digest = folder.keep(HEAD + TAIL)
    assert folder.keep(HEAD + TAIL) == digest
    assert folder.path(digest).read_bytes() == HEAD + TAIL
    assert folder.path(digest).stat().st_mode & 0o777 == 0o400
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [digest]
