"""5,000 events from 20 kiosks while something is killed: nothing is lost, nothing is doubled.

The history checker compares what the kiosks had acknowledged with what is in the store.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from support.history import HistoryWriter, Outcome, read_history, total_queue
from support.hospital import Hospital
from support.identities import install_identity
from support.processes import Child
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

KIOSKS = 20
EVENTS = 5_000
AGENT_EVENTS = 1_500
"""From one kiosk: below what the server takes for flooding."""
ROUNDS = 5
TESTS = Path(__file__).resolve().parent.parent


def promised(history: Path) -> set[int]:
    """The numbers of the events the agent has promised to keep."""
    return {int(event.value) for event in read_history(history).of("put", Outcome.OK)}


def has_promised(history: Path, number: int) -> bool:
    """Whether the agent has promised to keep the event of that number."""
    return history.is_file() and number in promised(history)


def highest(history: Path) -> int:
    """The last event that was tried; it may or may not have been kept, so it is not tried again."""
    return max(int(event.value) for event in read_history(history).of("put", Outcome.INVOKE))


def numbers(site: Hospital) -> list[int]:
    """The numbers of the events in the store."""
    return [int(fields.get("fields", fields)["number"]) for fields in site.events("test.number")]


async def burst(control: str, events: int) -> None:
    """Have every kiosk make events at once."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{control}/burst", json={"events": events // KIOSKS}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def drain_and_judge(site: Hospital, crowd: Child, control: str, history: Path) -> None:
    """Wait for every receipt, let nobody say more, and compare both ends."""
    await site.wait_drained(control)
    crowd.terminate()
    site.write_takes(history)
    total_queue(read_history(history)).require(acknowledged=EVENTS)


async def test_broker_killed_with_default_persistence(site: Hospital, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    await site.start_server()
    crowd, control = await site.start_crowd(KIOSKS, history=history)
    assert site.broker is not None
    for _ in range(ROUNDS):
        await burst(control, EVENTS // ROUNDS)
        await asyncio.sleep(0.05)
        site.broker.kill9()
        await site.broker.restart()
    await drain_and_judge(site, crowd, control, history)


async def test_server_killed(site: Hospital, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    server = await site.start_server()
    crowd, control = await site.start_crowd(KIOSKS, history=history)
    for _ in range(ROUNDS):
        await burst(control, EVENTS // ROUNDS)
        await asyncio.sleep(0.1)
        server.kill9()
        server.start()
    await drain_and_judge(site, crowd, control, history)


@dataclass(frozen=True, slots=True)
class Talker:
    """A real agent on a real disk that says numbers; a number counts as acknowledged when its reporter returned."""

    site: Hospital
    kid: str
    first: int
    last: int
    folder: Path

    @property
    def history(self) -> Path:
        """What it tried and what it was promised."""
        return self.folder / f"{self.kid}.jsonl"

    async def talk_and_die(self) -> Child:
        """Kill it again and again until it has said everything; a last process that sends what is left."""
        data_dir = self.folder / self.kid
        install_identity(self.site, self.kid, data_dir)
        environ = {
            "KIOSK_DATA_DIR": str(data_dir),
            "KIOSK_LOCAL_API__PORT": "0",
            "KIOSK_UPLINK__RESEND_S": "2",
            "KIOSK_UPLINK__BACKFILL_PER_S": "2000",
            "PYTHONPATH": os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", ""))),
        }
        said, step = self.first - 1, (self.last - self.first + 1) // ROUNDS
        while said < self.last:
            process = self._start(said + 1, environ)
            until = min(self.last, said + step)
            await wait_for(partial(has_promised, self.history, until), timeout_s=90.0, what=f"{self.kid}: {until}")
            process.kill9()
            said = highest(self.history)
        return self._start(self.last + 1, environ)

    def _start(self, first: int, environ: Mapping[str, str]) -> Child:
        words = (str(self.history), str(first), str(self.last))
        return self.site.start("system.kiosk_talker", *words, name=self.kid, environ=environ)

    def judge(self, stored: Sequence[int]) -> None:
        """Compare what it was promised with what is in the store."""
        with HistoryWriter(self.history, "store") as writer:
            for number in stored:
                if self.first <= number <= self.last:
                    writer.ok("take", number, key="events")
        total_queue(read_history(self.history)).require(attempted=self.last - self.first + 1)


async def kill_agents(site: Hospital, folder: Path, agents: int, events: int) -> None:
    """Have `agents` say `events` together, each killed several times meanwhile; judge each one."""
    await site.start_server()
    site.run("fleet_server", "lab-identities", "--count", str(agents), "--out", str(site.identities_dir))
    share = events // agents
    talkers = [
        Talker(site, f"sim-{number + 1:04d}", number * share + 1, (number + 1) * share, folder)
        for number in range(agents)
    ]
    async with asyncio.TaskGroup() as group:
        talks = [group.create_task(talker.talk_and_die(), name=talker.kid) for talker in talkers]
    kept = {number for talker in talkers for number in promised(talker.history)}
    await wait_for(lambda: kept.issubset(numbers(site)), timeout_s=90.0, what="all promised events in the store")
    for talk in talks:
        talk.result().terminate()
    stored = numbers(site)
    for talker in talkers:
        talker.judge(stored)


async def test_agent_killed(site: Hospital, tmp_path: Path) -> None:
    await kill_agents(site, tmp_path, 1, AGENT_EVENTS)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_twenty_agents_killed(site: Hospital, tmp_path: Path) -> None:
    await kill_agents(site, tmp_path, KIOSKS, EVENTS)


async def test_two_servers_share_the_load_and_one_is_killed(site: Hospital, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    site.run("fleet_server", "worker-cert", "second")
    assert site.broker is not None
    site.broker.reload()
    await site.start_server()
    second = await site.start_server(worker="second", roles="ingest")
    crowd, control = await site.start_crowd(KIOSKS, history=history)
    for number in range(ROUNDS):
        await burst(control, EVENTS // ROUNDS)
        if number == ROUNDS // 2:
            second.kill9()
    await drain_and_judge(site, crowd, control, history)
