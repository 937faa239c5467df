"""How every command runs: load the configuration, talk to the server, end with the documented exit code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from fleet_server.kioskctl.client import FleetClient, connected, require_token
from fleet_server.kioskctl.config import Config, load
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import complain

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="输出 JSON (for scripts)。")]
Limit = Annotated[int, typer.Option(help="最多行数, 0 为全部 (at most, 0 for all)。", min=0)]


def ask(work: Callable[[FleetClient], Awaitable[T]], *, as_json: bool) -> T:
    """Do `work` with a signed-in client; a failure ends the program."""
    try:
        config = load(os.environ)
        require_token(config)
        return asyncio.run(_with_client(config, work))
    except Failure as failure:
        raise end(failure, as_json=as_json) from None


def end(failure: Failure, *, as_json: bool) -> typer.Exit:
    """Say why, and how the program ends."""
    complain(failure, as_json=as_json)
    return typer.Exit(failure.exit_code)


def confirmed(question: str, *, yes: bool) -> None:
    """Go on only when the person agrees; with nobody to ask, `--yes` is needed."""
    if not yes and not typer.confirm(question, err=True):
        raise typer.Exit(Exit.REFUSED)


async def _with_client(config: Config, work: Callable[[FleetClient], Awaitable[T]]) -> T:
    async with connected(config) as client:
        return await work(client)
