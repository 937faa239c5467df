"""The audit trail: reading, exporting, and holding it to what was seen earlier."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from fleet_server.kioskctl.client import Document, FleetClient
from fleet_server.kioskctl.config import Config, load, write_private
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, moment, say, table, warn
from fleet_server.kioskctl.running import Json, Limit, ask, end

_AT_ONCE: Final = 10_000


def audit(
    actor: Annotated[str | None, typer.Option(help="操作人 (who)。")] = None,
    action: Annotated[str | None, typer.Option(help="操作 (what)。")] = None,
    target: Annotated[str | None, typer.Option(help="对象 (to what)。")] = None,
    limit: Limit = 50,
    export: Annotated[Path | None, typer.Option(help="全部导出为 CSV 文件 (export everything)。")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="检查整条链, 并与上次看到的链尾比对 (verify the chain)。")
    ] = False,
    as_json: Json = False,
) -> None:
    """审计记录, 最新在前 (audit trail, newest first)。"""
    if verify:
        _verify(as_json=as_json)
    elif export is not None:
        _export(export, as_json=as_json)
    else:
        query = {"actor": actor, "action": action, "target": target}
        rows = ask(lambda client: client.pages("/api/v1/audit", query, limit), as_json=as_json)
        if as_json:
            dump(rows)
        else:
            _show(rows)


def _show(rows: list[Document]) -> None:
    table(
        ("序号", "时间", "操作人", "操作", "对象", "结果", "来源"),
        [
            (row["no"], moment(row["at"]), row["actor"], row["action"], row["target"], row["outcome"], row["source"])
            for row in rows
        ],
    )


def _export(file: Path, *, as_json: bool) -> None:
    rows, content = ask(_csv, as_json=as_json)
    try:
        write_private(file, content)
    except Failure as failure:
        raise end(failure, as_json=as_json) from None
    if as_json:
        dump({"file": str(file), "bytes": len(content.encode()), "parts": rows})
    else:
        say(f"已导出到 {file} (exported), 仅本人可读")


async def _csv(client: FleetClient) -> tuple[int, str]:
    """Every part of the export, joined: the first with its head line, the others without."""
    parts: list[str] = []
    after = "0"
    while True:
        answer = await client.request("GET", "/api/v1/audit.csv", query={"after": after, "limit": _AT_ONCE})
        text = answer.body.decode("utf-8-sig")
        parts.append("\ufeff" + text if not parts else text.partition("\n")[2])
        further = answer.headers.get("x-next-after")
        if further is None or further == after:
            return len(parts), "".join(parts)
        after = further


def _verify(*, as_json: bool) -> None:
    try:
        config = load(os.environ)
        heads = _heads(config)
    except Failure as failure:
        raise end(failure, as_json=as_json) from None
    noted = heads.get(config.url, {})
    found: Document = ask(lambda client: client.get("/api/v1/audit/chain", noted), as_json=as_json)
    if found["is_whole"]:
        heads[config.url] = {"no": found["head_no"], "chain": found["head_chain"]}
        try:
            write_private(config.heads_file, json.dumps(heads, indent=2) + "\n")
        except Failure as failure:
            raise end(failure, as_json=as_json) from None
    if as_json:
        dump({**found, "noted_no": noted.get("no")})
    elif found["is_whole"]:
        before = f", 含上次看到的第 {noted['no']} 行" if noted else ""
        say(f"完整, 共 {found['head_no']} 行{before} (the trail is whole)")
    else:
        warn(f"第 {found['first_bad_no']} 行起不可信 (not to be trusted from there): {found['reason']}")
    if not found["is_whole"]:
        raise typer.Exit(Exit.FAILURE)


def _heads(config: Config) -> dict[str, Document]:
    try:
        heads = json.loads(config.heads_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        heads = None
    if not isinstance(heads, dict) or not all(isinstance(item, dict) for item in heads.values()):
        raise Failure(
            Exit.FAILURE,
            f"{config.heads_file} 无法读取: 上次看到的链尾不明 (the noted head is unreadable)",
            "heads_invalid",
        )
    return heads
