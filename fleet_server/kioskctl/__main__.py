"""The command line. Exit codes: 0 done, 1 failure, 2 usage, 3 refused, 4 unreachable, 5 not signed in."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from fleet_server.kioskctl.commands.alarms import alarms
from fleet_server.kioskctl.commands.assets import assets
from fleet_server.kioskctl.commands.audit import audit
from fleet_server.kioskctl.commands.doctor import doctor
from fleet_server.kioskctl.commands.duty import duty
from fleet_server.kioskctl.commands.enrolments import enrolments
from fleet_server.kioskctl.commands.incidents import incidents, windows
from fleet_server.kioskctl.commands.kiosks import events, kiosks, presence, release, revoke, show, telemetry
from fleet_server.kioskctl.commands.orders import orders
from fleet_server.kioskctl.commands.pages import pages
from fleet_server.kioskctl.commands.policy import policy
from fleet_server.kioskctl.commands.sign_in import login, logout
from fleet_server.kioskctl.commands.sla import report, sla
from fleet_server.kioskctl.commands.users import users
from fleet_server.kioskctl.output import say
from wire import __version__

cli = typer.Typer(
    name="kioskctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="先登录 (first): kioskctl login --url https://服务器地址; 之后的命令用保存的令牌。"
    "用法示例 (examples): docs/kioskctl.md。",
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"kioskctl {__version__}")
        raise typer.Exit


@cli.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="显示版本 (version)。")
    ] = False,
) -> None:
    """自助机运维命令行 (kioskctl)。退出码: 0 完成, 1 失败, 2 用法错误, 3 被拒绝, 4 连接不上, 5 未登录。"""


cli.command()(login)
cli.command()(logout)
cli.command(name="ls")(kiosks)
cli.command()(show)
cli.command()(presence)
cli.command()(telemetry)
cli.command()(events)
cli.command()(alarms)
cli.add_typer(incidents, name="incidents")
cli.add_typer(windows, name="windows")
cli.add_typer(pages, name="pages")
cli.add_typer(duty, name="duty")
cli.add_typer(orders, name="orders")
cli.add_typer(enrolments, name="enrolments")
cli.add_typer(assets, name="assets")
cli.command()(revoke)
cli.command()(release)
cli.command()(audit)
cli.add_typer(users, name="users")
cli.command()(policy)
cli.add_typer(sla, name="sla")
cli.command()(report)
cli.command()(doctor)


def main() -> None:
    """Entry point; what we write is private."""
    os.umask(0o077)
    cli()


if __name__ == "__main__":
    main()
