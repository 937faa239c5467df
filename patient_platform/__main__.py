"""The command line of the patient platform.

Exit codes: 0 done; 1 an error of the program; 2 wrong usage; 3 settings or installation are not in order; 4 the input
was refused, nothing was changed; 5 store or outside system cannot be reached; 6 `reconcile` found
differences, `audit verify` a changed trail.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import sqlalchemy.exc
import typer
from rich.console import Console
from rich.table import Column, Table

from kit.clock import SystemClock
from kit.logs import configure
from kit.settings import SettingsError, load
from kit.store import MigrationError, StoreError, migrate
from kit.supervise import SdNotifier
from kit.web import ListenError
from patient_platform.app import (
    MIGRATIONS,
    Platform,
    build,
    certificate_files,
    client_session,
    openapi_document,
    require_schema,
)
from patient_platform.app import run as run_platform
from patient_platform.audit.model import AuditBreak, AuditEntry, AuditHead, AuditRow
from patient_platform.errors import PlatformError, Refusal, SetupError
from patient_platform.identity.vault import rotate
from patient_platform.money import Fen, to_yuan
from patient_platform.payment.channels.certificates import CertificateWatch, Urgency
from patient_platform.payment.model import Order
from patient_platform.payment.service import PAPERS_AGE
from patient_platform.reconciliation.model import NAMES, Batch, BatchState
from patient_platform.settings import ENV_PREFIX, SETTINGS_FILE, Settings
from wire import __version__

T = TypeVar("T")
URGENCIES: Final = {
    Urgency.FINE: "正常 (fine)",
    Urgency.SOON: "30 天内到期 (soon)",
    Urgency.URGENT: "7 天内到期 (urgent)",
    Urgency.OVER: "已过期 (over)",
    Urgency.UNREADABLE: "文件不可读 (unreadable)",
}


class Exit(IntEnum):
    """Documented exit codes."""

    PROGRAM = 1
    USAGE = 2
    SETUP = 3
    REFUSED = 4
    UNREACHABLE = 5
    DIFFERENT = 6


cli = typer.Typer(
    name="patient-platform",
    help="患者服务平台 (patient platform): 就诊人、缴费、挂号、对账。",
    epilog="退出码 (exit codes): 0 完成; 1 程序错误; 2 用法错误; 3 设置或安装不完整; 4 输入被拒绝, 未作更改; "
    "5 数据库或外部系统无法访问; 6 对账有差异或审计记录被改动。",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys = typer.Typer(help="加密密钥 (keys that seal personal data)。", no_args_is_help=True)
cli.add_typer(keys, name="keys")
audit = typer.Typer(help="审计记录: 哪台自助机查询、收款、退款 (audit trail)。", no_args_is_help=True)
cli.add_typer(audit, name="audit")
papers = typer.Typer(help="凭条: 哪台自助机正在打印, 人工放行 (papers that kiosks print)。", no_args_is_help=True)
cli.add_typer(papers, name="papers")
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, soft_wrap=True)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="数据目录 (data directory); 默认 PATIENT_DATA_DIR 或 var/patient。")
]
Json = Annotated[bool, typer.Option("--json", help="输出 JSON。")]


@cli.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="显示版本 (version)。")] = False) -> None:
    """患者服务平台。"""
    if version:
        out.print(f"patient-platform {__version__}")
        raise typer.Exit


@cli.command()
def run(data_dir: DataDir = None) -> None:
    """运行患者服务平台 (run)。"""
    settings = _settings(data_dir)
    configure("patient-platform", level=settings.log_level, json=not sys.stderr.isatty())
    _run(run_platform(settings, SystemClock(), notifier=SdNotifier()))


@cli.command(name="migrate")
def migrate_store(data_dir: DataDir = None) -> None:
    """升级数据库结构到本版本 (migrate the store)。"""
    settings = _settings(data_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    _run(migrate(settings.store_url, MIGRATIONS))
    out.print("数据库结构已是最新 (up to date)")


@cli.command()
def reconcile(
    day: Annotated[str, typer.Argument(help="日期 YYYY-MM-DD, 必须已结束 (a day that is over)。")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """对账: 平台 × 渠道账单 × HIS, 打印并保存 (compare the three books of a day)。"""
    settings = _settings(data_dir)
    chosen = _day(day)

    async def work() -> list[Batch]:
        async with _platform(settings) as platform:
            return await platform.reconciliation.run(chosen)

    batches = _run(work())
    if as_json:
        out.print_json(json.dumps([_plain(batch) for batch in batches], ensure_ascii=False, default=str))
    else:
        for batch in batches:
            _show(batch)
    if not batches:
        err.print("没有配置任何支付渠道 (no channel is configured)")
        raise typer.Exit(Exit.SETUP)
    if not all(batch.is_balanced for batch in batches):
        raise typer.Exit(Exit.DIFFERENT)


@cli.command()
def ledger(data_dir: DataDir = None) -> None:
    """账户余额 (balances of the ledger)。"""
    settings = _settings(data_dir)

    async def work() -> dict[str, Fen]:
        async with _platform(settings) as platform:
            return await platform.orders.balances()

    table = Table("账户 (account)", Column("余额 元 (balance)", justify="right"), box=None, pad_edge=False)
    balances = _run(work())
    for account, amount in sorted(balances.items()):
        table.add_row(account, to_yuan(amount))
    table.add_row("合计 (sum)", to_yuan(Fen(sum(balances.values()))))
    out.print(table)


@cli.command()
def doctor(data_dir: DataDir = None) -> None:
    """检查证书还剩多少天, 30 天以内即报 (how long certificates are good for)。"""
    settings = _settings(data_dir)
    terms = CertificateWatch(certificate_files(settings), SystemClock()).look()
    table = Table("证书 (certificate)", Column("剩余天数 (days left)", justify="right"), "", box=None, pad_edge=False)
    for term in terms:
        days = "-" if term.left_days is None else f"{term.left_days:.1f}"
        table.add_row(term.name, days, URGENCIES[term.urgency])
    out.print(table)
    if any(term.urgency is not Urgency.FINE for term in terms):
        raise typer.Exit(Exit.SETUP)


@cli.command()
def openapi() -> None:
    """输出自助机接口的 OpenAPI 3.1 文档 (print the OpenAPI document)。"""
    document = _run(openapi_document(SystemClock()))
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


@audit.command(name="show")
def show_audit(
    target: Annotated[str | None, typer.Option(help="订单号或就诊人编号 (order or patient reference)。")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="最多行数 (at most)。")] = 50,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """审计记录, 最新在前 (the trail, newest first)。"""
    settings = _settings(data_dir)

    async def work() -> Sequence[AuditRow]:
        async with _platform(settings) as platform:
            return await platform.audit.rows(limit, target)

    rows = _run(work())
    if as_json:
        out.print_json(json.dumps([asdict(row) for row in rows], ensure_ascii=False, default=str))
        return
    table = Table(
        "序号", "时间 (at)", "操作者 (actor)", "操作 (action)", "对象 (target)", "结果", box=None, pad_edge=False
    )
    for row in rows:
        table.add_row(str(row.no), f"{row.at:%Y-%m-%d %H:%M:%S}Z", row.actor, row.action, row.target or "", row.outcome)
    out.print(table)


@audit.command(name="verify")
def verify_audit(
    noted: Annotated[
        str | None, typer.Option(metavar="NO:CHAIN", help="上次记下的链尾 (a head that was noted earlier)。")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """检查整条链; 打印链尾, 请记在别处 (verify the chain; note the head elsewhere)。"""
    settings = _settings(data_dir)
    head = None
    if noted is not None:
        number, _, chain = noted.partition(":")
        if not number.isdecimal() or re.fullmatch("[0-9a-f]{64}", chain) is None:
            _fail(Exit.USAGE, "NO:CHAIN, 例如 (for example) 120:9f86d0…")
        head = AuditHead(int(number), chain)

    async def work() -> tuple[AuditBreak | None, AuditHead]:
        async with _platform(settings) as platform:
            return await platform.audit.verify(head), await platform.audit.head()

    found, end = _run(work())
    if found is not None:
        err.print(f"审计记录已被改动: 第 {found.no} 行 (the trail was changed at row {found.no}): {found.reason}")
        raise typer.Exit(Exit.DIFFERENT)
    out.print(f"完整 (whole), 共 {end.no} 行; 链尾 (head): {end.no}:{end.chain}")


@keys.command(name="rotate")
def rotate_keys(data_dir: DataDir = None) -> None:
    """新增密钥并从现在起使用; 旧密钥保留用于解密, 需重启服务 (add a key; restart afterwards)。"""
    settings = _settings(data_dir)

    async def work() -> str:
        async with _platform(settings) as platform:
            name = await asyncio.to_thread(rotate, settings.data_dir / "keys.json")
            out.print(f"现用密钥 (active key): {name}; 请备份 keys.json 并重启服务")
            await platform.audit.note(AuditEntry(_console(), "keys.rotated", None, "ok", {"key": name}))
            return name

    _run(work())


@papers.command(name="list")
def list_papers(data_dir: DataDir = None, as_json: Json = False) -> None:
    """正在打印或打印未回报的凭条 (papers that kiosks hold)。"""
    settings = _settings(data_dir)

    async def work() -> Sequence[Order]:
        async with _platform(settings) as platform:
            return await platform.orders.printing(platform.clock.utc() - PAPERS_AGE)

    held = _run(work())
    if as_json:
        rows = [
            {"order": one.order, "case": one.case_number, "kiosk": one.paper_kiosk, "at": one.paper_at} for one in held
        ]
        out.print_json(json.dumps(rows, default=str))
        return
    table = Table("订单 (order)", "业务号 (case)", "自助机 (kiosk)", "开始 (since)", box=None, pad_edge=False)
    for one in held:
        since = "" if one.paper_at is None else f"{one.paper_at:%Y-%m-%d %H:%M:%S}Z"
        table.add_row(one.order, one.case_number, one.paper_kiosk or "", since)
    out.print(table)


@papers.command(name="release")
def release_paper(
    order: Annotated[str, typer.Argument(help="订单号 (order), 见 papers list。")], data_dir: DataDir = None
) -> None:
    """放行: 确认那台自助机没有出纸后, 立即允许别的自助机补打 (let another kiosk print it now)。"""
    settings = _settings(data_dir)

    async def work() -> Order:
        async with _platform(settings) as platform:
            return await platform.payments.release_paper(order, _console())

    released = _run(work())
    out.print(f"已放行 (released): {released.order}, 原在 (was at) {released.paper_kiosk}; 再打即标记补打 (a copy)")


def _show(batch: Batch) -> None:
    out.print(f"\n{batch.day} {batch.channel.value} 第 {batch.version} 次 (version)")
    if batch.state is not BatchState.DONE:
        word = {BatchState.WAITING: "等待账单 (not ready)", BatchState.INVALID: "账单不可用 (invalid)"}[batch.state]
        out.print(f"  {word}: {batch.reason}")
        return
    for name, totals in (("平台 (ours)", batch.ours), ("渠道 (channel)", batch.theirs)):
        out.print(
            f"  {name}: 收款 {totals.paid_count} 笔 {to_yuan(totals.paid_fen)} 元; "
            f"退款 {totals.refund_count} 笔 {to_yuan(totals.refund_fen)} 元"
        )
    counts = ", ".join(f"{code} {number}" for code, number in sorted(batch.counts.items()))
    out.print(f"  结果 (outcome): {counts or '无交易 (no trades)'}")
    if not batch.findings:
        return
    table = Table("代码", "说明", "单号", "订单", "平台", "渠道", "HIS", box=None, pad_edge=False)
    for finding in batch.findings:
        amounts = (finding.ours_fen, finding.channel_fen, finding.his_fen)
        table.add_row(
            finding.code.value,
            " ".join(NAMES[finding.code]),
            finding.number,
            finding.order or "-",
            *("-" if amount is None else to_yuan(amount) for amount in amounts),
        )
    out.print(table)


def _console() -> str:
    """Who sits at the console, for the audit trail: the account of the process, whatever the environment says."""
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        account = str(os.getuid())
    return f"console:{account}"[:64]


def _plain(batch: Batch) -> dict[str, Any]:  # Any: a JSON document
    return {**asdict(batch), "is_balanced": batch.is_balanced}


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        _fail(Exit.USAGE, "日期写作 YYYY-MM-DD (a date is YYYY-MM-DD)")


@asynccontextmanager
async def _platform(settings: Settings) -> AsyncIterator[Platform]:
    async with client_session() as http:
        platform = await asyncio.to_thread(build, settings, SystemClock(), http)
        try:
            await require_schema(settings.store_url)
            yield platform
        finally:
            await platform.database.close()


def _settings(data_dir: Path | None) -> Settings:
    environ = dict(os.environ)
    if data_dir is not None:
        environ[f"{ENV_PREFIX}_DATA_DIR"] = str(data_dir)
    folder = Path(environ.get(f"{ENV_PREFIX}_DATA_DIR", "var/patient"))
    try:
        return load(Settings, file=folder / SETTINGS_FILE, env_prefix=ENV_PREFIX, environ=environ)
    except SettingsError as error:
        _fail(Exit.SETUP, str(error))


def _run(work: Coroutine[Any, Any, T]) -> T:  # Any: a coroutine's own types
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as group:
        known, others = group.split((PlatformError, SettingsError, StoreError, MigrationError, ListenError))
        if known is None or others is not None:
            raise
        _refuse(_first(known))
    except (PlatformError, SettingsError, StoreError, MigrationError, ListenError, sqlalchemy.exc.DBAPIError) as error:
        _refuse(error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _refuse(error: BaseException) -> NoReturn:
    if isinstance(error, Refusal):
        _fail(Exit.REFUSED, f"{error.code}: {error.message}")
    if isinstance(error, (SetupError, SettingsError, MigrationError, ListenError)):
        _fail(Exit.SETUP, str(error))
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        _fail(Exit.UNREACHABLE, f"数据库无法访问 (the store cannot be reached): {type(error.orig).__name__}")
    _fail(Exit.UNREACHABLE, str(error))


def _fail(code: Exit, text: str) -> NoReturn:
    err.print(f"[red]错误[/] {text}", markup=True)
    raise typer.Exit(code)


def main() -> None:
    """Entry point."""
    cli()


if __name__ == "__main__":
    main()
