"""Small PDF documents for tests; nobody's report."""

from __future__ import annotations

import zlib


def pdf(pages: int, *, stated: int | None = None, packed: bool = False, padding: int = 0) -> bytes:
    """A document of empty A4 pages; `stated` is what the page tree says, `packed` puts all into an object stream."""
    kids = " ".join(f"{3 + number} 0 R" for number in range(pages))
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {pages if stated is None else stated} >>",
        **{
            3 + number: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> >>"
            for number in range(pages)
        },
    }
    return _packed(objects) if packed else _plain(objects, padding)


def _plain(objects: dict[int, str], padding: int) -> bytes:
    out, offsets = bytearray(b"%PDF-1.4\n"), list[int]()
    bodies = {number: text.encode() for number, text in objects.items()}
    if padding:
        bodies[len(bodies) + 1] = b"<< /Length %d >>\nstream\n" % padding + b"x" * padding + b"\nendstream"
    for number, body in bodies.items():
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, start)
    return bytes(out)


def _packed(objects: dict[int, str]) -> bytes:
    numbers, texts, offset = list[str](), list[str](), 0
    for number, text in objects.items():
        numbers += [str(number), str(offset)]
        texts.append(text)
        offset += len(text) + 1
    head = " ".join(numbers) + "\n"
    stream = zlib.compress((head + "\n".join(texts)).encode())
    return (
        b"%PDF-1.5\n90 0 obj\n<< /Type /ObjStm /N "
        + b"%d /First %d /Filter /FlateDecode /Length %d >>\nstream\n" % (len(objects), len(head), len(stream))
        + stream
        + b"\nendstream\nendobj\nstartxref\n0\n%%EOF\n"
    )
