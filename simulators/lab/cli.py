"""`kiosk-sim lab`: all devices of several kiosks, and what testers do to them."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Mapping
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
from simulators.lab.device import FactValue
from simulators.lab.errors import LabError
from simulators.lab.kiosk import DEVICES
from simulators.lab.lab import KIOSKS_MAX, Lab, full_kiosks
from simulators.lab.play import StepFailed, play
from simulators.lab.scenario import Planned, ScenarioError, read
from simulators.lab.serving import LabServer

app = typer.Typer(
    no_args_is_help=True, help="设备实验室：一个进程模拟多台自助机的全部设备（every device of whole kiosks）"
)
console = Console()
DEFAULT_DIR = Path("var/lab")
_FAILED, _WRONG, _REFUSED, _SILENT = 1, 2, 3, 4
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
            troubles = "、".join([*device["troubles"], *device["armed"]])
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
    _call(folder, "POST", f"{_device_path(kiosk, component)}/actions", {"action": action, "arguments": arguments})
    console.print("完成 · done", highlight=False)


@app.command("play")
def play_file(
    file: Annotated[Path, typer.Argument(help="场景文件 .yaml（scenario）")],
    kiosk: Annotated[str, typer.Option(help="步骤未写自助机时用哪一台（kiosk of steps that name none）")] = "kiosk-1",
    speed: Annotated[float, typer.Option(min=0.01, max=10_000, help="时间加快多少倍（times faster）")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="随机种子，默认用文件中的（random seed）")] = None,
    folder: Folder = DEFAULT_DIR,
) -> None:
    """按场景文件依次操作设备；先检查全部步骤，再开始（play a scenario）。"""
    try:
        script = read(file)
        steps = script.planned(kiosk, seed)
        kinds = {kind.kind.value: kind for kind in DEVICES}
        there = _call(folder, "GET", "/api/v1/kiosks")["items"]
        script.check(
            steps, {(one["name"], part["component"]): kinds[part["kind"]] for one in there for part in one["devices"]}
        )
    except ScenarioError as error:
        console.print("[red]错误[/]", escape(str(error)), highlight=False, soft_wrap=True)
        raise typer.Exit(_WRONG) from None
    title = script.scenario.title
    console.print(f"{escape(title.zh)} · {escape(title.en)}：{len(steps)} 步 (steps)", highlight=False, soft_wrap=True)
    last = steps[0]

    def tell(step: Planned) -> None:
        nonlocal last
        last = step
        console.print(escape(_said(step)), highlight=False, soft_wrap=True)

    try:
        asyncio.run(play(steps, _Outside(folder), SystemClock(), speed=speed, tell=tell))
    except StepFailed as failed:
        console.print("[red]失败[/]", escape(f"{file}:{last.line}: {failed}"), highlight=False, soft_wrap=True)
        raise typer.Exit(_FAILED) from None
    except KeyboardInterrupt:
        console.print("已停止 · stopped", highlight=False)
        raise typer.Exit(_FAILED) from None
    console.print("完成 · done", highlight=False)


def _said(step: Planned) -> str:
    what = (
        f"等待 · wait for {_pairs(step.expect)}" if step.action is None else f"{step.action} {_pairs(step.arguments)}"
    )
    return f"{step.at_s:8.1f} s  {step.kiosk}  {step.device:16} {what}".rstrip()


def _pairs(values: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


class _Outside:
    """The lab that runs in a folder, by its control API."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def act(self, step: Planned) -> None:
        """See `Stage`."""
        order: dict[str, object] = {"action": step.action, "arguments": dict(step.arguments)}
        path = f"{_device_path(step.kiosk, step.device)}/actions"
        status, said = await asyncio.to_thread(_ask, self._folder, "POST", path, order)
        if status >= http.client.BAD_REQUEST:
            raise StepFailed(f"{said.get('title')} {said.get('errors') or ''}".rstrip())

    async def facts(self, kiosk: str, device: str) -> Mapping[str, FactValue]:
        """See `Stage`."""
        path = _device_path(kiosk, device)
        status, said = await asyncio.to_thread(_ask, self._folder, "GET", path, None)
        if status >= http.client.BAD_REQUEST:
            raise StepFailed(str(said.get("title")))
        return {**said["state"], "plugged": said["plugged"], "model": said["model"]}


def _device_path(kiosk: str, component: str) -> str:
    return f"/api/v1/kiosks/{quote(kiosk, safe='')}/devices/{quote(component, safe='')}"


def _call(folder: Path, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    """Ask the lab that runs in this folder; a refusal is said and ends the command."""
    status, said = _ask(folder, method, path, body)
    if status >= http.client.BAD_REQUEST:
        console.print(
            "[red]拒绝[/]", escape(str(said.get("title"))), escape(str(said.get("errors") or "")), highlight=False
        )
        raise typer.Exit(_REFUSED)
    return said


def _ask(folder: Path, method: str, path: str, body: dict[str, object] | None) -> tuple[int, dict[str, Any]]:
    """The status and what the lab says; no lab ends the command."""
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
    return answer.status, said
