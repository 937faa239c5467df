"""What a crowd said and what was acknowledged, one JSON line each, for a checker to compare with the server.

Lines: `{"p": process, "o": "invoke"|"ok", "f": "put", "k": "<kid>/<epoch>", "v": seq, "t": monotonic ns, "n": kind}`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from kit.clock import Clock

OPERATION = "put"


class Ledger:
    """Append-only file of invocations and acknowledgements; None as path keeps nothing."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._clock = clock
        self._fd = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def invoke(self, kid: str, epoch: str, seq: int, kind: str) -> None:
        """A record was made."""
        self._write("invoke", f"{kid}/{epoch}", seq, kind)

    def ok(self, kid: str, epoch: str, seq: int) -> None:
        """A receipt covered it."""
        self._write("ok", f"{kid}/{epoch}", seq, "")

    def _write(self, outcome: str, key: str, seq: int, kind: str) -> None:
        if self._fd is not None:
            at_ns = int(self._clock.monotonic() * 1e9)
            line = {"p": "crowd", "o": outcome, "f": OPERATION, "k": key, "v": seq, "t": at_ns, "n": kind}
            os.write(self._fd, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        """Nothing to do: the file is open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()
