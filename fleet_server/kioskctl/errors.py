"""Why a command ends, as documented in docs/kioskctl.md."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Documented exit codes."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    NOT_SIGNED_IN = 5


class Failure(Exception):
    """A command cannot go on; the text is for the person who typed it, and holds no secret."""

    def __init__(self, exit_code: Exit, message: str, code: str) -> None:
        """End with `exit_code`; `code` is stable, for scripts."""
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.code = code
