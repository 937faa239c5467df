"""`kiosk-sim device`: one simulated device."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from simulators.devices.replay import LAST_S, ReplayCore, Story
from simulators.devices.replay_ipp import IppReplay
from simulators.devices.transports import PtyServer, TcpServer
from wire.recording import Recording, RecordingError, decode_recording

_REFUSED = 3
_IPP, _PCSC = "ipp", "pcsc"
app = typer.Typer(no_args_is_help=True, help="单个模拟设备（one simulated device）")
console = Console()


@app.callback()
def device() -> None:
    """单个模拟设备（one simulated device）。"""


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="黑匣子记录文件 .kfr（recording）")],
    component: Annotated[str | None, typer.Option(help="记录必须属于这个部件（component）")] = None,
    pty: Annotated[Path | None, typer.Option(help="在这个路径提供串口（serial port at this path）")] = None,
    tcp: Annotated[int | None, typer.Option(min=0, max=65_535, help="在本机这个端口提供网络设备（TCP port）")] = None,
    last: Annotated[
        float, typer.Option(min=0.1, help="回放故障前最后多少秒（last seconds before the fault）")
    ] = LAST_S,
) -> None:
    """按记录回放设备一方，让驱动程序重现现场故障（play the device's side of a recording）。"""
    try:
        recording = decode_recording(file.read_bytes())
        _check(recording, component)
        story = Story.of(recording, last_s=last)
    except (OSError, RecordingError) as error:
        console.print("[red]错误[/]", escape(str(error)), highlight=False)
        raise typer.Exit(_REFUSED) from None
    if (pty is None) == (tcp is None) or (recording.head.link == _IPP and tcp is None):
        console.print("[red]错误[/] 请给出 --pty 或 --tcp 之一；IPP 打印机只能用 --tcp", highlight=False)
        raise typer.Exit(2)
    asyncio.run(_serve(recording, story, pty, tcp or 0))


def _check(recording: Recording, component: str | None) -> None:
    head = recording.head
    if component is not None and head.component != component:
        raise RecordingError(f"记录属于 {head.component}（recording of another component）")
    if head.link == _PCSC:
        raise RecordingError("读卡器 (PC/SC) 的记录只能查看，不能回放（cards cannot be replayed）")


async def _serve(recording: Recording, story: Story, pty: Path | None, tcp: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    head = recording.head
    async with AsyncExitStack() as stack:
        if head.link == _IPP:
            printer = await stack.enter_async_context(IppReplay(story, tcp))
            place = f"ipp://{printer.host}:{printer.port}/ipp/print"
        else:
            core = ReplayCore(story)
            stack.callback(core.close)
            line = PtyServer(core, pty) if pty is not None else TcpServer(core, tcp)
            await stack.enter_async_context(line)
            core.unplug = line.unplug
            place = str(pty) if isinstance(line, PtyServer) else f"{line.host}:{line.port}"
        console.print(f"回放 {head.component} {head.fault} · {place}", highlight=False, soft_wrap=True)
        await stop.wait()
