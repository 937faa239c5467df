"""A small file system that can be filled up and freed again while a program uses it.

As root it is a tmpfs mounted on a directory. Without root it is a tmpfs in a user and mount namespace of its own,
kept by a helper process and reached through /proc/PID/root; programs of the same account use it by that path.
SQLite resolves that link and cannot open a file there.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from support.processes import dying_with_parent

_FILLER = ".filler"
_BLOCKS = (1 << 20, 1 << 16, 1 << 12)


class NoSmallDiskError(AssertionError):
    """Neither way of mounting works here; the text says why for both."""


@dataclass(slots=True)
class SmallDisk:
    """`with SmallDisk(size_bytes=1 << 20) as disk:` then use `disk.path`, `disk.fill()`, `disk.free()`.

    The size is rounded up to whole pages; the kernel takes a page per file for its own use.
    """

    size_bytes: int
    as_root: bool = field(default_factory=lambda: os.getuid() == 0)
    path: Path = field(init=False)
    _mount_point: Path = field(init=False, repr=False)
    _keeper: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        """Mount it.

        Raises:
            NoSmallDiskError: the machine allows neither mount.
        """
        self._mount_point = Path(tempfile.mkdtemp(prefix="kiosk-disk-"))
        self._mount_point.chmod(0o755)
        refused = self._mount() if self.as_root else "not root"
        if not refused:
            self.path = self._mount_point
            return self
        refused_too = self._mount_in_namespace()
        if refused_too:
            self._mount_point.rmdir()
            raise NoSmallDiskError(f"no tmpfs here: mount: {refused}; user namespace: {refused_too}")
        return self

    def _options(self) -> str:
        return f"size={self.size_bytes},mode=0777"

    def _mount(self) -> str:
        """Mount on the directory; returns why it was refused, empty when it was not."""
        argv = ["mount", "-t", "tmpfs", "-o", self._options(), "kiosk-small-disk", str(self._mount_point)]
        mounted = subprocess.run(argv, capture_output=True, text=True, check=False)
        return "" if mounted.returncode == 0 else mounted.stderr.strip() or f"code {mounted.returncode}"

    def _mount_in_namespace(self) -> str:
        """Mount in a namespace kept by a helper; returns why it was refused, empty when it was not."""
        if shutil.which("unshare") is None:
            return "unshare is missing (package util-linux)"
        script = 'mount -t tmpfs -o "$1" kiosk-small-disk "$2" && echo ready && exec cat'
        keeper = subprocess.Popen(
            dying_with_parent(
                ["unshare", "-U", "-r", "-m", "sh", "-c", script, "sh", self._options(), str(self._mount_point)]
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._keeper = keeper
        assert keeper.stdout is not None
        said = keeper.stdout.readline().decode(errors="replace").strip()
        if said != "ready":
            self._end_keeper()
            return said or "the helper ended"
        self.path = Path(f"/proc/{keeper.pid}/root{self._mount_point}")
        self._mount_point.chmod(0)  # a library that resolves the link (SQLite does) fails instead of missing the disk
        return ""

    def _end_keeper(self) -> None:
        if self._keeper is None:
            return
        self._keeper.kill()
        self._keeper.wait(timeout=5.0)
        for stream in (self._keeper.stdin, self._keeper.stdout):
            if stream is not None:
                stream.close()
        self._keeper = None

    @property
    def free_bytes(self) -> int:
        """What can still be written."""
        figures = os.statvfs(self.path)
        return figures.f_bavail * figures.f_frsize

    def fill(self, *, leave_bytes: int = 0) -> int:
        """Write until at most `leave_bytes` are free; returns how much was written."""
        written = 0
        with (self.path / _FILLER).open("ab", buffering=0) as filler:
            for block in _BLOCKS:
                while self.free_bytes - block >= leave_bytes:
                    try:
                        written += filler.write(bytes(block)) or 0
                    except OSError as full:
                        if full.errno != errno.ENOSPC:
                            raise
                        break
        return written

    def free(self) -> None:
        """Remove what `fill` wrote."""
        (self.path / _FILLER).unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        """Unmount it, also when files on it are still open."""
        if self._keeper is not None:
            self._end_keeper()
        else:
            subprocess.run(["umount", "--lazy", str(self._mount_point)], check=True, capture_output=True)
        self._mount_point.rmdir()
