"""A program beside the agent that answers JSON lines: one question a line, one answer a line.

For components that exist only as somebody's library: their adapter is a process of its own, so that it may crash or
hang without the agent. What it writes to its error stream is dropped; it may hold identities.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from agent.links.base import LinkError, LinkLost, LinkTimeout
from wire.profile import LinkProfile

_LINE_LIMIT = 64 * 1024
_END_S = 2.0


class ProgramGarbage(LinkError):
    """It wrote something else than one JSON object a line, or answered another question."""


class ProgramLink:
    """One program, started at `open` and ended, with everything it started, at `close`."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._process: Process | None = None
        self._asked = 0

    @classmethod
    def of(cls, link: LinkProfile, port: str | None) -> ProgramLink:
        """As a profile says: `options.command`, a command line; `{port}` in it is the port of this kiosk.

        Raises:
            ValueError: there is no command, it wants a port that is not known, or another option is given.
        """
        if link.options.keys() - {"command"}:
            raise ValueError("link.options: a program takes `command` only")
        argv = shlex.split(str(link.options.get("command") or ""))
        if not argv:
            raise ValueError("link.options.command: which program?")
        if port is None and any("{port}" in word for word in argv):
            raise ValueError("port: its command line wants one")
        return cls([word.replace("{port}", port or "") for word in argv])

    @property
    def name(self) -> str:
        """The program."""
        return self._argv[0]

    @property
    def is_open(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    async def open(self) -> None:
        """Start it.

        Raises:
            LinkLost: it cannot be started.
        """
        if self.is_open:
            return
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=_LINE_LIMIT, start_new_session=True
            )
        except OSError as error:
            raise LinkLost(f"{self.name}: cannot be started") from error

    async def ask(self, question: Mapping[str, object], *, timeout_s: float) -> dict[str, Any]:
        """The answer to one question; `id` is added and compared.

        After an error the program is ended: a late answer must not be taken for the next one.

        Raises:
            LinkTimeout: none in time.
            LinkLost: it ended.
            ProgramGarbage: it answered no JSON object, or another question.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LinkLost(f"{self.name}: not running")
        self._asked += 1
        is_answered = False
        try:
            async with asyncio.timeout(timeout_s):
                process.stdin.write(json.dumps({**question, "id": self._asked}).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            answer = self._decode(line)
            is_answered = True
        except TimeoutError:
            raise LinkTimeout(f"{self.name}: no answer") from None
        except OSError as error:
            raise LinkLost(f"{self.name}: ended") from error
        except ValueError:
            raise ProgramGarbage(f"{self.name}: no JSON") from None
        finally:
            if not is_answered:
                await self.close()
        return answer

    def _decode(self, line: bytes) -> dict[str, Any]:
        if not line:
            raise LinkLost(f"{self.name}: ended")
        answer = json.loads(line)
        if not isinstance(answer, dict) or answer.get("id") != self._asked:
            raise ProgramGarbage(f"{self.name}: answers another question")
        return answer

    async def close(self) -> None:
        """End it; closing twice is harmless."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            async with asyncio.timeout(_END_S):
                await process.wait()
        except TimeoutError:
            return
