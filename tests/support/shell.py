"""A terminal of somebody who uses `kioskctl`, against a real server on a free port."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from fleet_server.kioskctl.__main__ import cli
from support.staff import GOOD
from support.staff_site import StaffSite


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # noqa: ANN401 - a JSON document
        # The server runs in the same process and logs to the same standard output: whole lines with a date.
        start = re.search(r"^[\[{]", self.out, re.MULTILINE)
        assert start is not None, self.out
        return json.loads(self.out[start.start() :])


@dataclass(slots=True)
class Shell:
    """A terminal of somebody who uses `kioskctl`."""

    site: StaffSite
    config: Path
    environ: dict[str, str] = field(default_factory=dict)

    async def run(self, *arguments: str, stdin: str | None = None, **environ: str) -> Run:
        """Run a command to its end."""
        wanted = {
            "KIOSKCTL_CONFIG": str(self.config),
            "KIOSKCTL_URL": self.site.url,
            "KIOSKCTL_TOKEN": None,
            **self.environ,
            **environ,
        }
        result = await asyncio.to_thread(CliRunner().invoke, cli, list(arguments), input=stdin, env=wanted)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Run(result.exit_code, result.stdout, result.stderr)

    async def signs_in(self, username: str) -> Run:
        """Sign in with password and code."""
        self.site.clock.advance(30)
        return await self.run("login", "--stdin", stdin=f"{username}\n{GOOD}\n{self.site.code(username)}\n")
