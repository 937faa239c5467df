"""The mark 补打 on every page of a report.

A report comes from outside and a PDF can be made to eat memory and time, so it is opened in a process of its own with
limits on both. Run as `python -m agent.printing.stamp MARK`, it takes the PDF on its input and gives the marked one.
"""

from __future__ import annotations

import asyncio
import io
import resource
import sys
from pathlib import Path
from typing import Final

from agent.errors import AgentError

MEMORY_BYTES: Final = 768 * 1_048_576
CPU_S: Final = 20
LIMIT_S: Final = 30.0
_FONT: Final = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
_FONT_FACE: Final = 2
"""The simplified Chinese face of the collection."""
_DOTS_PER_POINT: Final = 4
_POINTS: Final = 16
_MARGIN_POINTS: Final = 18


class StampFailed(AgentError):
    """The report cannot be marked, so its copy is not printed."""


async def stamped(pdf: bytes, mark: str) -> bytes:
    """The report with `mark` in the upper right corner of each page.

    Raises:
        StampFailed: it is damaged, too large for the limits, or there is no font.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.printing.stamp", mark,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            marked, _ = await child.communicate(pdf)
    except TimeoutError:
        raise StampFailed("marking took too long") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0 or not marked.startswith(b"%PDF-"):
        raise StampFailed("the report cannot be marked as a copy")
    return marked


def _main(mark: str) -> None:
    from pypdf import PdfReader, PdfWriter, Transformation  # noqa: PLC0415 - only this process needs it

    label = PdfReader(io.BytesIO(_label(mark))).pages[0]
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(sys.stdin.buffer.read()), strict=False))
    for page in writer.pages:
        page.transfer_rotation_to_content()
        box = page.cropbox
        right = float(box.right) - float(label.mediabox.width) - _MARGIN_POINTS
        top = float(box.top) - float(label.mediabox.height) - _MARGIN_POINTS
        page.merge_transformed_page(label, Transformation().translate(right, top))
    marked = io.BytesIO()  # a pipe cannot be asked where it stands
    writer.write(marked)
    sys.stdout.buffer.write(marked.getvalue())


def _label(mark: str) -> bytes:
    """A page as large as the mark in its frame."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - only this process needs it

    font = ImageFont.truetype(_FONT, _POINTS * _DOTS_PER_POINT, index=_FONT_FACE)
    left, top, right, bottom = font.getbbox(mark)
    pad = 4 * _DOTS_PER_POINT
    picture = Image.new("1", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), 1)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=0, width=_DOTS_PER_POINT)
    draw.text((pad - left, pad - top), mark, font=font, fill=0)
    page = io.BytesIO()
    picture.save(page, "PDF", resolution=72.0 * _DOTS_PER_POINT)
    return page.getvalue()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    _main(sys.argv[1])
