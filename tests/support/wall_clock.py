"""Jump the wall clock of a running child process while its monotonic clock runs on.

A shim in front of the C library (clock_shim.c, loaded with LD_PRELOAD) adds an offset read from a mapped file.
CPython, SQLite, OpenSSL and Mosquitto read the wall clock through the C library and follow; statically linked
programs and the time stamps of files do not. libfaketime cannot do this: it moves the monotonic clock too, or
breaks `time.sleep` (reference on reliability, section 3.1).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.c")
DAY_S = 86_400.0

_OFFSET = struct.Struct("=q")
_NS = 1_000_000_000


class ShimError(AssertionError):
    """The shim cannot be built here; the text says why."""


def cache_dir() -> Path:
    """Directory for things built once per machine; every account can read it, only ours can write."""
    directory = Path(tempfile.gettempdir()) / f"kiosk-test-cache-{os.getuid()}"
    directory.mkdir(mode=0o755, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise ShimError(f"{directory} belongs to somebody else")
    return directory


def build_shim(directory: Path | None = None, *, compiler: str = "gcc") -> Path:
    """Compile the shim unless this version of it lies in `directory` already; returns the library.

    Raises:
        ShimError: no compiler, or it refused.
    """
    target_dir = directory or cache_dir()
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = target_dir / f"clock_shim-{version}.so"
    if library.exists():
        return library
    found = shutil.which(compiler)
    if found is None:
        raise ShimError(f"{compiler} is missing: apt-get install --no-install-recommends gcc libc6-dev")
    half_built = library.with_suffix(f".{os.getpid()}")
    built = subprocess.run(
        [found, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(half_built), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        raise ShimError(f"{compiler} refused the shim: {built.stderr.strip()}")
    half_built.chmod(0o755)
    half_built.rename(library)
    return library


@dataclass(slots=True)
class WallClock:
    """The wall clock of the children that were started with `env()`; it starts right.

    Several children may share one, each with its own may have its own. The file must stay as long as they run.
    """

    path: Path
    library: Path = field(default_factory=build_shim)

    def __post_init__(self) -> None:
        """Make the file with offset 0."""
        self.path.write_bytes(_OFFSET.pack(0))
        self.path.chmod(0o644)

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment for the child: `base` (default: nothing) and the two variables of the shim."""
        given = dict(base or {})
        before = given.get("LD_PRELOAD", os.environ.get("LD_PRELOAD", ""))
        preload = f"{self.library}:{before}" if before else str(self.library)
        return {**given, "LD_PRELOAD": preload, "KIOSK_CLOCK_FILE": str(self.path)}

    @property
    def offset_s(self) -> float:
        """How far the children's wall clock is off, in seconds."""
        (offset_ns,) = _OFFSET.unpack(self.path.read_bytes())
        return float(offset_ns) / _NS

    def set_offset(self, seconds: float) -> None:
        """Put the wall clock so many seconds off the true one, at once."""
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, _OFFSET.pack(int(seconds * _NS)), 0)
        finally:
            os.close(descriptor)

    def jump(self, seconds: float) -> None:
        """Move the wall clock from where it is."""
        self.set_offset(self.offset_s + seconds)

    def set_to(self, unix_s: float, *, true_unix_s: float) -> None:
        """Put the wall clock on an absolute time, for example 0 (1970) or 2147483648 (2038)."""
        self.set_offset(unix_s - true_unix_s)
