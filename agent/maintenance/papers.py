"""What is printed to try a printer: it says 测试 so large that nobody takes it for a receipt or a report.

The page needs no font of the printer's for it: the two characters are a picture. Lines at the edge show what the
printer cuts off, the grey steps what its toner does.
"""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Final

from agent.devices.receipt_printer.types import Align, Element, Pair, ReceiptJob, Rule, Space, Text

_ROWS: Final = (
    "00000000000000",
    "3000040800d000",
    "1dff041c00d800",
    "0f83240e00cc00",
    "0583240600c600",
    "0193240200c000",
    "01932400fffe00",
    "01932400fffe00",
    "7193247c00c000",
    "3993247c00c000",
    "1d93240400c000",
    "019324047f4000",
    "019324047f4000",
    "01932404086000",
    "01932404086000",
    "0d932404086000",
    "0d932404086000",
    "19b32404086000",
    "183004058b6200",
    "186c040f9f3200",
    "3064040e783600",
    "30c2040c401e00",
    "23833c08001c00",
    "00003000000000",
    "00000000000000",
)
"""测试, a row of dots each as hexadecimal; drawn with Noto Sans CJK (SIL Open Font License 1.1)."""
_COLUMNS: Final = len(_ROWS[0]) * 4
_A4: Final = (595, 842)
_GREYS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)


def receipt(kiosk: str, at: datetime, number: str) -> ReceiptJob:
    """A receipt that shows type sizes, both alphabets and the width of the paper."""
    elements: tuple[Element, ...] = (
        Text("测试 TEST", Align.CENTER, bold=True, large=True),
        Text("非缴费凭证，请勿交给患者", Align.CENTER),
        Rule(),
        Pair("自助机", kiosk),
        Pair("时间", f"{at:%Y-%m-%d %H:%M:%S}"),
        Pair("编号", number[-12:]),
        Rule(),
        Text("生僻字：喆 堃 犇 翀 祎"),
        Text("0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        Rule(),
        Text("测试 TEST", Align.CENTER, bold=True, large=True),
        Space(2),
    )
    return ReceiptJob(number, elements)


def page(kiosk: str, at: datetime, number: str) -> bytes:
    """An A4 page as PDF."""
    width, height = _A4
    picture = zlib.compress(bytes.fromhex("".join(_ROWS)))
    drawing = _drawing(width, height, (f"Kiosk {kiosk}", f"{at:%Y-%m-%d %H:%M:%S %z}", number[-12:]))
    return _document(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R /Resources << /Font << /F 6 0 R >> "
            b"/XObject << /T 5 0 R >> >> >>" % (width, height),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
            b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ImageMask true /Decode [1 0] /BitsPerComponent 1 "
            b"/Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream"
            % (_COLUMNS, len(_ROWS), len(picture), picture),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ]
    )


def _drawing(width: int, height: int, lines: tuple[str, ...]) -> bytes:
    big = 320
    parts = [f"1 w 14 14 {width - 28} {height - 28} re S 28 28 {width - 56} {height - 56} re S"]
    tall = big * len(_ROWS) // _COLUMNS
    parts.append(f"q {big} 0 0 {tall} {(width - big) // 2} {height - 120 - tall} cm /T Do Q")
    y = height - 160 - tall
    for text, size in (("TEST PAGE - NOT A MEDICAL DOCUMENT", 20), *((line, 14) for line in lines)):
        parts.append(f"BT /F {size} Tf 90 {y} Td ({_escaped(text)}) Tj ET")
        y -= 30
    step = (width - 180) // len(_GREYS)
    parts += [f"{grey} g {90 + step * place} {y - 70} {step} 60 re f" for place, grey in enumerate(_GREYS)]
    return "\n".join(parts).encode("latin-1")


def _escaped(text: str) -> str:
    plain = text.encode("latin-1", errors="replace").decode("latin-1")
    return plain.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _document(bodies: list[bytes]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.4\n"), list[int]()
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, start)
    return bytes(out)
