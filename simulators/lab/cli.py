"""`kiosk-sim lab`: all devices of several kiosks, and what testers do to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

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
