"""How many pages a PDF has, and which documents are refused before a printer sees them.

Two independent counts have to agree: the page objects found by walking over all objects (those packed in object
streams included), and the number the page tree states. Otherwise the count is unknown, which is said, not guessed.
No document is rendered; a page's own content is never unpacked.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from wire.faults import Fault

_OBJECT = re.compile(rb"(?<![0-9])(\d{1,7})\s+\d{1,5}\s+obj\b")
_TEXT_END = re.compile(rb"\bstream\r?\n|\bendobj\b")
_LENGTH = re.compile(rb"/Length\s+(\d{1,9})(?!\s+\d+\s+R)")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z0-9])")
_TREE = re.compile(rb"/Type\s*/Pages(?![A-Za-z0-9])")
_COUNT = re.compile(rb"/Count\s+(\d{1,7})\b")
_PARENT = re.compile(rb"/Parent\b")
_PACKED = re.compile(rb"/Type\s*/ObjStm\b")
_FIRST = re.compile(rb"/First\s+(\d{1,9})\b")
_NUMBER = re.compile(rb"/N\s+(\d{1,7})\b")
_FLATE = re.compile(rb"/Filter\s*(?:\[\s*)?/FlateDecode\b(?!\s*/\w+\s*\])")
_ENCRYPTED = re.compile(rb"/Encrypt\s+\d+\s+\d+\s+R|/Encrypt\s*<<")
_HEADER_WITHIN = 1_024
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Limits:
    """The one table of what a document may be; a profile may lower or raise `pages` and `document_bytes`."""

    document_bytes: int = 8 * 2**20
    pages: int = 60
    objects: int = 100_000
    unpacked_bytes: int = 32 * 2**20


class PdfRefused(ValueError):
    """The document is not printed; the text says which rule it breaks and nothing of what is in it."""

    fault = Fault.DEVICE_ERROR


def count_pages(pdf: bytes, limits: Limits) -> int | None:
    """How many pages it has; None when that cannot be told honestly.

    Raises:
        PdfRefused: it is no PDF, is encrypted, or breaks a limit.
    """
    if len(pdf) > limits.document_bytes:
        raise PdfRefused(f"larger than {limits.document_bytes} bytes")
    if b"%PDF-" not in pdf[:_HEADER_WITHIN]:
        raise PdfRefused("not a PDF")
    if _ENCRYPTED.search(pdf):
        raise PdfRefused("encrypted")
    if b"%%EOF" not in pdf[-_HEADER_WITHIN:]:
        raise PdfRefused("cut short")
    pages: set[int] = set()
    roots: dict[int, int | None] = {}
    for number, body in _objects(pdf, limits):
        pages.discard(number)
        roots.pop(number, None)
        if _PAGE.search(body):
            pages.add(number)
        elif _TREE.search(body) and not _PARENT.search(body):
            stated = _COUNT.search(body)
            roots[number] = int(stated[1]) if stated else None
    if len(roots) != 1 or set(roots.values()) != {len(pages)}:
        return None
    return len(pages)


def agreed_pages(pdf: bytes, stated: int | None, limits: Limits) -> int:
    """The number of pages to expect.

    Raises:
        PdfRefused: see `count_pages`; or there are none, too many, an unknown number, or another than stated.
    """
    counted = count_pages(pdf, limits)
    if counted is not None and stated is not None and counted != stated:
        raise PdfRefused(f"has {counted} pages, not {stated}")
    pages = counted if counted is not None else stated
    if pages is None:
        raise PdfRefused("its pages cannot be counted")
    if not 1 <= pages <= limits.pages:
        raise PdfRefused(f"{pages} pages, allowed are 1 to {limits.pages}")
    return pages


def _objects(pdf: bytes, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Every object's number and its text without its stream; later ones replace earlier ones of the same number."""
    left, unpacked_left, offset = limits.objects, limits.unpacked_bytes, 0
    while (head := _OBJECT.search(pdf, offset)) is not None:
        left -= 1
        if left < 0:
            raise PdfRefused("too many objects")
        text, stream, offset = _body(pdf, head.end())
        yield int(head[1]), text
        if stream is not None and _PACKED.search(text):
            packed = _unpack(text, stream, unpacked_left)
            unpacked_left -= len(packed)
            for number, body in _packed_objects(text, packed):
                left -= 1
                if left < 0:
                    raise PdfRefused("too many objects")
                yield number, body


def _body(pdf: bytes, start: int) -> tuple[bytes, bytes | None, int]:
    """The text of an object, its raw stream if it has one, and where to go on."""
    end = _TEXT_END.search(pdf, start)
    if end is None:
        return pdf[start:], None, len(pdf)
    text = pdf[start : end.start()]
    if not end[0].startswith(b"stream"):
        return text, None, end.end()
    length = _LENGTH.search(text)
    if length is not None:
        after = end.end() + int(length[1])
        if pdf[after : after + 16].lstrip().startswith(b"endstream"):
            return text, pdf[end.end() : after], after
    after = pdf.find(b"endstream", end.end())
    after = after if after >= 0 else len(pdf)
    return text, pdf[end.end() : after], after


def _unpack(text: bytes, stream: bytes, limit: int) -> bytes:
    """An object stream's content; empty when it is packed in a way that is not read here."""
    if b"/Filter" not in text:
        return stream[:limit]
    if not _FLATE.search(text):
        return b""
    opener = zlib.decompressobj()
    try:
        content = opener.decompress(stream, limit)
    except zlib.error:
        return b""
    if opener.unconsumed_tail:
        raise PdfRefused("unpacks to more than allowed")
    return content


def _packed_objects(text: bytes, content: bytes) -> Iterator[tuple[int, bytes]]:
    """The objects of an object stream: pairs of number and offset first, bodies from `/First` on."""
    first, amount = _FIRST.search(text), _NUMBER.search(text)
    if first is None or amount is None:
        return
    words = content[: int(first[1])].split()[: 2 * int(amount[1])]
    if not words or len(words) % 2 or not all(word.isdigit() and len(word) <= _DIGITS for word in words):
        return
    numbers, offsets = words[::2], [int(word) for word in words[1::2]]
    if offsets != sorted(offsets):
        return
    ends = [*offsets[1:], len(content)]
    for number, start, end in zip(numbers, offsets, ends, strict=True):
        yield int(number), content[int(first[1]) + start : int(first[1]) + end]
