"""The receiver of lrzsz, which is none of ours, takes what our sender sends."""

from __future__ import annotations

import asyncio
import os
import random
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path

from agent.firmware.transfer import flash
from agent.links.serial_port import SerialLink
from kit.supervise import spawn
from simulators.devices.transports import PtyServer
from wire.firmware import FlashProfile, FlashProtocol

WAKE = b"\x1bGO"
HOW = FlashProfile(protocol=FlashProtocol.YMODEM, enter=WAKE.hex(), begin_s=10.0, answer_s=5.0, limit_s=30.0)


class Relay:
    """A device whose boot loader is `rb`: it starts when it is woken, and writes what it gets into a folder."""

    def __init__(self, group: asyncio.TaskGroup, folder: Path) -> None:
        self._group = group
        self._folder = folder
        self._send: Callable[[bytes], None] = lambda _: None
        self._input: asyncio.StreamWriter | None = None
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    def received(self, data: bytes) -> None:
        if self._input is not None:
            self._input.write(data)
        elif data == WAKE:
            _ = spawn(self._group, self._receive(), "rb")

    async def _receive(self) -> None:
        process = await asyncio.create_subprocess_exec(
            "rb", "-b", "-q", cwd=self._folder, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        try:
            while said := await process.stdout.read(4_096):
                self._send(said)
        finally:
            if process.returncode is None and not process.stdout.at_eof():
                process.kill()
            self.code.set_result(await process.wait())
            process.stdin.close()


async def _sent(folder: Path, size: int) -> list[int]:
    """Send a file and see that it arrived; what progress was told."""
    image = random.Random(size).randbytes(size)
    got = folder / f"got-{size}"
    await asyncio.to_thread(got.mkdir)
    percents: list[int] = []
    async with asyncio.TaskGroup() as group:
        relay = Relay(group, got)
        async with PtyServer(relay, folder / f"port-{size}") as port:
            make = lambda: SerialLink(str(port.path))  # noqa: E731 - as a profile makes them
            await flash(make, image, "image-1.2.bin", HOW, percents.append, is_in_loader=False)
            assert await relay.code == 0
    assert await asyncio.to_thread(os.listdir, got) == ["image-1.2.bin"]
    assert await asyncio.to_thread((got / "image-1.2.bin").read_bytes) == image
    return percents


async def test_files_arrive_byte_by_byte(tmp_path: Path) -> None:
    """All at once: `rb` lingers for seconds after each."""
    async with asyncio.TaskGroup() as group:
        sent = [spawn(group, _sent(tmp_path, size), f"{size}") for size in (1, 128, 129, 1_024, 66_000)]
    assert [task.result()[-1] for task in sent] == [100] * 5
