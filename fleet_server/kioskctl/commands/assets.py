"""The hospital's asset list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet_server.kioskctl.client import Document
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, say, table, warn
from fleet_server.kioskctl.running import Json, ask, end

assets = typer.Typer(help="资产清单 (asset list)。", no_args_is_help=True)


@assets.command(name="import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV 文件, UTF-8 或 GB18030: 资产编号,序列号,位置,区域,楼层,x坐标,y坐标,机型。")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只检查, 不写入 (check only)。")] = False,
    as_json: Json = False,
) -> None:
    """导入资产清单; 有一行错误就一行也不导入 (import; one bad line and nothing is imported)。"""
    try:
        text = _text(file)
    except Failure as failure:
        raise end(failure, as_json=as_json) from None
    body = {"csv": text, "dry_run": dry_run}
    report: Document = ask(lambda client: client.post("/api/v1/assets/import", body), as_json=as_json)
    errors = report["errors"]
    if as_json:
        dump(report)
    elif errors:
        table(("行", "列", "问题"), [(item["line"], item["column"], item["message"]) for item in errors])
        warn(f"{len(errors)} 处错误, 未导入任何一行 (nothing was imported)")
    else:
        prefix = "检查通过, 未写入: " if dry_run else ""
        say(f"{prefix}新增 {report['created']}  更新 {report['updated']}  未变 {report['unchanged']}")
    if errors:
        raise typer.Exit(Exit.REFUSED)


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Failure(Exit.FAILURE, f"{file} 无法读取 (cannot be read): {error.strerror}", "file_unreadable") from error
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Failure(Exit.REFUSED, f"{file} 既不是 UTF-8 也不是 GB18030 (unknown encoding)", "encoding_unknown")
