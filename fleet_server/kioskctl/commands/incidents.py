"""Incidents and planned work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import quote

import typer

from fleet_server.kioskctl.client import Document, FleetClient
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, moment, pairs, say, table
from fleet_server.kioskctl.running import Json, Limit, ask
from kit.clock import SystemClock

incidents = typer.Typer(help="事件: 一个原因一个事件 (incidents)。", no_args_is_help=True)
windows = typer.Typer(help="计划维护时段: 期间不呼叫 (planned work)。", no_args_is_help=True)
STATES: Final = {
    "open": "未处理",
    "acknowledged": "已受理",
    "recovered": "已恢复",
    "closed": "已关闭",
}
SCOPES: Final = {
    "component": "部件",
    "kiosk": "自助机",
    "power_feed": "供电回路",
    "switch": "交换机",
    "area": "区域",
    "floor": "楼层",
    "site": "全院区",
    "server": "服务器",
    "outside": "外部系统",
}
Which = Annotated[str, typer.Argument(help="编号 INC-000123 或标识 (number or id)。", metavar="INCIDENT")]
Text = Annotated[str, typer.Option("--note", help="备注 (note)。")]


@incidents.command(name="ls")
def listed(
    state: Annotated[str, typer.Option(help="open recovered closed all。")] = "open",
    kiosk: Annotated[str | None, typer.Option(help="只看这台自助机 (of one kiosk)。")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """列出事件, 最新在前 (list, newest first)。"""
    query = {"state": state, "kid": kiosk}
    rows = ask(lambda client: client.pages("/api/v1/incidents", query, limit), as_json=as_json)
    if as_json:
        dump(rows)
        return
    table(
        ("编号", "状态", "级别", "范围", "原因", "开始", "受理人"),
        [
            (
                row["name"],
                STATES.get(row["state"], row["state"]),
                row["severity"],
                f"{SCOPES.get(row['scope'], row['scope'])} {row['scope_name']}",
                row["title_zh"],
                moment(row["since"]),
                row["acknowledged_by"],
            )
            for row in rows
        ],
    )


@incidents.command()
def show(incident: Which, as_json: Json = False) -> None:
    """一个事件的全部: 成员与经过 (one incident, whole)。"""
    found = ask(lambda client: _found(client, incident), as_json=as_json)
    if as_json:
        dump(found)
        return
    pairs(
        [
            ("编号 (number)", found["name"]),
            ("原因 (cause)", f"{found['title_zh']} ({found['title_en']})"),
            ("状态 (state)", STATES.get(found["state"], found["state"])),
            ("范围 (scope)", f"{SCOPES.get(found['scope'], found['scope'])} {found['scope_name']}"),
            ("级别 (severity)", found["severity"]),
            ("开始 (since)", moment(found["since"])),
            ("恢复 (recovered)", moment(found["recovered_at"])),
            ("受理 (acknowledged)", f"{found['acknowledged_by'] or ''} {moment(found['acknowledged_at'])}"),
            ("处理 (remedy)", found["remedy_zh"]),
            ("手册 (runbook)", found["runbook"]),
            ("携带 (bring)", found["spare_part"] or ""),
        ]
    )
    table(
        ("自助机", "部件", "告警", "关系", "开始", "恢复"),
        [
            (row["kid"], row["component"], row["code"], row["part"], moment(row["since"]), moment(row["cleared_at"]))
            for row in found["members"]
        ],
    )
    table(
        ("时间", "经过", "人员", "说明"),
        [
            (moment(row["at"]), row["kind"], row["by"], " ".join(f"{k}={v}" for k, v in row["fields"].items()))
            for row in found["timeline"]
        ],
    )


@incidents.command()
def ack(incident: Which, note: Text = "", as_json: Json = False) -> None:
    """受理: 我来处理 (I have it)。"""
    _done(incident, "acknowledge", {"note": note}, "已受理 (acknowledged)", as_json=as_json)


@incidents.command()
def snooze(
    incident: Which,
    hours: Annotated[float, typer.Option(min=0.1, max=24, help="小时数 (hours)。")] = 1.0,
    note: Text = "",
    as_json: Json = False,
) -> None:
    """在一段时间内不呼叫 (page nobody for a while)。"""
    until = (SystemClock().utc() + timedelta(hours=hours)).isoformat()
    _done(incident, "snooze", {"until": until, "note": note}, "已静默 (snoozed)", as_json=as_json)


@incidents.command()
def note(incident: Which, text: Annotated[str, typer.Argument(help="内容 (text)。")], as_json: Json = False) -> None:
    """添加一条记录 (a line for the timeline)。"""
    _done(incident, "notes", {"note": text}, "已记录 (noted)", as_json=as_json)


@windows.command(name="ls")
def planned(as_json: Json = False) -> None:
    """列出未结束的计划维护 (planned work that is not over)。"""
    page = ask(lambda client: client.get("/api/v1/windows"), as_json=as_json)
    if as_json:
        dump(page["items"])
        return
    table(
        ("标识", "范围", "开始", "结束", "原因", "登记人"),
        [
            (
                row["id"],
                f"{SCOPES.get(row['scope'], row['scope'])} {row['scope_name']}",
                moment(row["starts_at"]),
                moment(row["ends_at"]),
                row["reason"],
                row["created_by"],
            )
            for row in page["items"]
        ],
    )


@windows.command()
def add(
    scope: Annotated[str, typer.Argument(help="site floor area kiosk。")],
    reason: Annotated[str, typer.Option(help="原因 (why)。")],
    name: Annotated[str, typer.Option(help="楼层、区域或自助机; 全院区不填 (which; none for the whole site)。")] = "",
    minutes: Annotated[int, typer.Option(min=1, max=20_160, help="时长, 分钟 (minutes)。")] = 60,
    start: Annotated[
        datetime | None, typer.Option(help="开始, 本机时间, 默认现在 (local time, now by default)。")
    ] = None,
    as_json: Json = False,
) -> None:
    """登记计划维护 (plan work)。"""
    begins = (SystemClock().utc() if start is None else start).astimezone(UTC)
    body = {
        "scope": scope,
        "scope_name": name,
        "starts_at": begins.isoformat(),
        "ends_at": (begins + timedelta(minutes=minutes)).isoformat(),
        "reason": reason,
    }
    made: Document = ask(lambda client: client.post("/api/v1/windows", body), as_json=as_json)
    if as_json:
        dump(made)
    else:
        say(f"{made['id']} 已登记, 至 {moment(made['ends_at'])} (planned)")


@windows.command(name="end")
def ended(identifier: Annotated[str, typer.Argument(help="标识 (id)。", metavar="ID")], as_json: Json = False) -> None:
    """提前结束计划维护 (end it now)。"""
    done = ask(lambda client: client.post(f"/api/v1/windows/{quote(identifier, safe='')}/end"), as_json=as_json)
    if as_json:
        dump(done)
    else:
        say("已结束 (ended)")


def _done(incident: str, act: str, body: Document, said: str, *, as_json: bool) -> None:
    async def work(client: FleetClient) -> Document:
        found = await _found(client, incident)
        done: Document = await client.post(f"/api/v1/incidents/{found['id']}/{act}", body)
        return done

    done = ask(work, as_json=as_json)
    if as_json:
        dump(done)
    else:
        say(f"{done['name']} {said}")


async def _found(client: FleetClient, wanted: str) -> Document:
    """The incident by its number or its id. Raises: Failure."""
    digits = wanted.upper().removeprefix("INC-")
    identifier = wanted
    if digits.isdecimal():
        query = {"state": "all", "cursor": str(int(digits) + 1), "limit": "1"}
        items = (await client.get("/api/v1/incidents", query))["items"]
        if not items or items[0]["number"] != int(digits):
            raise Failure(Exit.REFUSED, f"没有事件 {wanted} (no such incident)", "unknown_incident")
        identifier = items[0]["id"]
    found: Document = await client.get(f"/api/v1/incidents/{quote(identifier, safe='')}")
    return found
