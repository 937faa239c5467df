"""Machines that ask for an identity."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from fleet_server.kioskctl.output import dump, moment, say, table
from fleet_server.kioskctl.running import Json, ask

enrolments = typer.Typer(help="登记请求 (enrolments)。", no_args_is_help=True)
Identifier = Annotated[str, typer.Argument(help="请求编号 (request id)。", metavar="ID")]


@enrolments.command(name="ls")
def listed(
    state: Annotated[list[str] | None, typer.Option(help="状态 (state); 默认等待确认的 pending。")] = None,
    as_json: Json = False,
) -> None:
    """列出登记请求 (list requests)。"""
    page = ask(lambda client: client.get("/api/v1/enrolments", {"state": state or None}), as_json=as_json)
    if as_json:
        dump(page["items"])
        return
    table(
        ("请求", "状态", "序列号", "型号", "来源", "建议编号", "到期", "剩余次数"),
        [
            (
                row["id"],
                row["state"],
                row["serial"],
                row["model"],
                row["source"],
                row["suggested_kid"],
                moment(row["expires_at"]),
                row["tries_left"],
            )
            for row in page["items"]
        ],
    )


@enrolments.command()
def confirm(
    identifier: Identifier,
    code: Annotated[str, typer.Option(help="自助机屏幕上的 6 位配对码 (code on the kiosk's screen)。")],
    kid: Annotated[str, typer.Option(help="自助机编号 (kiosk id)。")],
    accept_serial_mismatch: Annotated[
        bool, typer.Option("--accept-serial-mismatch", help="序列号与清单不同也接受 (machine was replaced)。")
    ] = False,
    as_json: Json = False,
) -> None:
    """确认登记 (confirm)。"""
    body = {"code": code, "kid": kid, "accept_serial_mismatch": accept_serial_mismatch}
    found = ask(lambda client: client.post(_path(identifier, "confirm"), body), as_json=as_json)
    if as_json:
        dump(found)
    else:
        say(f"{kid} 已登记 (enrolled)")


@enrolments.command()
def refuse(
    identifier: Identifier,
    reason: Annotated[str, typer.Option(help="原因, 写入审计 (reason)。")],
    as_json: Json = False,
) -> None:
    """拒绝登记 (refuse)。"""
    found = ask(lambda client: client.post(_path(identifier, "refuse"), {"reason": reason}), as_json=as_json)
    if as_json:
        dump(found)
    else:
        say(f"{identifier} 已拒绝 (refused)")


def _path(identifier: str, action: str) -> str:
    return f"/api/v1/enrolments/{quote(identifier, safe='')}/{action}"
