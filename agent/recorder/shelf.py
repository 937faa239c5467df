"""The recordings on disk: written by a thread of their own, few, small, whole or not at all."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kit.logs import get_logger
from wire.recording import NAME_PATTERN, SUFFIX

if TYPE_CHECKING:
    from agent.recorder.recorder import Frozen

WAITING_MAX = 4
FOLDER = "recordings"
_NAME = re.compile(NAME_PATTERN)
_TIME = "%Y%m%dT%H%M%S"
_PART = ".part"
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shelved:
    """One recording on disk."""

    name: str
    component: str
    fault: str
    frozen_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ShelfLimits:
    """How much is kept on disk."""

    files: int = 40
    total_bytes: int = 20 * 1_048_576


class Shelf:
    """The folder of the recordings. Everything but `put` blocks."""

    def __init__(self, folder: Path, limits: ShelfLimits | None = None) -> None:
        self._folder = folder
        self._limits = limits or ShelfLimits()
        self._lock = threading.Lock()
        self._waiting: deque[Frozen] = deque()
        self._writer: threading.Thread | None = None
        self._is_good = True

    def put(self, frozen: Frozen) -> None:
        """Write it some time; it is lost when too many wait already or the disk takes none."""
        with self._lock:
            if len(self._waiting) >= WAITING_MAX:
                self._lose("too many at once")
                return
            self._waiting.append(frozen)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_all, name="recordings", daemon=True)
                self._writer.start()

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._folder

    def settle(self, timeout_s: float) -> None:
        """Wait until everything that was put is written or lost."""
        writer = self._writer
        if writer is not None:
            writer.join(timeout_s)

    def all(self) -> list[Shelved]:
        """What is there, newest first."""
        try:
            found = [_shelved(file) for file in self._folder.iterdir()]
        except OSError:
            return []
        return sorted(filter(None, found), key=lambda shelved: shelved.name, reverse=True)

    def file(self, name: str) -> Path | None:
        """Where a recording is; None when there is none of this name."""
        file = self._folder / name
        return file if _NAME.fullmatch(name) and file.is_file() else None

    def remove(self, name: str) -> bool:
        """Throw one away; whether it was there.

        Raises:
            OSError: the disk does not let go of it.
        """
        file = self.file(name)
        if file is None:
            return False
        file.unlink(missing_ok=True)
        return True

    def _write_all(self) -> None:
        from agent.recorder.document import lines_of  # noqa: PLC0415 - its models are built with the first recording

        while True:
            with self._lock:
                if not self._waiting:
                    self._writer = None
                    return
                frozen = self._waiting.popleft()
            try:
                size = self._write(frozen, lines_of(frozen))
            except (OSError, ValueError) as error:
                with self._lock:
                    self._lose(os.strerror(error.errno or 0) if isinstance(error, OSError) else "not of its format")
                continue
            self._is_good = True
            log.info("recording.kept", component=frozen.about.component, fault=frozen.fault, bytes=size)

    def _write(self, frozen: Frozen, lines: Iterable[bytes]) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clean_up()
        file = self._folder / _name(frozen)
        part = file.with_name(file.name + _PART)
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as stream:
                stream.writelines(lines)
                stream.flush()
                os.fsync(stream.fileno())
                size = stream.tell()
            self._make_room(size)
            part.replace(file)
        except (OSError, ValueError):
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return size

    def _clean_up(self) -> None:
        """Remove what an earlier run did not finish."""
        for left in self._folder.glob(f"*{_PART}"):
            left.unlink(missing_ok=True)

    def _make_room(self, size_bytes: int) -> None:
        """Remove the oldest."""
        kept = self.all()
        total = size_bytes + sum(shelved.size_bytes for shelved in kept)
        while kept and (len(kept) >= self._limits.files or total > self._limits.total_bytes):
            oldest = kept.pop()
            (self._folder / oldest.name).unlink(missing_ok=True)
            total -= oldest.size_bytes

    def _lose(self, reason: str) -> None:
        if self._is_good:
            log.warning("recording.lost", reason=reason)
        self._is_good = False


def _name(frozen: Frozen) -> str:
    at = frozen.at.astimezone(UTC)
    return f"{at.strftime(_TIME)}{at.microsecond // 1_000:03d}Z-{frozen.about.component}-{frozen.fault}{SUFFIX}"


def _shelved(file: Path) -> Shelved | None:
    if not _NAME.fullmatch(file.name):
        return None
    moment, _, rest = file.name.removesuffix(SUFFIX).partition("-")
    component, _, fault = rest.rpartition("-")
    try:
        at = datetime.strptime(moment[:15], _TIME).replace(tzinfo=UTC, microsecond=int(moment[15:18]) * 1_000)
        return Shelved(file.name, component, fault, at, file.stat().st_size)
    except (ValueError, OSError):
        return None
