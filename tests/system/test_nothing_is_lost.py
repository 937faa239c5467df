"""5,000 events from 20 kiosks while something is killed: nothing is lost, nothing is doubled.

The history checker compares what the kiosks had acknowledged with what is in the store.
"""

from __future__ import annotations

import asyncio
import json
import os
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from support.history import HistoryWriter, Outcome, read_history, total_queue
from support.hospital import Hospital
from support.processes import Child
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

KIOSKS = 20
EVENTS = 5_000
AGENT_EVENTS = 1_500
"""From one kiosk: below what the server takes for flooding."""
ROUNDS = 5
TESTS = Path(__file__).resolve().parent.parent


def acknowledged(history: Path) -> int:
    """How many events the agent has promised to keep."""
    return sum(1 for _ in read_history(history).of("put", Outcome.OK))


def has_promised(history: Path, number: int) -> bool:
    """Whether the agent has promised to keep the event of that number."""
    if not history.is_file():
        return False
    return any(event.value == number for event in read_history(history).of("put", Outcome.OK))


def highest(history: Path) -> int:
    """The last event that was tried; it may or may not have been kept, so it is not tried again."""
    return max(int(event.value) for event in read_history(history).of("put", Outcome.INVOKE))


def numbers(site: Hospital) -> list[int]:
    """The numbers of the events in the store."""
    return [int(fields.get("fields", fields)["number"]) for fields in site.events("test.number")]


def install_identity(site: Hospital, kid: str, data_dir: Path) -> None:
    """Give an agent a certificate as its enrolment would have left it."""
    source, slot = site.identities_dir / kid, data_dir / "identity" / "a"
    slot.mkdir(parents=True, mode=0o700)
    for name, file in (("cert.pem", source / "cert.pem"), ("key.pem", source / "key.pem")):
        (slot / name).write_bytes(file.read_bytes())
    (slot / "ca.pem").write_bytes((site.identities_dir / "ca.pem").read_bytes())
    (slot / "key.pem").chmod(0o600)
    certificate = x509.load_pem_x509_certificate((slot / "cert.pem").read_bytes())
    facts = {
        "kid": kid,
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "broker": {"host": "localhost", "port": site.broker_port},
    }
    (slot / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    (data_dir / "identity" / "current").symlink_to("a")


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


async def test_agent_killed(site: Hospital, tmp_path: Path) -> None:
    """A real agent on a real disk: an event counts as acknowledged when the agent's reporter returned."""
    history = tmp_path / "history.jsonl"
    await site.start_server()
    site.run("fleet_server", "lab-identities", "--count", "1", "--out", str(site.identities_dir))
    install_identity(site, "sim-0001", tmp_path / "agent")
    environ = {
        "KIOSK_DATA_DIR": str(tmp_path / "agent"),
        "KIOSK_LOCAL_API__PORT": "0",
        "KIOSK_UPLINK__RESEND_S": "2",
        "KIOSK_UPLINK__BACKFILL_PER_S": "2000",
        "PYTHONPATH": os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", ""))),
    }
    said = 0
    while said < AGENT_EVENTS:
        talker = site.start(
            "system.kiosk_talker", str(history), str(said + 1), str(AGENT_EVENTS), name="agent", environ=environ
        )
        until = min(AGENT_EVENTS, said + AGENT_EVENTS // ROUNDS)
        await wait_for(partial(has_promised, history, until), timeout_s=30.0, what=f"{until} events")
        if until < AGENT_EVENTS:
            talker.kill9()
        said = highest(history)
    await wait_for(
        lambda: len(set(numbers(site))) >= acknowledged(history), timeout_s=60.0, what="all events in the store"
    )
    talker.terminate()
    with HistoryWriter(history, "store") as writer:
        for number in numbers(site):
            writer.ok("take", number, key="events")
    total_queue(read_history(history)).require(attempted=AGENT_EVENTS)


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
