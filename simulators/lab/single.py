"""`kiosk-sim device run` and `list`: one device alone, for testers who have real software on the other side."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kit.clock import SystemClock
from kit.supervise import TaskGroup, spawn
from simulators.lab.device import Device, Kind
from simulators.lab.errors import ActionRefused, LabError
from simulators.lab.kiosk import BYTE_DEVICES, DEVICES, LabKiosk, Place, Via, build
from simulators.lab.lab import Lab

_NAME = "device"
_ALONE = (*BYTE_DEVICES, Kind.REPORT_PRINTER)
_ONLY_TCP = frozenset({Kind.REPORT_PRINTER, Kind.FACE_CAMERA})
console = Console()


def add_to(app: typer.Typer) -> None:
    """Give `kiosk-sim device` these commands."""
    app.command("list", help="列出可单独运行的设备、型号与操作（devices, models, actions）。")(list_devices)
    app.command("run", help="单独运行一个模拟设备，直到 Ctrl-C（run one device alone）。")(run_device)


def list_devices() -> None:
    """Print what can run alone."""
    for kind in (kind for kind in DEVICES if kind.kind in _ALONE):
        console.print(f"[bold]{kind.kind}[/]  {kind.zh} · {kind.en}", highlight=False, soft_wrap=True)
        console.print(f"  型号 models: {', '.join(kind.models)}", highlight=False, soft_wrap=True)
        console.print(f"  操作 actions: {', '.join(kind.actions)}", highlight=False, soft_wrap=True)


def run_device(
    kind: Annotated[Kind, typer.Argument(help="设备种类（kind）；见 kiosk-sim device list")],
    pty: Annotated[Path | None, typer.Option(help="在这个路径提供串口（serial port at this path）")] = None,
    tcp: Annotated[int | None, typer.Option(min=0, max=65_535, help="在本机这个端口提供网络设备（TCP port）")] = None,
    profile: Annotated[str | None, typer.Option(help="型号，即设备档案名（model）")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="开始时做的操作，可多次：paper_out 或 jam_at_line:line=7（fault）")
    ] = None,
    seed: Annotated[int, typer.Option(help="随机种子（random seed）")] = 1,
) -> None:
    """Run it until Ctrl-C."""
    is_wrong = False
    try:
        place = _place(kind, pty, tcp, profile)
        asyncio.run(_run(place, fault or (), seed))
    except* (LabError, ActionRefused, OSError) as group:
        for error in _leaves(group):
            console.print("[red]错误[/]", escape(str(error)), highlight=False, soft_wrap=True)
        is_wrong = True
    if is_wrong:
        raise typer.Exit(2)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf for one in group.exceptions for leaf in (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]


def _place(kind: Kind, pty: Path | None, tcp: int | None, profile: str | None) -> Place:
    if kind not in _ALONE:
        raise LabError(f"{kind} 不能单独运行，请用 kiosk-sim lab run · does not run alone")
    if (pty is None) == (tcp is None):
        raise LabError("请给出 --pty 或 --tcp 之一 · give either --pty or --tcp")
    if kind in _ONLY_TCP and tcp is None:
        raise LabError(f"{kind} 只能用 --tcp · is on the network only: --tcp")
    models = next(row.models for row in DEVICES if row.kind is kind)
    model = models[0] if profile is None else profile
    if model not in models:
        raise LabError(f"没有这个型号 · no such model: {model}; {', '.join(models)}")
    via = Via.PTY if pty is not None else Via.IPP if kind is Kind.REPORT_PRINTER else Via.TCP
    return Place(_NAME, kind, model, via, None if pty is None else pty.absolute(), tcp or 0)


def _parsed(text: str) -> tuple[str, dict[str, str]]:
    action, _, rest = text.partition(":")
    pairs = [item.partition("=") for item in rest.split(",") if item]
    return action, {name: value for name, _, value in pairs}


async def _run(place: Place, faults: Sequence[str], seed: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    device: Device = build(place, Path(), clock.monotonic, seed)
    lab = Lab([LabKiosk(_NAME, _NAME, {_NAME: device})], clock)
    async with TaskGroup() as group:
        running = spawn(group, lab.run(), lab.name)
        await lab.started()
        for text in faults:
            action, arguments = _parsed(text)
            await lab.perform(_NAME, _NAME, action, arguments)
        console.print(f"{device.zh} · {device.en} · {device.model} · {device.port}", highlight=False, soft_wrap=True)
        await stop.wait()
        running.cancel()
