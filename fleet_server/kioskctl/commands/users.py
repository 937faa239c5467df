"""Accounts of staff."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import typer

from fleet_server.kioskctl.client import Document, FleetClient
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, moment, pairs, say, table
from fleet_server.kioskctl.running import Json, ask, confirmed, end

users = typer.Typer(help="账户 (accounts)。", no_args_is_help=True)


class Reset(StrEnum):
    """What the person lost."""

    BOTH = "both"
    PASSWORD = "password"  # noqa: S105 - the name of a choice
    TOTP = "totp"


Name = Annotated[str, typer.Argument(help="用户名 (user name)。", metavar="NAME")]


@users.command(name="ls")
def listed(as_json: Json = False) -> None:
    """列出账户 (list accounts)。"""
    page = ask(lambda client: client.get("/api/v1/users"), as_json=as_json)
    if as_json:
        dump(page["items"])
        return
    table(
        ("用户名", "姓名", "角色", "状态", "锁定至", "密码更改于"),
        [
            (
                row["username"],
                row["display_name"],
                " ".join(row["roles"]),
                "停用" if not row["is_active"] else "等待恢复" if row["recovery_expires_at"] else "启用",
                moment(row["locked_until"]),
                moment(row["password_changed_at"]),
            )
            for row in page["items"]
        ],
    )


@users.command()
def add(
    name: Name,
    display_name: Annotated[str, typer.Option("--display-name", help="姓名 (display name)。")],
    role: Annotated[
        list[str], typer.Option(help="角色, 可多次: engineer lead system_admin security_admin auditor viewer。")
    ],
    stdin: Annotated[bool, typer.Option("--stdin", help="从标准输入读一行密码 (password from stdin)。")] = False,
    as_json: Json = False,
) -> None:
    """新建账户; 双因素密钥只显示这一次 (add an account)。"""
    try:
        password = _password(stdin=stdin)
    except Failure as failure:
        raise end(failure, as_json=as_json) from None
    body = {"username": name, "password": password, "display_name": display_name, "roles": role}
    made: Document = ask(lambda client: client.post("/api/v1/users", body), as_json=as_json)
    if as_json:
        dump(made)
        return
    say(f"{name} 已建立 (made)。请当面交给本人, 只显示这一次 (shown once):")
    pairs([("密钥 (secret)", made["totp_secret"]), ("二维码内容 (uri)", made["totp_uri"])])


@users.command()
def disable(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问 (do not ask)。")] = False,
    as_json: Json = False,
) -> None:
    """停用账户, 立即结束其会话 (disable)。"""
    confirmed(f"停用 {name}? (disable)", yes=yes)
    _change(name, {"is_active": False}, "已停用 (disabled)", as_json=as_json)


@users.command()
def enable(name: Name, as_json: Json = False) -> None:
    """启用账户 (enable)。"""
    _change(name, {"is_active": True}, "已启用 (enabled)", as_json=as_json)


@users.command()
def unlock(name: Name, as_json: Json = False) -> None:
    """解除多次失败后的锁定 (unlock)。"""
    _change(name, {"unlock": True}, "已解锁 (unlocked)", as_json=as_json)


@users.command()
def recover(
    name: Name,
    reset: Annotated[
        Reset, typer.Option(help="丢失了什么: both 密码和手机, password 仅密码, totp 仅手机 (what was lost)。")
    ] = Reset.BOTH,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问 (do not ask)。")] = False,
    as_json: Json = False,
) -> None:
    """恢复丢失手机或密码的账户: 打印一次性令牌; 现有会话和 API 令牌立即失效 (recover an account)。"""
    confirmed(f"关闭 {name} 的账户, 直到其使用一次性令牌? (recover)", yes=yes)
    path = f"/api/v1/users/{quote(name, safe='')}/recovery"

    async def work(client: FleetClient) -> Document:
        made: Document = await client.post(path, {"reset": reset.value})
        return {**made, "link": f"{client.config.url}/recover#{made['token']}"}

    issued = ask(work, as_json=as_json)
    if as_json:
        dump(issued)
        return
    say(f"{name} 只能用此令牌重新登录 (until this token is used)。请当面交给本人, 只显示这一次 (shown once):")
    pairs(
        [
            ("一次性令牌 (token)", issued["token"]),
            ("打开网页 (open)", issued["link"]),
            ("有效期至 (valid until)", moment(issued["expires_at"])),
        ]
    )


def _change(name: str, patch: Document, done: str, *, as_json: bool) -> None:
    path = f"/api/v1/users/{quote(name, safe='')}"
    answer = ask(lambda client: client.request("PATCH", path, body=patch), as_json=as_json)
    if as_json:
        dump(answer.document)
    else:
        say(f"{name} {done}")


def _password(*, stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Failure(Exit.USAGE, "没有终端可以询问: 请用 --stdin (no terminal)", "no_terminal")
    password: str = typer.prompt(
        "初始密码 (password)", hide_input=True, confirmation_prompt="再输一次 (again)", err=True
    )
    return password
