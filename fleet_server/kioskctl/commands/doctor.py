"""Checks from here to the server, each with what to do next."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import typer

from fleet_server.kioskctl.client import Answer, Document, FleetClient, connected
from fleet_server.kioskctl.config import Config, load
from fleet_server.kioskctl.errors import Exit, Failure
from fleet_server.kioskctl.output import dump, table
from fleet_server.kioskctl.running import Json
from kit.clock import SystemClock
from wire import __version__

CLOCK_LIMIT_S: Final = 30.0
"""One step of a one-time code."""
_ABSENT: Final = ("offline", "unknown")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    check: str
    is_ok: bool
    detail: str
    next_step: str = ""
    exit_code: Exit = Exit.FAILURE


def doctor(as_json: Json = False) -> None:
    """检查连接、加密、时钟、令牌、服务器和自助机 (check everything from here)。"""
    findings = _examine()
    if as_json:
        dump(
            [
                {"check": item.check, "ok": item.is_ok, "detail": item.detail, "next_step": item.next_step}
                for item in findings
            ]
        )
    else:
        table(
            ("检查", "结果", "说明", "下一步"),
            [(item.check, "正常" if item.is_ok else "异常", item.detail, item.next_step) for item in findings],
        )
    failed = next((item for item in findings if not item.is_ok), None)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _examine() -> list[Finding]:
    """The checks in their order; the first failure that hides the rest ends them."""
    try:
        config = load(os.environ)
    except Failure as failure:
        step = "按提示修改 KIOSKCTL_URL 或配置文件 (see docs/kioskctl.md)"
        return [Finding("配置 (configuration)", False, failure.message, step, failure.exit_code)]
    return [
        Finding("配置 (configuration)", True, f"{config.url}, {config.file}"),
        _encryption(config),
        *asyncio.run(_from_server(config)),
    ]


def _encryption(config: Config) -> Finding:
    name = "加密 (TLS)"
    if config.url.startswith("https://"):
        trust = "系统信任的 CA" if config.ca_file is None else f"系统信任的 CA 和 {config.ca_file}"
        return Finding(name, True, f"校验证书和主机名: {trust}")
    return Finding(name, True, "本机, 不需要 (loopback)")


async def _from_server(config: Config) -> list[Finding]:
    async with connected(config) as client:
        clock = SystemClock()
        before = clock.monotonic()
        try:
            health = await client.request("GET", "/api/v1/health")
        except Failure as failure:
            return [Finding("服务器 (server)", False, failure.message, _reach(failure), failure.exit_code)]
        round_trip_s = clock.monotonic() - before
        return [
            _health(health.document, round_trip_s),
            _version(health.document),
            _clock(health, round_trip_s),
            *await _as_member(client),
        ]


def _reach(failure: Failure) -> str:
    if failure.code == "certificate_refused":
        return "把服务器的 CA 写入配置文件的 ca_file, 或请管理员更换证书 (set ca_file)"
    if failure.code == "not_a_fleet_server":
        return "核对地址和端口 (check the address): KIOSKCTL_URL"
    return "核对地址; 在服务器上运行 fleet-server doctor; 检查防火墙 (check address, server, firewall)"


def _health(health: Document, round_trip_s: float) -> Finding:
    is_ok = health.get("status") == "ok"
    detail = f"{round_trip_s * 1000:.0f} ms, 角色 {' '.join(health.get('roles', ()))}" if is_ok else str(health)
    return Finding("服务器 (server)", is_ok, detail, "" if is_ok else "在服务器上运行 fleet-server doctor")


def _version(health: Document) -> Finding:
    server = str(health.get("version"))
    is_ok = server == __version__
    step = "" if is_ok else "安装与服务器相同的版本 (install the server's version)"
    return Finding("版本 (version)", is_ok, f"服务器 {server}, 本程序 {__version__}", step)


def _clock(answer: Answer, round_trip_s: float) -> Finding:
    name = "时钟 (clock)"
    try:
        server = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return Finding(name, False, "服务器没有报告时间 (no Date)", "核对地址, 中间可能有代理 (a proxy?)")
    # The Date header has whole seconds: half of one, and half of the way, are not the clock's fault.
    difference_s = (SystemClock().utc() - server).total_seconds() - 0.5 - round_trip_s / 2
    is_ok = abs(difference_s) <= CLOCK_LIMIT_S
    step = "" if is_ok else "校准本机和服务器时钟, 否则验证码会被拒绝 (synchronise both clocks: codes would be refused)"
    return Finding(name, is_ok, f"本机相差 {round(difference_s):+d} 秒", step)


async def _as_member(client: FleetClient) -> list[Finding]:
    name = "令牌 (token)"
    if client.config.token is None:
        return [Finding(name, False, "尚未登录 (not signed in)", "kioskctl login", Exit.NOT_SIGNED_IN)]
    try:
        me = await client.get("/api/v1/auth/me")
    except Failure as failure:
        return [Finding(name, False, failure.message, "kioskctl login", failure.exit_code)]
    findings = [Finding(name, True, f"{me['username']}: {' '.join(me['permissions'])}")]
    if "kiosks.read" in me["permissions"]:
        findings.append(await _fleet(client))
    return findings


async def _fleet(client: FleetClient) -> Finding:
    """Many kiosks gone at once are rarely many broken kiosks."""
    name = "自助机 (kiosks)"
    counts: dict[str, int] = {}
    try:
        for presence in ("online", "unstable", *_ABSENT):
            page = await client.get("/api/v1/kiosks", {"presence": presence, "limit": 1})
            counts[presence] = page["total"]
    except Failure as failure:
        return Finding(name, False, failure.message, "在服务器上运行 fleet-server doctor", failure.exit_code)
    detail = "  ".join(f"{presence} {count}" for presence, count in counts.items())
    absent, there = sum(counts[presence] for presence in _ABSENT), counts["online"] + counts["unstable"]
    if absent > there and counts["unknown"] >= counts["offline"]:
        step = "服务器看不到自助机: 检查消息代理是否运行, 并在服务器上运行 fleet-server doctor (check the broker)"
        return Finding(name, False, detail, step)
    if absent > there:
        step = "多数自助机离线: 先检查网络和消息代理, 再检查单台 (check network and broker first)"
        return Finding(name, False, detail, step)
    return Finding(name, True, detail)
