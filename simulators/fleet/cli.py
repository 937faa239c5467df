"""`kiosk-sim fleet`: run a crowd of light kiosks and do things to them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from aiohttp import web
from rich.console import Console
from rich.table import Table

from kit.clock import SystemClock
from kit.logs import configure
from kit.supervise import serve
from kit.web import Api, Guard, GuardSettings, HttpServer
from simulators.fleet.behaviour import CALM, RESTLESS
from simulators.fleet.control import Act, routes
from simulators.fleet.crowd import Crowd, CrowdPlan
from simulators.fleet.identities import IdentityFolderError, read_identities
from simulators.fleet.ledger import Ledger
from wire.faults import Fault
from wire.uplink import Edge

app = typer.Typer(
    no_args_is_help=True, help="轻量自助机群：一个进程模拟 1 到 5000 台（light kiosks over the real protocol）"
)
CONTROL_URL = "http://127.0.0.1:8090"
EXIT_REFUSED = 3
EXIT_UNREACHABLE = 4

Control = Annotated[str, typer.Option(envvar="KIOSK_SIM_CONTROL", help="模拟进程的控制地址（control API）")]
AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON")]
console = Console()


@app.command()
def run(
    identities: Annotated[Path, typer.Option(help="证书目录，由 fleet-server lab-identities 生成")],
    broker: Annotated[str, typer.Option(help="消息代理 主机:端口")] = "localhost:8883",
    count: Annotated[int | None, typer.Option(min=1, max=5_000, help="台数；默认目录中全部")] = None,
    seed: Annotated[int, typer.Option(help="随机种子；同种子同行为")] = 1,
    control_port: Annotated[int, typer.Option(min=0, max=65_535, help="控制端口；0 为任意空闲端口")] = 8090,
    history: Annotated[Path | None, typer.Option(help="把每条记录与回执写入此文件")] = None,
    restless: Annotated[bool, typer.Option(help="不时断线、重启")] = False,
    receipt_timeout_s: Annotated[float, typer.Option(min=0.5, help="多久没有回执就重发（秒）")] = 20.0,
    backlog_hours: Annotated[float, typer.Option(min=0.0, max=168.0, help="启动前已离线的小时数，其记录补传")] = 0.0,
) -> None:
    """运行自助机群，直到 Ctrl-C。"""
    configure("kiosk-sim")
    host, _, port = broker.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter("需要 主机:端口 (host:port)", param_hint="--broker")
    try:
        found = read_identities(identities, count)
    except (IdentityFolderError, OSError) as error:
        console.print(f"[red]错误[/] {error}")
        raise typer.Exit(2) from None
    behaviour = replace(
        RESTLESS if restless else CALM, receipt_timeout_s=receipt_timeout_s, backlog_s=backlog_hours * 3_600.0
    )
    plan = CrowdPlan(host, int(port), seed, behaviour)
    asyncio.run(_run(plan, list(found), control_port, history))


async def _run(plan: CrowdPlan, identities: list[Any], control_port: int, history: Path | None) -> None:
    clock = SystemClock()
    with Ledger(history, clock) as ledger:
        crowd = Crowd(plan, identities, ledger, clock)
        application = web.Application()
        Api("kiosk-sim", "1", [routes(crowd, clock)]).mount(application)
        guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1", "localhost"}), origin_required=False))
        server = HttpServer("control", application, guard=guard, port=control_port)
        await serve([server, crowd])


@app.command("totals")
def totals(control: Control = CONTROL_URL, as_json: AsJson = False) -> None:
    """总览：在线、待发、已确认。"""
    _show(_call(control, "GET", "/api/v1/totals", None), as_json=as_json)


@app.command("ls")
def kiosks(control: Control = CONTROL_URL, as_json: AsJson = False) -> None:
    """列出全部模拟机。"""
    page = _call(control, "GET", "/api/v1/kiosks", None)
    if as_json:
        typer.echo(json.dumps(page["items"], ensure_ascii=False))
        return
    table = Table("自助机", "在线", "待发", "已确认", "连接次数", "时钟偏差 s", "最近错误")
    for item in page["items"]:
        table.add_row(
            item["kid"],
            "●" if item["connected"] else "○",
            str(item["pending"]),
            str(item["acknowledged"]),
            str(item["connects"]),
            f"{item['clock_skew_s']:.2f}",
            item["last_error"] or "",
        )
    console.print(table)


@app.command("do")
def do(kid: str, act: Act, control: Control = CONTROL_URL, as_json: AsJson = False) -> None:
    """对一台自助机：断线、断电、上电、重启、静默、恢复。"""
    _show(_call(control, "POST", f"/api/v1/kiosks/{kid}/acts/{act.value}", {}), as_json=as_json)


@app.command()
def flood(
    kid: str, records_per_s: float, seconds: float, control: Control = CONTROL_URL, as_json: AsJson = False
) -> None:
    """数据洪泛：远超限额地发送记录。"""
    body = {"records_per_s": records_per_s, "seconds": seconds}
    _show(_call(control, "POST", f"/api/v1/kiosks/{kid}/flood", body), as_json=as_json)


@app.command()
def alarm(
    kid: str,
    code: Fault,
    edge: Edge = Edge.RAISE,
    component: str = "host",
    control: Control = CONTROL_URL,
    as_json: AsJson = False,
) -> None:
    """产生或解除告警。"""
    body = {"code": code.value, "edge": edge.value, "component": component}
    _show(_call(control, "POST", f"/api/v1/kiosks/{kid}/alarms", body), as_json=as_json)


@app.command()
def burst(events: int, kiosks: int | None = None, control: Control = CONTROL_URL, as_json: AsJson = False) -> None:
    """许多自助机同时产生事件。"""
    _show(_call(control, "POST", "/api/v1/burst", {"events": events, "kiosks": kiosks}), as_json=as_json)


@app.command()
def power(
    on: Annotated[bool, typer.Option("--on/--off", help="上电或断电")],
    kiosks: int | None = None,
    control: Control = CONTROL_URL,
    as_json: AsJson = False,
) -> None:
    """整片断电或恢复。"""
    _show(_call(control, "POST", "/api/v1/power", {"on": on, "kiosks": kiosks}), as_json=as_json)


def _call(control: str, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """Ask the control API; a refusal or an unreachable process ends the command with its exit code."""

    async def ask() -> tuple[int, dict[str, Any]]:
        async with aiohttp.ClientSession() as http, http.request(method, f"{control}{path}", json=body) as response:
            return response.status, await response.json(content_type=None)

    try:
        status, answer = asyncio.run(ask())
    except aiohttp.ClientError as error:
        console.print(f"[red]错误[/] {control} 没有应答 ({type(error).__name__})：先运行 kiosk-sim fleet run")
        raise typer.Exit(EXIT_UNREACHABLE) from None
    if status >= 400:  # noqa: PLR2004 - HTTP's first error status
        console.print(f"[red]拒绝[/] {answer.get('title')} {answer.get('detail') or ''}")
        raise typer.Exit(EXIT_REFUSED)
    return answer


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    table = Table(show_header=False)
    for name, value in answer.items():
        table.add_row(name, "" if value is None else str(value))
    console.print(table)
