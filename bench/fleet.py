"""The fleet server and its page under light kiosks: cost at rest, a crowd of a thousand, viewers, a backlog."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from bench.figures import CpuMeter, percentile, rss_mib
from bench.harness import Better, Goal, Row, load_note, row, say
from bench.live import Probe, viewers
from bench.site import Crowd, Site, site
from support.waiting import wait_for

KIOSKS = 100
MANY = 1_000
VIEWERS = 20
WINDOW_S = 60.0
SETTLE_S = 15.0
BACKLOG_HOURS = 8
BURST_EVENTS = 5
OUTAGE_S = 2.0


async def fleet_server() -> list[Row]:
    """What 100 kiosks cost the fleet server, all roles in one process on SQLite."""
    async with site() as place:
        await place.start_server()
        crowd = await place.start_crowd(KIOSKS)
        await asyncio.sleep(SETTLE_S)
        meter = CpuMeter((place.server_pid,))
        before = await crowd.totals()
        await asyncio.sleep(WINDOW_S)
        percent, memory = meter.percent, rss_mib(place.server_pid)
        after = await crowd.totals()
        note = f"{after['acknowledged'] - before['acknowledged']} records in {WINDOW_S:g} s{load_note()}"
    return [
        row("fleet_server.cpu_100_kiosks", "% of a core", percent, None, Goal(Better.LESS, 10.0, absolute=True), note),
        row("fleet_server.rss_100_kiosks", "MiB", memory, None, Goal(Better.LESS, 200.0, absolute=True), note),
    ]


async def crowd() -> list[Row]:
    """1,000 light kiosks for a minute, then a restart of the broker in the middle of their events."""
    async with site() as place:
        await place.start_server()
        ledger = place.hospital.folder / "ledger.jsonl"
        many = await place.start_crowd(MANY, "--history", str(ledger), "--receipt-timeout-s", "5")
        meter = CpuMeter((place.server_pid,))
        fewest = await _fewest_connected(many)
        percent, memory, crowd_memory = meter.percent, rss_mib(place.server_pid), rss_mib(many.child.pid)
        say(f"server {percent:.1f} % and {memory:.0f} MiB, crowd {crowd_memory:.0f} MiB")
        drained = await place.hospital.wait_drained(many.control)
        back_s = await _restart_broker(place, many)
        await place.hospital.wait_drained(many.control, timeout_s=90.0)
        lost, doubled = _compare(place, ledger)
        note = f"server {percent:.1f} % of a core, {memory:.0f} MiB{load_note()}"
    exactly = Goal(Better.LESS, 0.0, absolute=True)
    return [
        row("crowd.connected_60_s", "kiosks", fewest, None, Goal(Better.MORE, MANY, absolute=True), note),
        row("crowd.unacknowledged", "records", drained["pending"], None, exactly, f"of {drained['records']}"),
        row("crowd.back_after_restart", "s", back_s, None, Goal(Better.LESS, 30.0, absolute=True)),
        row("crowd.lost_events", "records", lost, None, exactly, f"{doubled} doubled"),
    ]


async def _fewest_connected(many: Crowd) -> int:
    until_s, fewest = monotonic() + WINDOW_S, MANY
    while monotonic() < until_s:
        fewest = min(fewest, (await many.totals())["connected"])
        await asyncio.sleep(1.0)
    return fewest


async def _restart_broker(place: Site, many: Crowd) -> float:
    """Restart the broker while every kiosk has events to send; seconds until all are connected again."""
    broker = place.hospital.broker
    assert broker is not None
    connects = (await many.totals())["connects"]
    await many.post("/burst", {"events": BURST_EVENTS})
    started_s = monotonic()
    broker.stop()
    await broker.start()

    async def back() -> bool:
        found = await many.totals()
        return bool(found["connected"] == MANY and found["connects"] >= connects + MANY)

    await many.post("/burst", {"events": BURST_EVENTS})
    await wait_for(back, timeout_s=90.0, what="every kiosk to be back", poll_s=0.1)
    return monotonic() - started_s


def _compare(place: Site, ledger: Path) -> tuple[int, int]:
    """Records that were made and are not in the store, and rows that are there twice."""
    lines = (json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines())
    made = {(line["k"], line["v"]) for line in lines if line["o"] == "invoke"}
    found = [(f"{kid}/{epoch}", seq) for kid, epoch, seq in place.hospital.stored()]
    return len(made - set(found)), len(found) - len(set(found))


async def live() -> list[Row]:
    """An alarm on one of 1,000 kiosks until each of 20 viewers has its row."""
    async with site() as place:
        await place.start_server()
        many = await place.start_crowd(MANY)
        async with _watched(place, many, VIEWERS) as probe:
            meter = CpuMeter((place.server_pid,))
            await probe.run(WINDOW_S)
            percent = meter.percent
        note = f"p50 {percentile(probe.seconds, 0.5):.2f} s, {len(probe.seconds)} rows, server {percent:.0f} %"
        bytes_per_s = probe.received_bytes / WINDOW_S / VIEWERS
        say(f"{bytes_per_s / 1024:.0f} KiB/s per viewer")
    p99 = percentile(probe.seconds, 0.99)
    return [
        row("live.p99_1000_kiosks", "s", p99, None, Goal(Better.LESS, 1.0, absolute=True), note + load_note()),
        row("live.rows_missing", "rows", probe.missing, None, Goal(Better.LESS, 0.0, absolute=True)),
    ]


async def backlog() -> list[Row]:
    """100 kiosks come back after 8 h; how long the backlog takes, and what live rows feel of it."""
    async with site() as place:
        await place.start_server()
        started_s = monotonic()
        crowd_100 = await place.start_crowd(KIOSKS, "--backlog-hours", str(BACKLOG_HOURS))
        total = (await crowd_100.totals())["pending"]
        async with _watched(place, crowd_100, 1) as probe:
            meter = CpuMeter((place.server_pid,))
            probing = asyncio.create_task(probe.run(600.0))
            while (left := (await crowd_100.totals())["pending"]) > KIOSKS * 2:
                say(f"{left} of {total} left (server {meter.percent:.0f} %)")
                await asyncio.sleep(10.0)
            drained_s = monotonic() - started_s
            percent, memory = meter.percent, rss_mib(place.server_pid)
            probing.cancel()
            await asyncio.wait([probing])
        p50, p99 = percentile(probe.seconds, 0.5), percentile(probe.seconds, 0.99)
        rows = sum(1 for _ in place.hospital.stored())
    note = f"{rows} rows, server {percent:.0f} % of a core, {memory:.0f} MiB"
    return [
        row("backlog.drained_100_x_8h", "s", drained_s, None, Goal(Better.LESS, 600.0, absolute=True), note),
        row(
            "backlog.live_p99",
            "s",
            p99,
            None,
            Goal(Better.LESS, 1.0, absolute=True),
            f"p50 {p50:.2f} s, {len(probe.seconds)} rows{load_note()}",
        ),
    ]


@asynccontextmanager
async def _watched(place: Site, many: Crowd, number: int) -> AsyncIterator[Probe]:
    """A probe with that many viewers signed in."""
    async with place.signed_in() as http, viewers(http, place.hospital.base_url, number) as found:
        kids = sorted(entry.name for entry in place.hospital.identities_dir.iterdir() if entry.is_dir())
        yield Probe(many, kids, found)
