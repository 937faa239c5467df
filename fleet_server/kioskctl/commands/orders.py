"""Work orders: look, take, check in, pause, prove, close; and the walking round."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from fleet_server.kioskctl.client import Document
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, moment, pairs, say, table
from fleet_server.kioskctl.running import Json, ask, end

orders = typer.Typer(help="工单 (work orders)。", no_args_is_help=True)
Number = Annotated[str, typer.Argument(help="工单号, 如 WO-2026-000001 (number)。", metavar="ORDER")]
Reason = Annotated[str, typer.Option("--reason", help="原因 (why)。")]
_PATH: Final = "/api/v1/orders"
_STATES: Final = {
    "new": "新建",
    "assigned": "已派单",
    "responded": "已响应",
    "on_site": "已到场",
    "repaired": "已报修复, 待机器证明",
    "verified": "机器已证明, 观察中",
    "closed": "已关闭",
    "paused": "已停表",
    "cancelled": "已取消",
}


def _path(order: str, *more: str) -> str:
    return "/".join((_PATH, quote(order, safe=""), *(quote(part, safe="") for part in more)))


def _minutes(clock: Document) -> str:
    return f"{clock['elapsed_s'] / 60:.0f}/{clock['target_s'] / 60:.0f} 分"


def _shown(found: Document, *, as_json: bool) -> None:
    if as_json:
        dump(found)
        return
    pairs(
        [
            ("工单 (order)", f"{found['number']} {found['title_zh']}"),
            ("状态 (state)", f"{_STATES.get(found['state'], '')} ({found['state']})"),
            ("位置 (place)", found["place"]),
            ("负责人 (assignee)", found["assignee"]),
            ("故障自 (since)", moment(found["since"])),
            ("响应 (response)", _minutes(found["response"])),
            ("修复 (repair)", _minutes(found["repair"])),
            ("复发 (relapses)", found["relapses"]),
            *(("尚缺 (missing)", line) for line in found["missing"]),
        ]
    )
    table(
        ("时间", "事件", "人", "内容"),
        [
            (moment(line["at"]), line["kind"], line["by"], " ".join(f"{k}={v}" for k, v in line["fields"].items()))
            for line in found["timeline"]
        ],
    )


def _post(path: str, body: Document | None, *, as_json: bool) -> None:
    _shown(ask(lambda client: client.post(path, body), as_json=as_json), as_json=as_json)


@orders.command(name="list")
def list_(
    state: Annotated[str, typer.Option(help="open closed all。")] = "open",
    kid: Annotated[str | None, typer.Option(help="自助机编号 (kiosk id)。")] = None,
    as_json: Json = False,
) -> None:
    """列出工单 (list work orders)。"""
    found = ask(lambda client: client.get(_PATH, {"state": state, "kid": kid}), as_json=as_json)
    if as_json:
        dump(found["items"])
        return
    table(
        ("工单", "状态", "位置", "故障", "负责人", "响应", "修复"),
        [
            (
                one["number"],
                _STATES.get(one["state"], one["state"]),
                one["place"],
                one["title_zh"],
                one["assignee"],
                _minutes(one["response"]),
                _minutes(one["repair"]),
            )
            for one in found["items"]
        ],
    )
    say(f"共 {found['total']} 张")


@orders.command()
def show(order: Number, as_json: Json = False) -> None:
    """一张工单的全部内容 (one order, whole)。"""
    _shown(ask(lambda client: client.get(_path(order)), as_json=as_json), as_json=as_json)


@orders.command()
def create(
    kid: Annotated[str, typer.Argument(help="自助机编号 (kiosk id)。")],
    text: Annotated[str, typer.Argument(help="说明 (what is wrong)。")],
    kind: Annotated[str, typer.Option(help="manual help guide preventive。")] = "manual",
    component: Annotated[str | None, typer.Option(help="部件 (component)。")] = None,
    as_json: Json = False,
) -> None:
    """人工开单 (a work order by hand)。"""
    _post(_PATH, {"kid": kid, "text": text, "kind": kind, "component": component}, as_json=as_json)


@orders.command()
def assign(order: Number, to: Annotated[str, typer.Option(help="账户 (account)。")], as_json: Json = False) -> None:
    """派单 (give it to a person)。"""
    _post(_path(order, "assign"), {"to": to}, as_json=as_json)


@orders.command()
def respond(order: Number, as_json: Json = False) -> None:
    """接单, 响应计时停止 (take it)。"""
    _post(_path(order, "respond"), None, as_json=as_json)


@orders.command()
def checkin(
    code: Annotated[str | None, typer.Option(help="自助机屏幕上的到场码 (code on the screen)。")] = None,
    order: Annotated[str | None, typer.Option(help="工单号; 无码时凭维护记录 (by the visit's record)。")] = None,
    as_json: Json = False,
) -> None:
    """到场签到 (check in at the kiosk)。"""
    if code is not None:
        body = {"code": code, "order": order}
        numbers = ask(lambda client: client.post(f"{_PATH}/check-in", body), as_json=as_json)
        if as_json:
            dump(numbers)
        else:
            say(f"已到场: {', '.join(numbers)}")
    elif order is not None:
        _post(_path(order, "check-in-visit"), None, as_json=as_json)
    else:
        raise end(Failure(Exit.USAGE, "需要 --code 或 --order (one of them)", "usage"), as_json=as_json)


@orders.command()
def pause(
    order: Number,
    reason: Reason,
    evidence_kind: Annotated[str, typer.Option(help="alarm incident ups probe photo document。")],
    evidence: Annotated[str, typer.Option(help="证据编号 (reference)。")],
    as_json: Json = False,
) -> None:
    """停表, 须有证据 (let the clocks stand still)。"""
    body = {"reason": reason, "evidence_kind": evidence_kind, "evidence": evidence}
    _post(_path(order, "pause"), body, as_json=as_json)


@orders.command(name="approve-pause")
def approve_pause(
    order: Number, pause_id: Annotated[str, typer.Argument(help="停表编号 (pause)。")], as_json: Json = False
) -> None:
    """批准他人的停表 (stand for another's pause)。"""
    _post(_path(order, "pauses", pause_id, "approve"), None, as_json=as_json)


@orders.command()
def resume(order: Number, as_json: Json = False) -> None:
    """恢复计时 (the clocks run on)。"""
    _post(_path(order, "resume"), None, as_json=as_json)


@orders.command()
def repair(order: Number, as_json: Json = False) -> None:
    """报修复; 以机器自检为准 (say that it is repaired)。"""
    _post(_path(order, "repair"), None, as_json=as_json)


@orders.command()
def waive(
    order: Number,
    reason: Annotated[str | None, typer.Option(help="申请免检的原因 (ask for it)。")] = None,
    as_json: Json = False,
) -> None:
    """免检: 带原因为申请, 不带为批准他人的申请 (ask with a reason, approve without)。"""
    if reason is None:
        _post(_path(order, "waiver", "approve"), None, as_json=as_json)
    else:
        _post(_path(order, "waiver"), {"reason": reason}, as_json=as_json)


@orders.command()
def close(order: Number, as_json: Json = False) -> None:
    """关闭; 缺少证明时说明缺什么 (close it, or hear why not yet)。"""
    _post(_path(order, "close"), None, as_json=as_json)


@orders.command()
def cancel(order: Number, reason: Reason, as_json: Json = False) -> None:
    """取消 (it should not be there)。"""
    _post(_path(order, "cancel"), {"reason": reason}, as_json=as_json)


@orders.command()
def note(order: Number, text: Annotated[str, typer.Argument(help="内容 (text)。")], as_json: Json = False) -> None:
    """备注 (write something down)。"""
    _post(_path(order, "notes"), {"text": text}, as_json=as_json)


@orders.command()
def part(
    order: Number,
    kid: Annotated[str, typer.Option(help="自助机编号 (kiosk id)。")],
    component: Annotated[str, typer.Option(help="部件 (component)。")],
    name: Annotated[str, typer.Option(help="配件 (part)。")],
    old: Annotated[str, typer.Option(help="旧序列号 (serial taken out)。")] = "",
    new: Annotated[str, typer.Option(help="新序列号 (serial put in)。")] = "",
    as_json: Json = False,
) -> None:
    """更换配件 (a part was changed)。"""
    body = {"kid": kid, "component": component, "part": name, "serial_out": old, "serial_in": new}
    _post(_path(order, "parts"), body, as_json=as_json)


@orders.command()
def photo(
    order: Number,
    file: Annotated[Path, typer.Argument(help="JPEG 或 PNG, 不超过 5 MB。", exists=True, dir_okay=False)],
    as_json: Json = False,
) -> None:
    """添加照片 (add a picture)。"""
    content = base64.b64encode(file.read_bytes()).decode()
    _post(_path(order, "photos"), {"content": content}, as_json=as_json)


@orders.command(name="round")
def walking_round(
    days: Annotated[float, typer.Option(help="几天内用完 (days)。", min=0, max=60)] = 2.0,
    floor: Annotated[str | None, typer.Option(help="楼层 (floor)。")] = None,
    as_json: Json = False,
) -> None:
    """耗材巡检路线, 按楼层 (what runs out soon, as a walking round)。"""
    found = ask(lambda client: client.get(f"{_PATH}/round", {"days": str(days), "floor": floor}), as_json=as_json)
    if as_json:
        dump(found)
        return
    for one in found:
        say(f"{one['floor']}: {', '.join(one['bring'])}")
        table(
            ("编号", "位置", "携带", "剩余天数"),
            [(stop["kid"], stop["place"], ", ".join(stop["bring"]), stop["days_left"]) for stop in one["stops"]],
        )
    if not found:
        say("暂无需要补充的耗材 (nothing runs out soon)")
