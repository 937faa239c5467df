"""`kiosk-sim payments`: WeChat Pay, Alipay and phones that pay."""

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
from simulators.payments.keys import prepare
from simulators.payments.server import PaymentServer, Place
from simulators.payments.store import JOURNAL, load

app = typer.Typer(
    no_args_is_help=True, help="支付渠道模拟：微信支付、支付宝与付款手机（wallets and the phones that pay）"
)
console = Console()


@app.callback()
def payments() -> None:
    """支付渠道模拟。"""


@app.command()
def run(
    folder: Annotated[Path, typer.Option("--dir", help="目录：密钥、账本与 payments.json")] = Path("var/payments"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="端口；0 为任意空闲端口")] = 8092,
    seed: Annotated[int, typer.Option(help="随机种子；同种子同行为")] = 1,
    forget: Annotated[bool, typer.Option("--forget", help="从空账本开始")] = False,
) -> None:
    """运行微信支付与支付宝的模拟渠道，直到 Ctrl-C。"""
    configure("kiosk-sim-payments")
    asyncio.run(_run(folder.absolute(), port, seed, forget=forget))


async def _run(folder: Path, port: int, seed: int, *, forget: bool) -> None:
    keys = await asyncio.to_thread(prepare, folder)
    journal = folder / JOURNAL
    if forget:
        await asyncio.to_thread(journal.unlink, missing_ok=True)
    book = await asyncio.to_thread(load, journal)
    server = PaymentServer(keys, SystemClock(), Place(folder, port, seed, _tell), book)
    await serve(server.services)


def _tell(url: str) -> None:
    console.print(f"支付渠道模拟已就绪 · control page: {escape(url)}", highlight=False, soft_wrap=True)
