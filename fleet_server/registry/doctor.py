"""`fleet-server doctor`: what is wrong with an installation, and what to do about it; it changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy.exc
from cryptography import x509

from fleet_server.errors import SetupError
from fleet_server.registry.broker_conf import access_list, broker_conf
from fleet_server.registry.installation import (
    PRIVATE,
    SHARED,
    Identity,
    Installation,
    certificate_of,
    worker_names,
)
from fleet_server.registry.model import CertificateState, KioskState
from fleet_server.registry.store import RegistryStore
from fleet_server.settings import Settings
from kit.clock import Clock
from kit.store import Database, StoreError, revisions

SOON: Final = timedelta(days=30)
CA_SOON: Final = timedelta(days=365)
CONNECT_TIMEOUT_S: Final = 5.0
_INIT: Final = "运行 fleet-server init"
_RELOAD: Final = "设置 broker.reload_command, 见 docs/runbooks/revocation.md"
_IN_FORCE: Final = "启动 fleet-server run (duties) 并查看其日志 revocation.delayed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `remedy` is empty when all is well."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""


async def examine(settings: Settings, migrations: str, clock: Clock) -> list[Finding]:
    """Run every check; a check that cannot run is a finding, not an error."""
    installation, now = Installation(settings), clock.utc()
    findings = await asyncio.to_thread(_files, installation, now)
    findings += await _store(settings, migrations, now)
    findings.append(await _broker(installation))
    findings.append(Finding("实验室模式 (lab)", ok=True, detail="开启" if settings.lab else "关闭"))
    return findings


def _files(installation: Installation, now: datetime) -> list[Finding]:
    checks: list[tuple[str, Callable[[], str]]] = [
        ("CA", lambda: _authority(installation, now)),
        ("密钥文件权限 (key modes)", lambda: _modes(installation)),
        ("服务器证书 (server certificate)", lambda: _server(installation, now)),
        *(
            (f"工作进程证书 {name}", lambda name=name: _leaf(installation.worker(name), now))
            for name in worker_names(installation.settings.worker)
        ),
        ("代理配置 (mosquitto.conf)", lambda: _same(installation.conf_file, broker_conf(installation.broker_plan()))),
        ("访问控制表 (acl)", lambda: _same(installation.acl_file, access_list(installation.workers()))),
        ("吊销列表 (CRL)", lambda: _crl(installation, now)),
    ]
    found = [_judged(name, check) for name, check in checks]
    found.append(_judged("通知代理 (broker reload)", lambda: _reload(installation), _RELOAD))
    found.append(_judged("吊销列表已生效 (CRL in force)", lambda: _in_force(installation), _IN_FORCE))
    return found


def _judged(name: str, check: Callable[[], str], remedy: str = _INIT) -> Finding:
    try:
        return Finding(name, ok=True, detail=check())
    except SetupError as problem:
        return Finding(name, ok=False, detail=str(problem), remedy=remedy)


def _authority(installation: Installation, now: datetime) -> str:
    authority = installation.load_authority()
    if authority.not_after - now < CA_SOON:
        raise SetupError(f"CA 将于 {authority.not_after:%Y-%m-%d} 到期")
    return f"{authority.fingerprint[:16]}… 有效期至 {authority.not_after:%Y-%m-%d}"


def _modes(installation: Installation) -> str:
    keys = [*installation.pki_dir.rglob("*.key"), *installation.broker_dir.glob("*.key")]
    shared = {installation.broker_key_file} if installation.is_shared() else set()
    open_ones = [
        str(path)
        for path in keys
        if stat.S_IMODE(path.stat().st_mode) & ~(SHARED if path in shared else PRIVATE) & 0o077
    ]
    if open_ones:
        raise SetupError(f"可被他人读取: {', '.join(open_ones)}, 请 chmod 600")
    return f"{len(keys)} 个密钥"


def _server(installation: Installation, now: datetime) -> str:
    missing = set(installation.server_names()) - set(certificate_of(installation.server).sans)
    if missing:
        raise SetupError(f"证书中缺少名称 {', '.join(sorted(missing))}")
    return _leaf(installation.server, now)


def _leaf(identity: Identity, now: datetime) -> str:
    leaf = certificate_of(identity)
    if leaf.not_after - now < SOON:
        raise SetupError(f"{identity.name} 的证书将于 {leaf.not_after:%Y-%m-%d} 到期")
    return f"有效期至 {leaf.not_after:%Y-%m-%d}"


def _same(path: Path, expected: str) -> str:
    try:
        found = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    if found != expected:
        raise SetupError(f"{path} 与生成的内容不同")
    return str(path)


def _crl(installation: Installation, now: datetime) -> str:
    try:
        crl = x509.load_pem_x509_crl(installation.crl_file.read_bytes())
    except (OSError, ValueError):
        raise SetupError(f"{installation.crl_file} 缺失或损坏") from None
    ends = crl.next_update_utc
    if ends is None or ends <= now:
        raise SetupError("吊销列表已过期, 代理会拒绝所有连接")
    return f"{len(crl)} 项, 有效期至 {ends:%Y-%m-%d}"


def _reload(installation: Installation) -> str:
    """How the server tells the broker, and whether its account can."""
    broker = installation.settings.broker
    if broker.reload_command:
        program = broker.reload_command[0]
        if not os.access(program, os.X_OK):
            raise SetupError(f"{program} 不存在或不可执行")
        return f"命令 {' '.join(broker.reload_command)}"
    pid_file = installation.settings.broker_pid_file
    try:
        pid = int(pid_file.read_text())
        owner, ours = Path(f"/proc/{pid}").stat().st_uid, installation.root.stat().st_uid
    except (OSError, ValueError):
        raise SetupError(f"{pid_file} 没有指向运行中的消息代理") from None
    # The server runs as the owner of its data; root may signal everybody.
    if ours not in {0, owner}:
        raise SetupError(f"消息代理 (进程 {pid}) 属于另一账户, 无法向其发信号")
    return f"信号 SIGHUP, 进程 {pid}"


def _in_force(installation: Installation) -> str:
    try:
        present = hashlib.sha256(installation.crl_file.read_bytes()).hexdigest()
        proved = installation.proof_file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise SetupError("尚未验证代理是否采用吊销列表") from None
    if present != proved:
        raise SetupError("代理尚未采用当前的吊销列表")
    return "代理已采用当前列表"


async def _store(settings: Settings, migrations: str, now: datetime) -> list[Finding]:
    name = "数据库 (store)"
    try:
        current, newest = await revisions(settings.store_url, migrations)
    except (StoreError, sqlalchemy.exc.SQLAlchemyError) as error:
        return [Finding(name, ok=False, detail=str(error), remedy="检查 database_url")]
    if current != newest:
        return [Finding(name, ok=False, detail=f"结构 {current}, 需要 {newest}", remedy="运行 fleet-server migrate")]
    database = Database(settings.store_url)
    try:
        return [Finding(name, ok=True, detail=f"结构 {current}"), *await _identities(RegistryStore(database), now)]
    finally:
        await database.close()


async def _identities(store: RegistryStore, now: datetime) -> list[Finding]:
    certificates = [item for item in await store.live_certificates() if item.state is CertificateState.ACTIVE]
    expiring = sorted(item.kid for item in certificates if item.not_after - now < SOON)
    owners = Counter(digest for digest, _ in {(item.key_digest, item.kid) for item in certificates})
    shared = sorted({item.kid for item in certificates if owners[item.key_digest] > 1})
    quarantined = sorted(item.kid for item in await store.kiosks() if item.state is KioskState.QUARANTINED)
    waiting = sorted({item.kid for item in await store.unenforced() if item.cut})
    rows = (
        ("即将到期的自助机证书 (expiring)", expiring, "检查这些自助机的续期"),
        ("共用密钥的自助机 (shared keys)", shared, "吊销并重新登记"),
        ("隔离中的自助机 (quarantined)", quarantined, "查明原因后解除或重新登记"),
        ("尚未生效的吊销 (not enforced)", waiting, "检查消息代理与 duties 进程"),
    )
    return [
        Finding(
            check, ok=not kids, detail=f"{len(kids)} 台 {' '.join(kids[:5])}".strip(), remedy=remedy if kids else ""
        )
        for check, kids, remedy in rows
    ]


async def _broker(installation: Installation) -> Finding:
    """Connect with TLS and the first worker's certificate."""
    name, broker = "消息代理 (broker)", installation.settings.broker
    where = f"{broker.host}:{broker.port}"
    try:
        context = await asyncio.to_thread(_context, installation)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port, ssl=context)
        writer.transport.abort()
    except (OSError, TimeoutError) as error:
        reason = type(error).__name__ if isinstance(error, TimeoutError) else str(error)
        return Finding(name, ok=False, detail=f"{where}: {reason}", remedy=f"mosquitto -c {installation.conf_file}")
    return Finding(name, ok=True, detail=f"{where} TLS 1.3")


def _context(installation: Installation) -> ssl.SSLContext:
    identity = installation.worker(worker_names(installation.settings.worker)[0])
    context = ssl.create_default_context(cafile=str(identity.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    return context
