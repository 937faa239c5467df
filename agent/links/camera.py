"""A camera, behind a process of its own that is there only while somebody looks."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agent.links.base import LinkError, LinkLost, LinkTimeout
from agent.links.camera_worker import EXIT_NO_PICTURE, LENGTHS
from wire.profile import LinkProfile

_HEAD_MAX: Final = 64 * 1024
_PICTURE_MAX: Final = 8 * 1024 * 1024
_SIDE_MAX: Final = 4_096
_RATE_MAX: Final = 60.0
_END_S: Final = 2.0
_CONNECT_S: Final = 3.0
_PORTS: Final = {"http": 80, "rtsp": 554}
_SCHEMES: Final = {"rtsp": "rtsp", "http": "http"}


class NoPicture(LinkError):
    """The process runs and the source gives nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where frames come from; `source` may hold a password and is not shown."""

    kind: str
    source: str = field(repr=False)
    width: int = 640
    height: int = 480
    frames_per_s: float = 8.0

    @classmethod
    def of(cls, profile: LinkProfile, port: str | None) -> Source:
        """The source of a profile: a node such as /dev/video0, rtsp://…, http://…, or a file or folder as file:….

        Raises:
            ValueError: it is none of these, or a number is none.
        """
        options = profile.options
        where = port or str(options.get("source") or "")
        numbers = int(options.get("width") or 640), int(options.get("height") or 480)
        rate = float(options.get("frames_per_s") or 8.0)
        if not (min(numbers) > 0 and max(numbers) <= _SIDE_MAX and 0 < rate <= _RATE_MAX):
            raise ValueError("link.options: width, height or frames_per_s out of range")
        if where.startswith("/dev/"):
            return cls("v4l2", where, *numbers, rate)
        scheme, _, rest = where.partition(":")
        if scheme == "file" and rest.startswith("/"):
            return cls("file", rest, *numbers, rate)
        if scheme in _SCHEMES and urlsplit(where).hostname:
            return cls(_SCHEMES[scheme], where, *numbers, rate)
        raise ValueError("port: a camera is /dev/video…, rtsp://…, http://… or file:/…")

    @property
    def name(self) -> str:
        """Where it is, without a password."""
        return self.source if self.kind in {"v4l2", "file"} else f"{self.kind}://{urlsplit(self.source).hostname}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: what was measured of it, and itself as JPEG."""

    width: int
    height: int
    light: float
    dark: float
    bright: float
    sharpness: float
    motion: float
    faces: tuple[tuple[float, float, float, float], ...] = field(repr=False)
    """x, y, width and height as shares of the frame."""
    picture: bytes = field(repr=False, default=b"")


class Stream:
    """Frames of a running process."""

    def __init__(self, name: str, process: Process, output: asyncio.StreamReader) -> None:
        self._name = name
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    async def next(self, *, timeout_s: float) -> Frame:
        """The next frame.

        Raises:
            NoPicture: the source gives none.
            LinkTimeout: none came in time.
            LinkLost: the process ended, or wrote something else.
        """
        output = self._output
        try:
            async with asyncio.timeout(timeout_s):
                head, picture = LENGTHS.unpack(await output.readexactly(LENGTHS.size))
                if head > _HEAD_MAX or picture > _PICTURE_MAX:
                    raise LinkLost(f"{self._name}: the camera's process is confused")
                told = json.loads(await output.readexactly(head))
                return _frame(told, await output.readexactly(picture))
        except TimeoutError:
            raise LinkTimeout(f"{self._name}: no frame") from None
        except asyncio.IncompleteReadError:
            code = await self._process.wait()
            kind = NoPicture if code == EXIT_NO_PICTURE else LinkLost
            raise kind(f"{self._name}: the camera's process ended ({code})") from None
        except (ValueError, KeyError, TypeError):
            raise LinkLost(f"{self._name}: the camera's process is confused") from None


def _frame(told: dict[str, Any], picture: bytes) -> Frame:
    faces = tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in told.pop("faces"))
    return Frame(**told, faces=faces, picture=picture)


async def _end(process: Process) -> None:
    """Kill it and wait until it is gone, though the caller is cancelled meanwhile: no process stays behind."""
    if process.returncode is None:
        process.kill()
    cancelled: asyncio.CancelledError | None = None
    for _ in range(2):
        try:
            async with asyncio.timeout(_END_S):
                await process.communicate()
        except TimeoutError:
            pass
        except asyncio.CancelledError as error:
            cancelled = error
            continue
        break
    if cancelled is not None:
        raise cancelled


async def _takes_connections(url: str, default_port: int) -> bool:
    address = urlsplit(url)
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(address.hostname, address.port or default_port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


class CameraLink:
    """The way to one camera; frames come only while a stream is open."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """Where it leads, without a password."""
        return self._source.name

    async def open(self) -> None:
        """See `Link`.

        Raises:
            LinkLost: it is not there.
        """
        await self.look()

    async def look(self) -> None:
        """Whether the node is there, or something takes connections at the address; no picture is asked for.

        Raises:
            LinkLost: it is not there.
        """
        source = self._source
        if source.kind in {"v4l2", "file"}:
            is_there = await asyncio.to_thread(Path(source.source).exists)
        else:
            is_there = await _takes_connections(source.source, _PORTS[source.kind])
        if not is_there:
            raise LinkLost(f"{self.name}: not there")

    async def close(self) -> None:
        """Nothing is held between streams."""

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """Frames for as long as this lasts; the process is gone afterwards.

        Raises:
            LinkLost: the process cannot be started.
        """
        command = (sys.executable, "-m", "agent.links.camera_worker")
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        except OSError as error:
            raise LinkLost(f"{self.name}: the camera's process cannot be started") from error
        try:
            if process.stdin is None or process.stdout is None:
                raise LinkLost(f"{self.name}: the camera's process has no pipes")
            with suppress(ConnectionError):
                process.stdin.write(json.dumps(asdict(self._source)).encode() + b"\n")
                await process.stdin.drain()
            yield Stream(self.name, process, process.stdout)
        finally:
            await _end(process)
