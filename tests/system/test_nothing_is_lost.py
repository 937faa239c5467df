"""5,000 events from 20 kiosks while something is killed: nothing is lost, nothing is doubled.

The history checker compares what the kiosks had acknowledged with what is in the store.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from support.history import read_history, total_queue
from support.hospital import Hospital

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

KIOSKS = 20
EVENTS = 5_000
ROUNDS = 5


async def burst(control: str, events: int) -> None:
    """Have every kiosk make events at once."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{control}/burst", json={"events": events // KIOSKS}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def drain_and_judge(site: Hospital, control: str, history: Path) -> None:
    """Wait for every receipt and compare both ends."""
    await site.wait_drained(control)
    site.write_takes(history)
    total_queue(read_history(history)).require(acknowledged=EVENTS)


async def test_broker_killed_with_default_persistence(site: Hospital, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    await site.start_server()
    _, control = await site.start_crowd(KIOSKS, history=history)
    assert site.broker is not None
    for _ in range(ROUNDS):
        await burst(control, EVENTS // ROUNDS)
        await asyncio.sleep(0.05)
        site.broker.kill9()
        await site.broker.restart()
    await drain_and_judge(site, control, history)


async def test_server_killed(site: Hospital, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    server = await site.start_server()
    _, control = await site.start_crowd(KIOSKS, history=history)
    for _ in range(ROUNDS):
        await burst(control, EVENTS // ROUNDS)
        await asyncio.sleep(0.1)
        server.kill9()
        server.start()
    await drain_and_judge(site, control, history)


async def test_two_servers_share_the_load_and_one_is_killed(site: Hospital, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    site.run("fleet_server", "worker-cert", "second")
    assert site.broker is not None
    site.broker.reload()
    await site.start_server()
    second = await site.start_server(worker="second", roles="ingest")
    _, control = await site.start_crowd(KIOSKS, history=history)
    for number in range(ROUNDS):
        await burst(control, EVENTS // ROUNDS)
        if number == ROUNDS // 2:
            second.kill9()
    await drain_and_judge(site, control, history)
