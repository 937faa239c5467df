"""The vendor's own flashing program, as a process of its own that is ended with everything it started."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.firmware.errors import FlashFailed, Why
from agent.links.opening import found_port
from kit.logs import get_logger

_PERCENT: Final = re.compile(rb"(?<!\d)(\d{1,3}) ?%")
_READ_BYTES: Final = 4_096
_END_S: Final = 2.0
log = get_logger(__name__)


async def run_program(argv: Sequence[str], port: str, image: bytes, limit_s: float, say: Callable[[int], None]) -> None:
    """Let it put the image on the device at `port`; its percentages on standard output are passed on.

    It gets the bytes that were checked, in a file of their own that is gone afterwards.

    Raises:
        FlashFailed: lost, programFailed (it could not be started, or ended with an error), tooSlow.
    """
    try:
        node = await asyncio.to_thread(found_port, port)
    except OSError:
        raise FlashFailed(Why.LOST) from None
    try:
        file = await asyncio.to_thread(_stored, image)
    except OSError:
        raise FlashFailed(Why.PROGRAM_FAILED) from None
    try:
        line = [word.replace("{image}", str(file)).replace("{port}", node) for word in argv]
        async with asyncio.timeout(limit_s):
            code = await _run(line, say)
    except TimeoutError:
        raise FlashFailed(Why.TOO_SLOW) from None
    finally:
        await asyncio.to_thread(shutil.rmtree, file.parent, ignore_errors=True)
    if code != 0:
        log.warning("firmware.program_failed", program=argv[0], code=code)
        raise FlashFailed(Why.PROGRAM_FAILED)


def _stored(image: bytes) -> Path:
    """The image in a folder of its own. Raises: OSError; nothing is left behind then."""
    folder = Path(tempfile.mkdtemp(prefix="firmware-"))
    file = folder / "image.bin"
    try:
        file.write_bytes(image)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return file


async def _run(line: Sequence[str], say: Callable[[int], None]) -> int:
    try:
        process = await asyncio.create_subprocess_exec(
            *line, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
    except OSError:
        raise FlashFailed(Why.PROGRAM_FAILED) from None
    try:
        await _listen(process, say)
        return await process.wait()
    finally:
        await _end(process)


async def _listen(process: Process, say: Callable[[int], None]) -> None:
    """Pass its percentages on; whatever else it says is dropped."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    told = -1
    while data := await process.stdout.read(_READ_BYTES):
        for match in _PERCENT.finditer(data):
            percent = min(100, int(match[1]))
            if percent != told:
                told = percent
                say(percent)


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await process.wait()
