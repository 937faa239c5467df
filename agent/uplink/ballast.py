"""A file of real blocks that is given up when the disk is full, so that the outbox can still write and delete."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SPARE = 2


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The file system under the outbox."""

    free_bytes: int
    total_bytes: int

    @property
    def free_percent(self) -> float:
        """Free share."""
        return 100.0 * self.free_bytes / self.total_bytes if self.total_bytes else 0.0


class DiskProbe(Protocol):
    """Asks the file system; replaced in tests that need a disk of another size."""

    def __call__(self, directory: Path) -> DiskSpace:
        """Space below `directory`.

        Raises:
            OSError: it does not answer.
        """


def disk_space(directory: Path) -> DiskSpace:
    """Ask the file system below `directory`.

    Raises:
        OSError: it does not answer.
    """
    usage = shutil.disk_usage(directory)
    return DiskSpace(usage.free, usage.total)


class Ballast:
    """The file; `bytes` 0 means there is none."""

    def __init__(self, directory: Path, size: int, probe: DiskProbe = disk_space) -> None:
        self._path = directory / "ballast"
        self._directory = directory
        self._size = size
        self._probe = probe

    @property
    def is_there(self) -> bool:
        """Whether it can be given up."""
        return self._path.exists()

    def release(self) -> bool:
        """Give it up; whether that freed anything."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def restore(self, reserve_percent: float) -> bool:
        """Make it again once there is ample space; whether it is there now."""
        if self._size == 0 or self.is_there:
            return self.is_there
        try:
            space = self._probe(self._directory)
            after = space.free_bytes - _SPARE * self._size
            if after <= 0 or 100.0 * after / space.total_bytes < reserve_percent:
                return False
            self._fill()
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            return False
        return True

    def _fill(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
