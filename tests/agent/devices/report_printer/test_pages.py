from __future__ import annotations

import random
import time

import pytest

from agent.devices.report_printer.pages import Limits, PdfRefused, agreed_pages, count_pages
from support.pdf import pdf

_LIMITS = Limits()


@pytest.mark.parametrize("pages", [1, 2, 17])
@pytest.mark.parametrize("packed", [False, True])
def test_pages_are_counted(pages: int, packed: bool) -> None:
    assert count_pages(pdf(pages, packed=packed), _LIMITS) == pages


def test_a_page_tree_that_lies_is_not_believed() -> None:
    assert count_pages(pdf(2, stated=1), _LIMITS) is None
    with pytest.raises(PdfRefused, match="cannot be counted"):
        agreed_pages(pdf(2, stated=1), None, _LIMITS)
    assert agreed_pages(pdf(2, stated=1), 2, _LIMITS) == 2


def test_words_inside_a_stream_are_no_pages() -> None:
    fake = b"/Type /Page 9 0 obj << /Type /Page >> endobj"
    document = pdf(1).replace(
        b"xref\n", b"8 0 obj\n<< /Length %d >>\nstream\n" % len(fake) + fake + b"\nendstream\nendobj\nxref\n", 1
    )
    assert count_pages(document, _LIMITS) == 1


def test_a_changed_page_is_counted_once() -> None:
    again = b"3 0 obj\n<< /Type /Page /Parent 2 0 R /Rotate 90 >>\nendobj\n%%EOF\n"
    assert count_pages(pdf(2) + again, _LIMITS) == 2


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not a PDF"),
        (b"<html>", "not a PDF"),
        (pdf(1)[:-40], "cut short"),
        (pdf(1).replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 5 0 R"), "encrypted"),
        (pdf(1, padding=Limits().document_bytes), "larger than"),
        (pdf(61), "61 pages, allowed are 1 to 60"),
        (pdf(0), "0 pages"),
    ],
    ids=["empty", "html", "cut", "encrypted", "large", "long", "no-pages"],
)
def test_documents_that_are_refused(document: bytes, why: str) -> None:
    with pytest.raises(PdfRefused, match=why):
        agreed_pages(document, None, _LIMITS)


def test_a_number_that_contradicts_the_document_is_refused() -> None:
    with pytest.raises(PdfRefused, match="has 2 pages, not 3"):
        agreed_pages(pdf(2), 3, _LIMITS)


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    small = Limits(unpacked_bytes=10_000)
    with pytest.raises(PdfRefused, match="unpacks"):
        count_pages(pdf(500, packed=True), small)
    with pytest.raises(PdfRefused, match="too many objects"):
        count_pages(pdf(1).replace(b"xref\n", b"9 0 obj\nendobj\n" * 200_000 + b"xref\n", 1), _LIMITS)


@pytest.mark.parametrize(
    "filling",
    [b"1 0 obj " * 600_000, b"1 0 obj stream\n" * 300_000, b"/Type " * 900_000, b"1 " * 2_000_000, b" " * 5_000_000],
    ids=["objects", "streams", "types", "digits", "spaces"],
)
def test_no_document_takes_long(filling: bytes) -> None:
    document = b"%PDF-1.4\n" + filling + b"\n%%EOF\n"
    begun = time.process_time()
    with pytest.raises(PdfRefused):
        agreed_pages(document, None, _LIMITS)
    assert time.process_time() - begun < 3.0


def test_damaged_documents_never_raise_anything_else() -> None:
    rng = random.Random(32000)
    for _ in range(300):
        data = bytearray(pdf(3, packed=rng.random() < 0.5))
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            count_pages(bytes(data), _LIMITS)
        except PdfRefused:
            continue
