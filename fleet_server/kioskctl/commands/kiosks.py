"""Looking at kiosks, and cutting one off."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from fleet_server.kioskctl.client import Document, Query
from fleet_server.kioskctl.output import dump, moment, pairs, say, table, warn
from fleet_server.kioskctl.running import Json, Limit, ask, confirmed
from kit.clock import SystemClock

Kid = Annotated[str, typer.Argument(help="自助机编号 (kiosk id)。", metavar="KID")]
Hours = Annotated[float, typer.Option(help="最近多少小时 (hours back)。", min=0.01, max=24 * 400)]
Yes = Annotated[bool, typer.Option("--yes", help="不再询问 (do not ask)。")]

_LABELS: Final = {
    "kid": "自助机编号",
    "asset_no": "资产编号",
    "serial": "序列号",
    "place": "位置",
    "functions": "患者功能",
    "consumables": "耗材",
    "area": "区域",
    "floor": "楼层",
    "x": "平面图横坐标",
    "y": "平面图纵坐标",
    "profile": "机型",
    "site": "楼宇",
    "switch": "交换机",
    "power_feed": "配电箱",
    "state": "登记状态",
    "state_since": "登记状态自",
    "state_reason": "登记状态原因",
    "quarantine": "隔离",
    "presence": "在线状态",
    "presence_since": "在线状态自",
    "last_seen_at": "最后收到",
    "age_s": "距今秒数",
    "agent_version": "程序版本",
    "activity": "使用情况",
    "alarms_open": "未消除告警",
    "alarm_worst": "最高告警级别",
    "cpu_percent": "处理器占用 %",
    "memory_percent": "内存占用 %",
    "disk_percent": "磁盘占用 %",
    "temperature_c": "温度 °C",
    "clock_offset_s": "时钟偏差秒",
}
"""What the API's names mean to a person."""


def kiosks(
    area: Annotated[str | None, typer.Option(help="区域 (area)。")] = None,
    floor: Annotated[str | None, typer.Option(help="楼层 (floor)。")] = None,
    presence: Annotated[
        str | None, typer.Option(help="在线状态: online offline unstable planned never unknown。")
    ] = None,
    q: Annotated[
        str | None, typer.Option("-q", "--search", help="编号、资产号、序列号或位置的一部分 (search)。")
    ] = None,
    limit: Limit = 0,
    as_json: Json = False,
) -> None:
    """列出自助机 (list kiosks)。"""
    query = {"area": area, "floor": floor, "presence": presence, "q": q}
    rows = ask(lambda client: client.pages("/api/v1/kiosks", query, limit), as_json=as_json)
    if as_json:
        dump(rows)
        return
    table(
        ("编号", "位置", "区域", "楼层", "登记", "在线", "自", "告警", "版本"),
        [
            (
                row["kid"],
                row["place"],
                row["area"],
                row["floor"],
                row["state"],
                row["presence"],
                moment(row["presence_since"]),
                row["alarms_open"],
                row["agent_version"],
            )
            for row in rows
        ],
    )
    say(f"共 {len(rows)} 台")


def show(kid: Kid, as_json: Json = False) -> None:
    """一台自助机的全部资料 (one kiosk, whole)。"""
    found: Document = ask(lambda client: client.get(_path(kid)), as_json=as_json)
    if as_json:
        dump(found)
        return
    pairs((_label(name), _shown(name, value)) for name, value in found.items() if name != "certificates")
    table(
        ("证书指纹", "状态", "到期", "签发人"),
        [
            (item["fingerprint"][:16], item["state"], moment(item["not_after"]), item["issued_by"])
            for item in found["certificates"]
        ],
    )


def _label(name: str) -> str:
    return f"{_LABELS[name]} ({name})" if name in _LABELS else name


def _shown(name: str, value: Any) -> object:  # noqa: ANN401 - any JSON value
    if name == "functions":
        return _functions(value)
    if name == "consumables":
        return "; ".join(_consumable(one) for one in value) or None
    return moment(value) if value is not None and name.endswith(("_at", "_since")) else value


def _functions(statuses: list[Document]) -> str | None:
    """What patients can do: everything, or what is not so with its reasons."""
    if not statuses:
        return None
    short = [one for one in statuses if one["state"] != "available"]
    return "; ".join(_function(one) for one in short) or "全部可用 (all available)"


def _function(status: Document) -> str:
    reasons = ", ".join(f"{reason['component']} {reason['code']}" for reason in status["because"])
    return f"{status['function']} {status['state']}" + (f" ({reasons})" if reasons else "")


def _consumable(status: Document) -> str:
    percent, days = status.get("percent"), status.get("days_left")
    left = "" if percent is None else f" {percent:.0f} %"
    left += "" if days is None else f", {days:.0f} 天 (days)"
    return f"{status['component']} {status['consumable']} {status['level']}{left}"


def presence(kid: Kid, hours: Hours = 24.0, as_json: Json = False) -> None:
    """在线状态的时间线 (presence over time)。"""
    found = ask(lambda client: client.get(_path(kid, "presence"), {"from": _since(hours)}), as_json=as_json)
    if as_json:
        dump(found)
        return
    table(
        ("状态", "自", "至", "原因"),
        [(row["presence"], moment(row["since"]), moment(row["until"]), row["reason"]) for row in found["edges"]],
    )


def telemetry(
    kid: Kid,
    metric: Annotated[list[str], typer.Argument(help="指标 (metric), 例如 cpu_percent; 可给多个。", metavar="METRIC")],
    hours: Hours = 1.0,
    points: Annotated[int, typer.Option(help="点数 (points)。", min=1, max=2000)] = 30,
    as_json: Json = False,
) -> None:
    """遥测曲线的数值 (telemetry)。"""
    query: Query = {"metric": metric, "from": _since(hours), "points": points}
    found = ask(lambda client: client.get(_path(kid, "telemetry"), query), as_json=as_json)
    if as_json:
        dump(found)
        return
    table(
        ("指标", "单位", "时间", "平均", "最小", "最大"),
        [
            (series["metric"], series["unit"], moment(point["at"]), point["avg"], point["min"], point["max"])
            for series in found["series"]
            for point in series["points"]
        ],
    )


def events(
    kid: Kid,
    kind: Annotated[
        str | None,
        typer.Option(help="种类 (kind): alarm event sync command_status twin_report update_progress audit。"),
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """事件, 最新在前 (events, newest first)。"""
    rows = ask(lambda client: client.pages(_path(kid, "events"), {"kind": kind}, limit), as_json=as_json)
    if as_json:
        dump(rows)
        return
    table(
        ("时间", "种类", "部件", "名称", "补报", "内容"),
        [
            (moment(row["at"]), row["kind"], row["component"], row["name"], row["hist"], _fields(row["body"]))
            for row in rows
        ],
    )


def alarms(
    kid: Annotated[str | None, typer.Option(help="只看这台 (only this kiosk)。")] = None,
    everything: Annotated[bool, typer.Option("--all", help="也显示已消除的 (cleared ones too)。")] = False,
    as_json: Json = False,
) -> None:
    """告警, 最新在前 (alarms, newest first)。"""
    query = {"state": "all" if everything else "open", "kid": kid, "limit": 1000}
    page = ask(lambda client: client.get("/api/v1/alarms", query), as_json=as_json)
    rows = page["items"]
    if as_json:
        dump(rows)
    else:
        table(
            ("自", "自助机", "部件", "级别", "告警", "处理", "消除"),
            [
                (
                    moment(row["raised_at"]),
                    row["kid"],
                    row["component"],
                    row["severity"],
                    row["title_zh"],
                    row["remedy_zh"],
                    moment(row["cleared_at"]),
                )
                for row in rows
            ],
        )
    if page["total"] > len(rows):
        warn(f"只显示最新 {len(rows)} 条, 共 {page['total']} 条 (only the newest)")


def revoke(
    kid: Kid,
    reason: Annotated[str, typer.Option(help="原因, 写入审计 (reason, for the audit trail)。")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """吊销身份并切断连接; 要恢复须重新登记 (revoke)。"""
    confirmed(f"吊销 {kid} 并切断连接? (revoke)", yes=yes)
    found = ask(lambda client: client.post(_path(kid, "revoke"), {"reason": reason}), as_json=as_json)
    if as_json:
        dump(found)
    else:
        say(f"{kid} 已吊销 (revoked)")


def release(kid: Kid, as_json: Json = False) -> None:
    """解除隔离 (end the quarantine)。"""
    found = ask(lambda client: client.post(_path(kid, "release")), as_json=as_json)
    if as_json:
        dump(found)
    else:
        say(f"{kid} 已解除隔离 (released), 状态 {found['state']}")


def _path(kid: str, part: str | None = None) -> str:
    path = f"/api/v1/kiosks/{quote(kid, safe='')}"
    return path if part is None else f"{path}/{part}"


def _since(hours: float) -> str:
    return (SystemClock().utc() - timedelta(hours=hours)).isoformat()


def _fields(fields: Document) -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items())
