"""What goes onto paper says 测试 and is a document printers take."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime

from agent.devices.receipt_printer.types import Text
from agent.devices.report_printer.pages import Limits, count_pages
from agent.maintenance import papers

AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
NUMBER = "01J00000000000000000000001"


def test_a_receipt_says_so_at_both_ends() -> None:
    texts = [one.text for one in papers.receipt("zzj-021", AT, NUMBER).elements if isinstance(one, Text) and one.large]
    assert texts == ["测试 TEST", "测试 TEST"]


def test_the_page_is_one_page_with_the_picture_of_the_word() -> None:
    document = papers.page("zzj-021 (\\东)", AT, NUMBER)
    assert count_pages(document, Limits()) == 1
    pictures = [
        bytes(found)
        for found in re.findall(rb"FlateDecode /Length \d+ >>\nstream\n(.*?)\nendstream", document, re.DOTALL)
    ]
    dots = zlib.decompress(pictures[0])
    wide, high = (int(found) for found in re.findall(rb"/Width (\d+) /Height (\d+)", document)[0])
    assert len(dots) == wide // 8 * high
    assert 0.1 < sum(byte.bit_count() for byte in dots) / (wide * high) < 0.5
    assert rb"(Kiosk zzj-021 \(\\?\)) Tj" in document


def test_its_parts_are_where_its_table_says() -> None:
    document = papers.page("zzj-021", AT, NUMBER)
    start = int(document.rsplit(b"startxref\n", 1)[1].split()[0])
    assert document[start : start + 4] == b"xref"
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", document), start=1):
        assert document[int(offset) :].startswith(b"%d 0 obj" % number)
