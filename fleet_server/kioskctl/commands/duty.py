"""The duty roster: who is called, and every change of that."""

from __future__ import annotations

import json
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from fleet_server.kioskctl.client import Document, FleetClient
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, moment, say, table, warn
from fleet_server.kioskctl.running import Json, ask, end

duty = typer.Typer(help="值班: 现在呼叫谁 (who is on duty)。", no_args_is_help=True)
LINES: Final = {"onsite": "驻场", "second": "二线"}
_DAYS: Final = "一二三四五六日"
Line = Annotated[str, typer.Argument(help="onsite 驻场, second 二线。", metavar="LINE")]
Text = Annotated[str, typer.Option("--note", help="备注 (note)。")]


@duty.command()
def now(
    at: Annotated[str | None, typer.Option("--at", help="某一时刻, 如 2026-05-01T08:00 (a moment)。")] = None,
    as_json: Json = False,
) -> None:
    """现在 (或某一时刻) 谁值班, 以及 14 天内的空档 (who is on duty, and gaps)。"""
    query = {"at": None if at is None else _moment(at, as_json=as_json)}
    page = ask(lambda client: client.get("/api/v1/duty", query), as_json=as_json)
    if as_json:
        dump(page["items"])
        return
    table(
        ("班线", "值班人", "呼叫对象", "直到"),
        [
            (
                LINES.get(row["line"], row["line"]),
                " ".join(one["name"] for one in row["people"]) or "无人",
                " ".join(target for one in row["people"] for target in one["targets"]),
                moment(row["until"]),
            )
            for row in page["items"]
        ],
    )
    for row in page["items"]:
        pending = row["open_handover"]
        if pending is not None:
            say(f"交接待确认 (to be confirmed) {pending['id']}: {pending['gives']} → {pending['takes']}")
        _warn(row["line"], row["warnings"])


@duty.command()
def show(
    line: Line,
    days: Annotated[int, typer.Option(min=1, max=62, help="看多少天 (days ahead)。")] = 14,
    as_json: Json = False,
) -> None:
    """一条班线的轮值表、调班与交接 (one line, whole)。"""
    found = ask(lambda client: client.get(f"/api/v1/duty/{quote(line)}", {"days": days}), as_json=as_json)
    if as_json:
        dump(found)
        return
    say(f"{LINES.get(line, line)} 第 {found['version']} 版 (version), 时区 {found['zone']}")
    for shift in (found["roster"] or {"shifts": []})["shifts"]:
        on = "".join(_DAYS[number - 1] for number in shift["days"])
        say(f"周{on} {shift['begins'][:5]}-{shift['ends'][:5]}: {' → '.join(shift['rota'])}")
    table(
        ("从", "到", "值班人"),
        [
            (moment(one["starts_at"]), moment(one["ends_at"]), " ".join(one["names"]) or "无人")
            for one in found["spans"]
        ],
    )
    for one in found["swaps"]:
        place = "加班" if one["replaces"] is None else f"替 {one['replaces']}"
        times = f"{moment(one['starts_at'])} - {moment(one['ends_at'])}"
        say(f"调班 {one['id']}: {times} {one['stands_in']} {place} {one['note']}")
    for one in found["handovers"]:
        state = "待确认" if one["confirmed_at"] is None else f"{moment(one['confirmed_at'])} 已确认"
        say(f"交接 {one['id']}: {moment(one['offered_at'])} {one['gives']} → {one['takes']} {state}: {one['note']}")
    _warn(line, found["warnings"])


@duty.command(name="set")
def set_roster(
    line: Line,
    file: Annotated[Path, typer.Argument(help="轮值表, TOML 或 JSON (roster file)。")],
    as_json: Json = False,
) -> None:
    """启用一份轮值表 (have this roster from now on)。"""
    try:
        roster = read_roster(file)
    except Failure as failure:
        raise end(failure, as_json=as_json) from None

    async def work(client: FleetClient) -> Document:
        path = f"/api/v1/duty/{quote(line)}"
        version = (await client.get(path))["version"]
        answer = await client.request("PUT", path, body={"version": version, "roster": roster})
        document: Document = answer.document
        return document

    found = ask(work, as_json=as_json)
    if as_json:
        dump(found)
        return
    say(f"已启用第 {found['version']} 版 (in force)")
    _warn(line, found["warnings"])


def read_roster(file: Path) -> Document:
    """The roster in a file.

    Raises:
        Failure: it cannot be read, or is neither TOML nor JSON.
    """
    try:
        text = file.read_text(encoding="utf-8")
        document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise Failure(Exit.FAILURE, f"{file} 无法读取 (cannot be read): {error}", "roster_unreadable") from None
    # TOML has dates and times of its own; the API has them as text.
    plain: Document = json.loads(json.dumps(document, default=str))
    return plain


@duty.command()
def swap(
    line: Line,
    stands_in: Annotated[str, typer.Argument(help="顶班人 (who stands in)。", metavar="NAME")],
    since: Annotated[str, typer.Option("--from", help="开始, 如 2026-05-01T08:00, 本机时区 (begin)。")],
    until: Annotated[str, typer.Option("--to", help="结束 (end)。")],
    replaces: Annotated[
        str | None, typer.Option("--for", help="替谁; 不给则为加班 (whom; else on top of the others)。")
    ] = None,
    note: Text = "",
    as_json: Json = False,
) -> None:
    """调班: 一段时间由另一人顶替 (let somebody stand in)。"""
    body = {
        "starts_at": _moment(since, as_json=as_json),
        "ends_at": _moment(until, as_json=as_json),
        "stands_in": stands_in,
        "replaces": replaces,
        "note": note,
    }
    found = ask(lambda client: client.post(f"/api/v1/duty/{quote(line)}/swaps", body), as_json=as_json)
    if as_json:
        dump(found)
    else:
        say(f"已登记调班 {found['id']} (entered)")


@duty.command(name="end-swap")
def end_swap(
    identifier: Annotated[str, typer.Argument(help="调班编号 (its id)。", metavar="ID")], as_json: Json = False
) -> None:
    """撤销或提前结束调班 (end a swap now)。"""
    found = ask(lambda client: client.post(f"/api/v1/duty/swaps/{quote(identifier)}/end"), as_json=as_json)
    if as_json:
        dump(found)
    else:
        say("已结束 (ended)")


@duty.command()
def handover(
    line: Annotated[str | None, typer.Argument(help="onsite 驻场, second 二线。", metavar="LINE")] = None,
    takes: Annotated[str | None, typer.Option("--to", help="接班人 (who takes over)。")] = None,
    note: Annotated[str, typer.Option("--note", help="未完事项 (what is open)。")] = "",
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="接班: 确认这次交接 (take over, by its id)。")
    ] = None,
    as_json: Json = False,
) -> None:
    """交接班: 交班人说明未完事项, 接班人确认; 确认前两人都会被呼叫 (hand over, or confirm)。"""
    if confirm is not None:
        found = ask(lambda client: client.post(f"/api/v1/duty/handovers/{quote(confirm)}/confirm"), as_json=as_json)
    elif line is not None and takes is not None and note:
        body = {"takes": takes, "note": note}
        found = ask(lambda client: client.post(f"/api/v1/duty/{quote(line)}/handovers", body), as_json=as_json)
    else:
        text = "交班: LINE --to NAME --note TEXT; 接班: --confirm ID (usage)"
        raise end(Failure(Exit.USAGE, text, "usage"), as_json=as_json)
    if as_json:
        dump(found)
    elif confirm is not None:
        say(f"已接班 (taken over): {found['note']}")
    else:
        say(f"等待 {found['takes']} 确认 (waits to be confirmed): kioskctl duty handover --confirm {found['id']}")


def _moment(text: str, *, as_json: bool) -> str:
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        failure = Failure(Exit.USAGE, f"{text}: 时刻如 2026-05-01T08:00 (no moment)", "usage")
        raise end(failure, as_json=as_json) from None


def _warn(line: str, warnings: list[Document]) -> None:
    name = LINES.get(line, line)
    for one in warnings:
        match one["kind"]:
            case "gap":
                warn(f"{name}空档 (gap): {moment(one['starts_at'])} - {moment(one['ends_at'])} 无人值班")
            case "no_target":
                warn(f"{name}: {one['person']} 的呼叫对象 {one['target']} 不在设置中 (no such target)")
            case "no_roster":
                warn(f"{name}: 呼叫阶梯用到此班线, 但没有轮值表 (no roster): kioskctl duty set")
            case "one_way":
                warn(f"{name}: 紧急事件只能经一个渠道通知 {one['person']} (one channel only)")
            case "no_account":
                warn(f"{name}: {one['person']} 没有可用账号, 无法接班确认 (no open account)")
            case other:
                warn(f"{name}: {other} {one['person'] or ''}")
