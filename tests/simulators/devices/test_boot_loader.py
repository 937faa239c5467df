"""The boot loader of simulated devices takes what the sender of lrzsz, which is none of ours, sends."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from simulators.devices.boot_loader import WAKE, BootLoader, image_of
from simulators.devices.qr_scanner import QrScannerCore
from simulators.devices.transports import PtyServer

MODEL = "LAB-SCAN"


@asynccontextmanager
async def _sending(folder: Path, image: bytes) -> AsyncIterator[tuple[BootLoader, list[str], int]]:
    """Send a file to a woken boot loader; what it installed, and how `sb` ended."""
    installed: list[str] = []
    boot = BootLoader(QrScannerCore(), MODEL, installed.append, ask_s=0.1, boot_s=0.0)
    file = folder / "image.bin"
    await asyncio.to_thread(file.write_bytes, image)
    async with PtyServer(boot, folder / "port") as line:
        boot.received(WAKE)
        port = await asyncio.to_thread(os.open, line.path, os.O_RDWR | os.O_NOCTTY)
        try:
            process = await asyncio.create_subprocess_exec(
                "sb", "-k", "-q", str(file), stdin=port, stdout=port, stderr=DEVNULL
            )
            async with asyncio.timeout(20.0):
                code = await process.wait()
            yield boot, installed, code
        finally:
            os.close(port)
            boot.close()


@pytest.mark.parametrize("size", [1, 1_000, 1_024, 70_000])
async def test_it_installs_what_it_got(tmp_path: Path, size: int) -> None:
    async with _sending(tmp_path, image_of(MODEL, "R07", size)) as (boot, installed, code):
        assert (installed, boot.flashed, boot.is_erased, code) == (["R07"], 1, False, 0)


async def test_an_image_of_another_model(tmp_path: Path) -> None:
    async with _sending(tmp_path, image_of("OTHER", "R07", 3_000)) as (boot, installed, code):
        assert (installed, boot.is_awake) == ([], True)
        assert code != 0


async def test_an_image_that_is_damaged(tmp_path: Path) -> None:
    image = image_of(MODEL, "R07", 3_000)
    async with _sending(tmp_path, image[:-1] + bytes((image[-1] ^ 1,))) as (boot, installed, code):
        assert (installed, boot.is_awake, boot.is_erased, code) == ([], True, True, 0)


def test_images_are_the_same_every_time() -> None:
    assert image_of(MODEL, "R1") == image_of(MODEL, "R1")
    assert (
        len({image_of(MODEL, "R1"), image_of(MODEL, "R2"), image_of("OTHER", "R1"), image_of(MODEL, "R1", seed=2)}) == 4
    )
