"""Messages to people."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from fleet_server.kioskctl.client import FleetClient
from fleet_server.kioskctl.output import dump, moment, say, table
from fleet_server.kioskctl.running import Json, ask

pages = typer.Typer(help="呼叫: 谁被通知 (who was told)。", no_args_is_help=True)
STATES: Final = {
    "due": "待发送",
    "sending": "发送中",
    "handed_over": "已送达渠道",
    "failed": "失败",
    "cancelled": "已取消",
    "nobody": "无人值班",
}


@pages.command(name="ls")
def listed(
    incident: Annotated[str | None, typer.Option(help="只看这个事件的标识 (of one incident, its id)。")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="最多行数 (at most)。")] = 50,
    as_json: Json = False,
) -> None:
    """列出呼叫, 最新在前 (messages, newest first)。"""
    query = {"incident": incident, "limit": str(limit)}
    page = ask(lambda client: client.get("/api/v1/pages", query), as_json=as_json)
    if as_json:
        dump(page["items"])
        return
    table(
        ("时间", "对象", "状态", "次数", "事件", "说明"),
        [
            (
                moment(row["touched_at"] or row["due_at"]),
                f"{row['target']} {row['person'] or ''}".strip(),
                STATES.get(row["state"], row["state"]),
                row["attempts"],
                row["incident"],
                row["note"],
            )
            for row in page["items"]
        ],
    )


@pages.command(name="test")
def trial(
    target: Annotated[str, typer.Argument(help="设置中的呼叫对象 (a target of the settings)。")], as_json: Json = False
) -> None:
    """发送一条标明为测试的呼叫 (send a page that says it is a test)。"""

    async def work(client: FleetClient) -> None:
        await client.post("/api/v1/pages/test", {"target": target})

    ask(work, as_json=as_json)
    if as_json:
        dump({"target": target})
    else:
        say(f"{target} 已接收 (handed over)")
