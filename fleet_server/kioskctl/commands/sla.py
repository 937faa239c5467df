"""The contract, the evidence behind the monthly report, and the report itself."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.kioskctl.client import Answer, Document, Query
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, moment, pairs, say, table, warn
from fleet_server.kioskctl.running import Json, ask, end

if TYPE_CHECKING:
    from fleet_server.sla.contract import Contract as AnyContract

sla = typer.Typer(help="服务等级: 合同与证据 (service level)。", no_args_is_help=True)
contracts = typer.Typer(help="合同 (contract)。", no_args_is_help=True)
sla.add_typer(contracts, name="contract")
File = Annotated[Path, typer.Argument(help="合同文件, TOML (contract file)。")]
Month = Annotated[str, typer.Argument(help="月份, 例如 2026-11 (month)。")]


class Format(StrEnum):
    """How the report is wanted."""

    PDF = "pdf"
    XLSX = "xlsx"
    CSV = "csv"
    JSON = "json"


Out = Annotated[Path | None, typer.Option("--out", help="写到这个文件 (file to write)。")]


@contracts.command()
def check(file: File, as_json: Json = False) -> None:
    """检查合同文件, 不连接服务器 (check a contract file, nothing is sent)。"""
    contract = read_contract(file, as_json=as_json)
    if as_json:
        dump(contract.model_dump(mode="json"))
    else:
        _show(contract)


def read_contract(file: Path, *, as_json: bool) -> AnyContract:
    """The contract in a file, or the end of the command with every problem named."""
    from fleet_server.sla.contract import ContractError, load  # noqa: PLC0415 - the other commands do without it

    try:
        return load(file)
    except ContractError as error:
        if not as_json:
            for problem in error.problems:
                warn(problem)
        is_there = file.is_file()
        text = f"{file} 不是有效的合同, {len(error.problems)} 处错误 (no valid contract)"
        failure = Failure(Exit.REFUSED if is_there else Exit.FAILURE, text, "contract_invalid")
        raise end(failure, as_json=as_json) from error


def _show(contract: AnyContract) -> None:
    pairs(
        [
            ("合同 (contract)", contract.number),
            ("医院 (hospital)", contract.hospital),
            ("公司 (vendor)", contract.vendor),
            ("期限 (term)", f"{contract.starts_on} + {contract.years} 年, {contract.zone}"),
            *(
                (f"时限 (limits) {severity.value}", f"响应 {limits.response_s} s, 修复 {limits.repair_s} s")
                for severity, limits in contract.limits.items()
            ),
            ("整机可用率 (kiosk)", f"{contract.targets.kiosk:.4f} %"),
            ("功能可用率 (function)", f"{contract.targets.function:.4f} %"),
            *((f"功能可用率 {name}", f"{target:.4f} %") for name, target in contract.targets.functions.items()),
            ("停表原因 (exclusions)", ", ".join(reason.value for reason in contract.exclusions)),
        ]
    )


@contracts.command(name="set")
def set_contract(file: File, as_json: Json = False) -> None:
    """启用合同, 此后的计算以它为准 (have this contract from now on)。"""
    read_contract(file, as_json=as_json)
    body = {"toml": file.read_text(encoding="utf-8")}
    found = ask(lambda client: client.request("PUT", "/api/v1/sla/contract", body=body), as_json=as_json)
    if as_json:
        dump(found.document)
    else:
        say("已启用 (in force)")


@contracts.command(name="show")
def show_contract(as_json: Json = False) -> None:
    """现行合同 (the contract in force)。"""
    found: Document = ask(lambda client: client.get("/api/v1/sla/contract"), as_json=as_json)
    if as_json:
        dump(found)
        return
    from fleet_server.sla.contract import Contract  # noqa: PLC0415 - as in read_contract

    _show(Contract.model_validate(found["contract"]))
    say(f"由 {found['set_by']} 于 {moment(found['set_at'])} 启用")


@sla.command()
def seals(
    since: Annotated[str, typer.Option("--from", help="起始日期 (first day)。")],
    until: Annotated[str, typer.Option("--to", help="截止日期 (last day)。")],
    as_json: Json = False,
) -> None:
    """每日封条: 请把链尾另处记下 (seals of days; note the heads elsewhere)。"""
    query = {"from": since, "to": until}
    found: Document = ask(lambda client: client.get("/api/v1/sla/seals", query), as_json=as_json)
    if as_json:
        dump(found)
    else:
        rows = [(item["day"], item["rows"], item["head"], item["key"]) for item in found["seals"]]
        table(("日期", "行数", "链尾", "公钥"), rows)


@sla.command()
def export(month: Month, out: Out = None, as_json: Json = False) -> None:
    """导出一个月的证据, 供独立核验 (sealed evidence of a month, for tools/verify_sla)。"""
    _save("/api/v1/sla/export", {"month": month}, out or Path(f"sla-{month}.zip"), as_json=as_json)


def report(
    month: Month,
    wanted: Annotated[Format, typer.Option("--format", help="文件格式 (file format)。")] = Format.PDF,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """服务等级月报 (monthly service level report)。"""
    query: Query = {"month": month, "format": wanted.value}
    _save("/api/v1/sla/report/file", query, out or Path(f"sla-{month}.{wanted.value}"), as_json=as_json)


def _save(path: str, query: Query, file: Path, *, as_json: bool) -> None:
    answer: Answer = ask(lambda client: client.request("GET", path, query=query), as_json=as_json)
    try:
        file.write_bytes(answer.body)
    except OSError as error:
        text = f"{file} 无法写入 (cannot be written): {error.strerror}"
        raise end(Failure(Exit.FAILURE, text, "not_writable"), as_json=as_json) from error
    if as_json:
        dump({"file": str(file), "bytes": len(answer.body)})
    else:
        say(f"已写入 {file}, {len(answer.body)} 字节 (written)")
