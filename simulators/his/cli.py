"""`kiosk-sim his`: a hospital information system for testers."""

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
from simulators.his.desk import BOOKS_FILE
from simulators.his.server import HisServer, Place

app = typer.Typer(no_args_is_help=True, help="HIS 模拟：患者、排班、待缴费单（a hospital information system）")
console = Console()


@app.callback()
def his() -> None:
    """HIS 模拟。"""


@app.command()
def run(
    folder: Annotated[Path, typer.Option("--dir", help="目录：账簿、令牌与 his.json")] = Path("var/his"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="端口；0 为任意空闲端口")] = 8093,
    seed: Annotated[int, typer.Option(help="随机种子；同种子同医院")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=1_000, help="同时处理的请求数")] = 64,
    past_slots: Annotated[bool, typer.Option("--past-slots", help="当日已过时段仍放号：下班后测试用")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="从空账簿开始")] = False,
) -> None:
    """运行模拟 HIS（JSON 与 SOAP 两种接口），直到 Ctrl-C。"""
    configure("kiosk-sim-his")
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if forget:
        (folder / BOOKS_FILE).unlink(missing_ok=True)
    server = HisServer(SystemClock(), Place(folder, port, seed, concurrency, past_slots, _tell))
    asyncio.run(_run(server))


async def _run(server: HisServer) -> None:
    await serve(server.services)


def _tell(url: str) -> None:
    console.print(f"HIS 模拟已就绪 · control page: {escape(url)}", highlight=False, soft_wrap=True)
