"""The contract, the evidence behind the monthly report, and the report itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, pairs, warn
from fleet_server.kioskctl.running import Json, end
from fleet_server.sla.contract import Contract, ContractError, load

sla = typer.Typer(help="服务等级: 合同与证据 (service level)。", no_args_is_help=True)
contracts = typer.Typer(help="合同 (contract)。", no_args_is_help=True)
sla.add_typer(contracts, name="contract")
File = Annotated[Path, typer.Argument(help="合同文件, TOML (contract file)。")]


@contracts.command()
def check(file: File, as_json: Json = False) -> None:
    """检查合同文件, 不连接服务器 (check a contract file, nothing is sent)。"""
    contract = read_contract(file, as_json=as_json)
    if as_json:
        dump(contract.model_dump(mode="json"))
    else:
        _show(contract)


def read_contract(file: Path, *, as_json: bool) -> Contract:
    """The contract in a file, or the end of the command with every problem named."""
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


def _show(contract: Contract) -> None:
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
