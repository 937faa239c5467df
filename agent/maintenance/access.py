"""The one-time code that lets an engineer in.

`kiosk-agent maintenance code`, run by somebody who may write the agent's data directory, leaves a digest of the code
in a file; the agent takes the file away with the first right code, after so many wrong ones, or when it is too old.
Its age is counted by the machine's monotonic clock, so setting the time makes no old code young.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.errors import AgentError
from kit.clock import Clock

FILE: Final = "maintenance-code"
LIFE_S: Final = 600.0
TRIES: Final = 5
DIGITS: Final = 8


class CodeRefused(AgentError):
    """The code is wrong, used, or too old."""


class NoCode(CodeRefused):
    """Nobody made a code: nothing was tried that would be worth a record."""


@dataclass(frozen=True, slots=True)
class CodeFile:
    """Where the digest of a code lies. File work: belongs in a thread."""

    path: Path
    boot: str
    """The machine's boot id: its monotonic clock starts anew with it."""

    def issue(self, clock: Clock) -> str:
        """A new code in place of any other.

        Raises:
            OSError: the directory cannot be written.
        """
        code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
        salt = secrets.token_hex(16)
        document = {"salt": salt, "digest": _digest(salt, code), "boot": self.boot, "tries": TRIES}
        self._write({**document, "until_mono_s": clock.monotonic() + LIFE_S})
        return code

    def redeem(self, given: str, clock: Clock) -> None:
        """Use the code up.

        Raises:
            CodeRefused: it does not let anybody in.
        """
        try:
            document = json.loads(self.path.read_text(encoding="ascii"))
            is_old = document["boot"] != self.boot or not 0 < document["until_mono_s"] - clock.monotonic() <= LIFE_S
            tries, salt, digest = int(document["tries"]), str(document["salt"]), str(document["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            raise NoCode("there is no code") from None
        is_right = hmac.compare_digest(digest, _digest(salt, given))
        if is_old or is_right or tries <= 1:
            with suppress(FileNotFoundError):
                self.path.unlink()
        else:
            self._write({**document, "tries": tries - 1})
        if is_old or not is_right:
            raise CodeRefused("too old" if is_old else "wrong")

    def _write(self, document: dict[str, object]) -> None:
        scratch = self.path.with_suffix(".new")
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as out:
            json.dump(document, out)
            owner = self.path.parent.stat()
            if owner.st_uid != os.geteuid():
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)  # written by root, read by the agent
        scratch.replace(self.path)


def _digest(salt: str, code: str) -> str:
    return hashlib.sha256(f"{salt}:{code}".encode(errors="replace")).hexdigest()
