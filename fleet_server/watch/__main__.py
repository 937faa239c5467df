"""The command line of the watch. Exit codes: 0 done; 1 alerting is gone (`--once`); 3 settings are not in order."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fleet_server.watch.service import Watch
from fleet_server.watch.settings import ENV_PREFIX, WatchSettings
from kit.clock import SystemClock
from kit.logs import configure
from kit.settings import SettingsError, load
from kit.supervise import SdNotifier, serve

GONE, SETUP = 1, 3
cli = typer.Typer(
    name="fleet-watch",
    help="告警值守: 管理服务器的告警停止时直接呼叫值班人 (dead-man's switch)。宜装在另一台机器上。",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@cli.command()
def run(
    config: Annotated[Path, typer.Option("--config", help="设置文件 (settings file)。")] = Path("watch.toml"),
    once: Annotated[
        bool, typer.Option("--once", help="只看一次并说明, 不呼叫任何人 (look once, tell nobody)。")
    ] = False,
) -> None:
    """值守 (watch)。"""
    configure("fleet-watch", level="info", json=not sys.stderr.isatty())
    try:
        settings = load(WatchSettings, file=config, env_prefix=ENV_PREFIX)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(SETUP) from None
    watch = Watch(settings, SystemClock())
    if once:
        is_well, text = asyncio.run(_once(watch))
        typer.echo(text)
        raise typer.Exit(0 if is_well else GONE)
    notifier = SdNotifier()
    notifier.ready()
    asyncio.run(serve([watch], notifier=notifier))


async def _once(watch: Watch) -> tuple[bool, str]:
    sight = await watch.glance()
    is_well = sight.idle_s is not None and sight.idle_s <= watch.silent_s
    return is_well, f"{'正常 (well)' if is_well else '中断 (gone)'}: {sight.why}"


def main() -> None:
    """Entry point; what we write is private."""
    os.umask(0o077)
    cli()


if __name__ == "__main__":
    main()
