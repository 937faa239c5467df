"""`kiosk-sim lab`: all devices of several kiosks, and what testers do to them."""

from __future__ import annotations

import asyncio
import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer
from rich.console import Console
from rich.markup import escape

from kit.clock import SystemClock
from kit.logs import configure
from kit.supervise import serve
from simulators.lab.errors import LabError
from simulators.lab.lab import KIOSKS_MAX, Lab, full_kiosks
from simulators.lab.serving import LabServer

app = typer.Typer(
    no_args_is_help=True, help="设备实验室：一个进程模拟多台自助机的全部设备（every device of whole kiosks）"
)
console = Console()
DEFAULT_DIR = Path("var/lab")
_REFUSED, _SILENT = 3, 4
_TIMEOUT_S = 30.0

Folder = Annotated[Path, typer.Option("--dir", envvar="KIOSK_LAB_DIR", help="实验室目录，端口与 lab.json 都在其中")]


@app.command()
def run(
    kiosks: Annotated[int, typer.Option(min=1, max=KIOSKS_MAX, help="自助机台数")] = 1,
    folder: Folder = DEFAULT_DIR,
    control_port: Annotated[int, typer.Option(min=0, max=65_535, help="控制端口；0 为任意空闲端口")] = 8091,
    seed: Annotated[int, typer.Option(help="随机种子；同种子同行为")] = 1,
) -> None:
    """运行设备实验室，直到 Ctrl-C。"""
    configure("kiosk-sim-lab")
    try:
        asyncio.run(_run(kiosks, folder.absolute(), control_port, seed))
    except LabError as error:
        console.print("[red]错误[/]", escape(str(error)), highlight=False)
        raise typer.Exit(1) from None


async def _run(count: int, folder: Path, control_port: int, seed: int) -> None:
    clock = SystemClock()
    kiosks = await asyncio.to_thread(full_kiosks, count, folder, clock, seed)
    server = LabServer(Lab(kiosks, clock), folder, control_port, told=_tell)
    await serve(server.services)


def _tell(url: str) -> None:
    console.print(f"设备实验室已就绪 · bench page: {url}", highlight=False, soft_wrap=True)


@app.command()
def status(folder: Folder = DEFAULT_DIR) -> None:
    """实验室里每个设备的状态。"""
    for kiosk in _call(folder, "GET", "/api/v1/kiosks")["items"]:
        console.print(f"[bold]{escape(kiosk['name'])}[/]  {escape(kiosk['profile'])}", highlight=False)
        for device in kiosk["devices"]:
            sign = "[green]已连接[/]" if device["plugged"] else "[red]断开[/]"
            troubles = "、".join(device["troubles"])
            console.print(f"  {escape(device['component']):16} {sign}  {escape(troubles)}", highlight=False)


@app.command("do")
def do_action(
    kiosk: Annotated[str, typer.Argument(help="自助机，例如 kiosk-1")],
    component: Annotated[str, typer.Argument(help="部件，例如 receipt_printer")],
    action: Annotated[str, typer.Argument(help="操作，例如 paper_out；写错时列出全部")],
    given: Annotated[list[str] | None, typer.Argument(metavar="[名称=值]...", help="操作的参数")] = None,
    folder: Folder = DEFAULT_DIR,
) -> None:
    """对一个设备做一个操作：放卡、抽纸、卡纸、断线……"""
    arguments: dict[str, object] = {}
    for item in given or []:
        name, is_pair, value = item.partition("=")
        if not is_pair:
            console.print("[red]错误[/]", escape(f"{item}：应写成 名称=值 (NAME=VALUE)"), highlight=False)
            raise typer.Exit(2)
        arguments[name] = value
    path = f"/api/v1/kiosks/{quote(kiosk, safe='')}/devices/{quote(component, safe='')}/actions"
    _call(folder, "POST", path, {"action": action, "arguments": arguments})
    console.print("完成 · done", highlight=False)


def _call(folder: Path, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    """Ask the lab that runs in this folder."""
    try:
        lab = json.loads((folder.absolute() / "lab.json").read_bytes())
        where = urlsplit(lab["control_url"])
        link = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {lab['token']}", "Content-Type": "application/json"}
        with closing(link):
            link.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            answer = link.getresponse()
            text = answer.read()
        said: dict[str, Any] = json.loads(text) if text else {}
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        console.print(
            "[red]错误[/]", escape(f"{folder} 中没有运行的实验室 · no lab runs there: {error}"), highlight=False
        )
        raise typer.Exit(_SILENT) from None
    if answer.status >= http.client.BAD_REQUEST:
        console.print(
            "[red]拒绝[/]", escape(str(said.get("title"))), escape(str(said.get("errors") or "")), highlight=False
        )
        raise typer.Exit(_REFUSED)
    return said
