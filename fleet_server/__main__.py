"""The command line of the fleet server.

Exit codes: 0 done; 1 an error of the program; 2 wrong usage; 3 settings or installation are not in order;
4 the input was refused, nothing was changed; 5 store or broker cannot be reached; 6 `doctor` found problems.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import sqlalchemy.exc
import typer
from rich.console import Console
from rich.table import Column, Table

from fleet_server.app import MIGRATIONS, FleetServer, openapi_document, require_schema
from fleet_server.errors import CONSOLE_TEXTS, BrokerError, FleetError, Refusal, SetupError
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.directory import Directory
from fleet_server.registry.doctor import examine
from fleet_server.registry.enforcement import RevocationDuty
from fleet_server.registry.enrolment import EnrolmentService
from fleet_server.registry.installation import Installation, worker_names
from fleet_server.registry.model import AssetReport, Confirmation
from fleet_server.registry.provisioning import initialise, lab_identities
from fleet_server.registry.service import RegistryService, Statuses
from fleet_server.registry.store import RegistryStore
from fleet_server.settings import ENV_PREFIX, SETTINGS_FILE, Role, Settings
from fleet_server.staff.audit import AuditTrail
from fleet_server.staff.model import RecoveryIssued, Reset
from fleet_server.staff.recovery import CONSOLE, Asker, RecoveryDesk
from fleet_server.staff.store import AuditStore, StaffStore
from kit.clock import SystemClock
from kit.logs import configure
from kit.settings import SettingsError, load
from kit.store import Database, MigrationError, StoreError, migrate
from kit.supervise import SdNotifier
from kit.web import ListenError
from wire.enrolment import EnrolmentState

T = TypeVar("T")


class Exit(IntEnum):
    """Documented exit codes."""

    PROGRAM = 1
    USAGE = 2
    SETUP = 3
    REFUSED = 4
    UNREACHABLE = 5
    UNHEALTHY = 6


cli = typer.Typer(
    name="fleet-server",
    help="自助机管理服务器 (fleet server)。",
    epilog="退出码 (exit codes): 0 完成; 1 程序错误; 2 用法错误; 3 设置或安装不完整; 4 输入被拒绝, 未作更改; "
    "5 数据库或消息代理无法访问; 6 doctor 发现问题。",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
enrolments = typer.Typer(help="登记请求: 仅在网页不可用时使用 (enrolment, for emergencies)。", no_args_is_help=True)
staff = typer.Typer(
    help="账户: 仅在没有管理员能登录时使用 (accounts, when no administrator can sign in)。", no_args_is_help=True
)
cli.add_typer(enrolments, name="enrolments")
cli.add_typer(staff, name="staff")
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, soft_wrap=True)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="数据目录 (data directory); 默认 FLEET_DATA_DIR 或 var/fleet。")
]
Json = Annotated[bool, typer.Option("--json", help="输出 JSON。")]
Actor = Annotated[str, typer.Option(help="操作人, 写入审计 (who does it, for the audit trail)。")]


@cli.command()
def init(data_dir: DataDir = None) -> None:
    """初始化: CA、证书、消息代理配置、数据库; 可重复执行, 不覆盖已有 CA (initialise)。"""
    settings = _settings(data_dir)
    for step in _run(initialise(settings, MIGRATIONS, SystemClock())):
        out.print(f"{'完成' if step.done else '已有'}  {step.what}  {step.path}")
    plan = Installation(settings).broker_plan()
    if plan.user == "root":
        err.print("注意: mosquitto 将以 root 运行, 因为其他账户无法进入数据目录 (broker runs as root)")
    out.print(f"启动消息代理 (start the broker): mosquitto -c {Installation(settings).conf_file}")


@cli.command()
def run(
    data_dir: DataDir = None,
    role: Annotated[
        str, typer.Option(help="本进程的角色, 逗号分隔 (roles): ingest,api,duties。")
    ] = "ingest,api,duties",
) -> None:
    """运行管理服务器 (run)。"""
    settings = _settings(data_dir)
    configure("fleet-server", level=settings.log_level, json=not sys.stderr.isatty())
    roles = _roles(role)

    async def serve() -> None:
        server = await asyncio.to_thread(FleetServer, settings, roles, SystemClock())
        await server.run(notifier=SdNotifier())

    _run(serve())


@cli.command(name="migrate")
def migrate_store(data_dir: DataDir = None) -> None:
    """升级数据库结构到本版本 (migrate the store)。"""
    settings = _settings(data_dir)
    _run(migrate(settings.store_url, MIGRATIONS))
    out.print("数据库结构已是最新 (up to date)")


@cli.command()
def import_assets(
    file: Annotated[Path, typer.Argument(help="CSV 文件: 资产编号,序列号,位置,区域,楼层,x坐标,y坐标,机型。")],
    data_dir: DataDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只检查, 不写入 (check only)。")] = False,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """导入资产清单; 有一行错误就一行也不导入 (import the asset list)。"""
    settings = _settings(data_dir)
    try:
        content = file.read_bytes()
    except OSError as error:
        _fail(Exit.REFUSED, f"{file}: {error.strerror}")

    async def work() -> AssetReport:
        async with _registry(settings) as desk:
            return await desk.registry.import_assets(content, actor=actor or _operator(), dry_run=dry_run)

    report = _run(work())
    if as_json:
        out.print_json(report.model_dump_json())
    else:
        for problem in report.errors:
            err.print(f"第 {problem.line} 行  {problem.column or '-'}  {problem.message}")
        if not report.errors:
            prefix = "检查通过, 未写入: " if dry_run else ""
            out.print(f"{prefix}新增 {report.created}  更新 {report.updated}  未变 {report.unchanged}")
    if report.errors:
        raise typer.Exit(Exit.REFUSED)


@cli.command()
def worker_cert(
    name: Annotated[str, typer.Argument(help="工作进程名, 小写字母、数字、连字符, 最多 20 个。")],
    data_dir: DataDir = None,
) -> None:
    """为另一个管理服务器进程签发证书并写入访问控制表 (certificates for one more fleet server)。"""
    settings = _settings(data_dir, overrides={"FLEET_WORKER": name})
    installation = Installation(settings)

    async def work() -> str | None:
        authority = installation.load_authority()
        for full_name in worker_names(settings.worker):
            installation.ensure_worker(full_name, authority, SystemClock().utc())
        installation.write_access_list()
        try:
            await BrokerControl(installation, authority, SystemClock()).reload()
        except BrokerError as error:
            return str(error)
        return None

    not_reloaded = _run(work())
    for full_name in worker_names(settings.worker):
        out.print(str(installation.worker(full_name).certificate_file))
    if not_reloaded is not None:
        err.print(f"注意: 消息代理未重新加载 (broker not reloaded): {not_reloaded}")


@cli.command()
def platform_cert(
    to: Annotated[Path, typer.Option("--out", help="输出目录: server.pem, server.key, ca.pem。")],
    names: Annotated[list[str], typer.Option("--name", help="自助机访问患者平台所用的主机名或地址, 可多次给出。")],
    data_dir: DataDir = None,
) -> None:
    """为患者服务平台签发服务器证书; 快到期时再次运行即可更新 (certificate of the patient platform)。"""
    installation = Installation(_settings(data_dir))

    async def work() -> bool:
        authority = installation.load_authority()
        return installation.ensure_platform(to, names, authority, SystemClock().utc())

    made = _run(work())
    out.print(f"{'已签发 (issued)' if made else '仍有效 (still good)'}: {to / 'server.pem'}")


@cli.command(name="lab-identities")
def lab_identities_command(
    to: Annotated[Path, typer.Option("--out", help="输出目录: <kid>/cert.pem, <kid>/key.pem, ca.pem。")],
    data_dir: DataDir = None,
    count: Annotated[int | None, typer.Option(help="数量; 名称为 <前缀>-0001…。")] = None,
    prefix: Annotated[str, typer.Option(help="名称前缀 (prefix)。")] = "sim",
    kids: Annotated[Path | None, typer.Option(help="文件, 每行一个自助机编号 (one kiosk id a line)。")] = None,
) -> None:
    """实验室: 为模拟器批量签发身份; 仅当设置 lab=true (identities for simulators)。"""
    settings = _settings(data_dir)
    if (count is None) == (kids is None):
        _fail(Exit.USAGE, "--count 与 --kids 必须且只能给一个")
    try:
        names = kids.read_text(encoding="ascii").split() if kids is not None else _numbered(prefix, count or 0)
    except (OSError, UnicodeDecodeError):
        _fail(Exit.REFUSED, f"{kids} 无法读取 (cannot be read)")

    async def work() -> int:
        await require_schema(settings.store_url)
        authority = Installation(settings).load_authority()
        return await lab_identities(settings, authority, SystemClock(), names, to)

    out.print(f"已签发 {_run(work())} 个身份 (identities): {to}")


@cli.command()
def revoke(
    kid: Annotated[str, typer.Argument(help="自助机编号 (kiosk id)。")],
    reason: Annotated[str, typer.Option(help="原因, 写入审计 (reason)。")],
    data_dir: DataDir = None,
    actor: Actor = "",
) -> None:
    """吊销自助机身份并切断连接 (revoke a kiosk)。"""
    settings = _settings(data_dir)

    async def work() -> str | None:
        installation = Installation(settings)
        authority = installation.load_authority()
        async with _registry(settings) as desk:
            await desk.registry.revoke(kid, reason, actor=actor or _operator())
            duty = RevocationDuty(desk.store, BrokerControl(installation, authority, SystemClock()), SystemClock())
            try:
                await duty.enforce()
            except BrokerError as error:
                return str(error)
        return None

    not_enforced = _run(work())
    if not_enforced is None:
        out.print(f"{kid} 已吊销, 连接已切断 (revoked and cut off)")
        return
    out.print(f"{kid} 已吊销 (revoked)")
    _fail(Exit.UNREACHABLE, f"消息代理未确认, 运行中的管理服务器会继续尝试 (not enforced yet): {not_enforced}")


@cli.command()
def doctor(data_dir: DataDir = None, as_json: Json = False) -> None:
    """检查安装: 证书、文件权限、数据库、消息代理 (check the installation)。"""
    settings = _settings(data_dir)
    findings = _run(examine(settings, MIGRATIONS, SystemClock()))
    if as_json:
        rows = [{"check": item.check, "ok": item.ok, "detail": item.detail, "remedy": item.remedy} for item in findings]
        out.print_json(json.dumps(rows, ensure_ascii=False))
    else:
        # Paths and reasons are there to be read and copied: folded, never cut.
        columns = [Column(head, overflow="fold") for head in ("检查", "结果", "说明", "处理")]
        table = Table(*columns, box=None, pad_edge=False)
        for item in findings:
            table.add_row(item.check, "正常" if item.ok else "异常", item.detail, item.remedy)
        out.print(table)
    if not all(item.ok for item in findings):
        raise typer.Exit(Exit.UNHEALTHY)


@cli.command()
def openapi() -> None:
    """输出管理接口的 OpenAPI 3.1 文档 (print the OpenAPI document)。"""
    document = openapi_document(Settings(), SystemClock())
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


@enrolments.command(name="list")
def list_enrolments(data_dir: DataDir = None, as_json: Json = False) -> None:
    """等待确认的登记请求 (requests that wait)。"""
    settings = _settings(data_dir)

    async def work() -> list[dict[str, Any]]:  # Any: JSON documents
        async with _registry(settings) as desk:
            found = await desk.enrolment().listed((EnrolmentState.PENDING,))
            return [item.model_dump(mode="json") for item in found]

    rows = _run(work())
    if as_json:
        out.print_json(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("请求", "序列号", "型号", "来源", "建议编号", "到期")
    for row in rows:
        table.add_row(
            row["id"], row["serial"], row["model"] or "-", row["source"], row["suggested_kid"] or "-", row["expires_at"]
        )
    out.print(table)


@enrolments.command()
def confirm(
    identifier: Annotated[str, typer.Argument(help="请求编号 (request id)。")],
    code: Annotated[str, typer.Option(help="自助机屏幕上的 6 位配对码 (code on the kiosk's screen)。")],
    kid: Annotated[str, typer.Option(help="自助机编号 (kiosk id)。")],
    data_dir: DataDir = None,
    accept_serial_mismatch: Annotated[
        bool, typer.Option(help="序列号与清单不同也接受, 例如更换了主机 (machine was replaced)。")
    ] = False,
    actor: Actor = "",
) -> None:
    """确认登记 (confirm)。"""
    settings = _settings(data_dir)
    try:
        confirmation = Confirmation(code=code, kid=kid, accept_serial_mismatch=accept_serial_mismatch)
    except ValueError:
        _fail(Exit.REFUSED, "配对码是 6 位数字, 编号是 3 到 40 个小写字母、数字或连字符")

    async def work() -> None:
        async with _registry(settings) as desk:
            await desk.enrolment().confirm(identifier, confirmation, actor=actor or _operator())

    _run(work())
    out.print(f"{kid} 已登记 (enrolled)")


@staff.command(name="list")
def list_staff(data_dir: DataDir = None, as_json: Json = False) -> None:
    """列出账户 (list the accounts)。"""
    settings = _settings(data_dir)

    async def work() -> list[dict[str, Any]]:  # Any: JSON documents
        async with _registry(settings) as desk:
            return [
                {
                    "username": user.username,
                    "display_name": user.display_name,
                    "roles": [role.value for role in user.roles],
                    "is_active": user.is_active,
                    "is_recovering": user.recovery is not None,
                }
                for user in await StaffStore(desk.database).users()
            ]

    rows = _run(work())
    if as_json:
        out.print_json(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("用户名", "姓名", "角色", "状态")
    for row in rows:
        state = "停用" if not row["is_active"] else "等待恢复" if row["is_recovering"] else "正常"
        table.add_row(row["username"], row["display_name"], " ".join(row["roles"]), state)
    out.print(table)


@staff.command()
def recover(
    name: Annotated[str, typer.Argument(help="用户名 (user name)。", metavar="NAME")],
    data_dir: DataDir = None,
    reset: Annotated[
        Reset, typer.Option(help="重置什么: both 密码和验证器, password 仅密码, totp 仅验证器 (what was lost)。")
    ] = Reset.BOTH,
    as_json: Json = False,
    actor: Actor = "",
) -> None:
    """恢复丢失手机或密码的账户: 打印一次性令牌; 现有会话和 API 令牌立即失效 (recover an account)。"""
    settings = _settings(data_dir)

    async def work() -> RecoveryIssued:
        async with _registry(settings) as desk:
            recovery = RecoveryDesk(StaffStore(desk.database), desk.auditor, SystemClock())
            return await recovery.issue(name, reset, Asker(actor or _operator(), CONSOLE))

    issued = _run(work())
    site = settings.public_url or f"http://{settings.http.host}:{settings.http.port}"
    link = f"{site.rstrip('/')}/recover#{issued.token}"
    if as_json:
        out.print_json(json.dumps({**issued.model_dump(mode="json"), "link": link}))
        return
    out.print(f"{name} 的账户已关闭, 只能用此令牌重新打开 (closed until this token is used):")
    out.print(f"一次性令牌 (one-time token): {issued.token}")
    out.print(f"打开网页 (open): {link}")
    out.print(f"有效期至 (valid until): {issued.expires_at.astimezone():%Y-%m-%d %H:%M:%S}")


class _Desk:
    """The registry without a server around it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        clock = SystemClock()
        self.settings = settings
        self.database = database
        self.store = RegistryStore(database)
        self.directory = Directory(self.store)
        self.auditor = AuditTrail(AuditStore(database), clock)
        self.registry = RegistryService(self.store, self.directory, clock, auditor=self.auditor, statuses=Statuses())

    def enrolment(self) -> EnrolmentService:
        """Enrolment, signed with the installation's CA."""
        authority = Installation(self.settings).load_authority()
        return EnrolmentService(self.store, self.directory, authority, self.settings, SystemClock(), self.auditor)


@asynccontextmanager
async def _registry(settings: Settings) -> AsyncIterator[_Desk]:
    await require_schema(settings.store_url)
    database = Database(settings.store_url)
    try:
        desk = _Desk(settings, database)
        await desk.directory.refresh()
        yield desk
    finally:
        await database.close()


def _settings(data_dir: Path | None, overrides: dict[str, str] | None = None) -> Settings:
    environ = {**os.environ, **(overrides or {})}
    if data_dir is not None:
        environ["FLEET_DATA_DIR"] = str(data_dir)
    folder = Path(environ.get("FLEET_DATA_DIR") or Settings().data_dir)
    configure("fleet-server", level="error", json=False)
    try:
        return load(Settings, file=folder / SETTINGS_FILE, env_prefix=ENV_PREFIX, environ=environ)
    except SettingsError as error:
        _fail(Exit.SETUP, str(error))


def _operator() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return f"cli:{os.getuid()}"


def _roles(text: str) -> frozenset[Role]:
    try:
        return frozenset(Role(part.strip()) for part in text.split(","))
    except ValueError:
        _fail(Exit.USAGE, "--role: 只能是 ingest、api、duties, 用逗号分隔")


def _numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:04d}" for number in range(1, count + 1)]


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or end the process with the documented exit code and one line that says why.

    Whatever is not expected goes on up: that is an error of the program.
    """
    try:
        return asyncio.run(work)
    except (FleetError, SettingsError, StoreError, ListenError, sqlalchemy.exc.DBAPIError) as error:
        _fail(*_explain(error))
    except ExceptionGroup as group:
        expected, rest = group.split((FleetError, SettingsError, StoreError, ListenError, sqlalchemy.exc.DBAPIError))
        if expected is None or rest is not None:
            raise
        _fail(*_explain(_first(expected)))


def _first(group: ExceptionGroup[Any]) -> Exception:  # Any: whatever was caught
    found: Exception = group.exceptions[0]
    return _first(found) if isinstance(found, ExceptionGroup) else found


def _explain(error: Exception) -> tuple[Exit, str]:
    match error:
        case SetupError() | MigrationError() | SettingsError():
            return Exit.SETUP, str(error)
        case Refusal():
            chinese = CONSOLE_TEXTS.get(error.code)
            return Exit.REFUSED, error.message if chinese is None else f"{chinese} ({error.message})"
        case sqlalchemy.exc.DBAPIError():
            return Exit.UNREACHABLE, f"数据库无法使用 (the store cannot be used): {type(error.orig).__name__}"
        case _:
            return Exit.UNREACHABLE, str(error)


def _fail(code: Exit, text: str) -> NoReturn:
    err.print(text, markup=False)
    raise typer.Exit(code)


def main() -> None:
    """Entry point; what we write is private unless said otherwise."""
    os.umask(0o077)
    cli()


if __name__ == "__main__":
    main()
