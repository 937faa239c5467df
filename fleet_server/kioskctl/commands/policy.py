"""The security policy: what it is, and setting parts of it."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from fleet_server.kioskctl.client import Document, FleetClient
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, moment, pairs, say
from fleet_server.kioskctl.running import Json, ask, end

TITLES: Final = {
    "password_length": "密码最短长度 (password length)",
    "password_length_mixed": "含三类字符时最短长度 (with three kinds)",
    "password_history": "不得重复最近几个密码 (history)",
    "password_days": "密码有效天数, 0 为不限 (days, 0: no end)",
    "lock_after": "连续失败几次后锁定 (lock after)",
    "lock_minutes": "锁定分钟数 (lock minutes)",
    "idle_minutes": "无操作退出分钟数 (idle minutes)",
    "session_hours": "会话最长小时数 (session hours)",
}
_ABOUT: Final = ("version", "changed_at", "changed_by")


def policy(
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="修改一项, 可多次 (change one, repeatable)。"),
    ] = None,
    as_json: Json = False,
) -> None:
    """查看或修改密码、锁定与会话策略 (security policy)。"""
    try:
        wanted = _wanted(change or [])
    except Failure as failure:
        raise end(failure, as_json=as_json) from None
    found = ask(lambda client: _policy(client, wanted), as_json=as_json)
    if as_json:
        dump(found)
        return
    if wanted:
        say("策略已生效 (in force)")
    pairs([(TITLES.get(name, name), value) for name, value in found.items() if name not in _ABOUT])
    if found["changed_by"] is not None:
        say(f"由 {found['changed_by']} 于 {moment(found['changed_at'])} 修改 (set by)")


def _wanted(changes: list[str]) -> dict[str, int]:
    wanted = {}
    for text in changes:
        name, separator, value = text.partition("=")
        if not separator or name not in TITLES or not value.isdecimal():
            raise Failure(Exit.USAGE, f"{text}: NAME=数字, NAME 为 (one of) {', '.join(TITLES)}", "usage")
        wanted[name] = int(value)
    return wanted


async def _policy(client: FleetClient, wanted: dict[str, int]) -> Document:
    found: Document = await client.get("/api/v1/security/policy")
    if not wanted:
        return found
    body = {**{name: found[name] for name in TITLES}, "version": found["version"], **wanted}
    done: Document = (await client.request("PUT", "/api/v1/security/policy", body=body)).document
    return done
