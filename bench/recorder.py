"""What the flight recorder costs a device that is idle: an identity card reader searched for a card every 0.3 s."""

from __future__ import annotations

import tracemalloc
from time import process_time

from agent.devices.id_card_reader.redact import SdtRedactor
from agent.recorder.recorder import About, Frozen, Limits, Recorder, Tap
from bench.harness import Better, Goal, Row, interleave, load_note, row
from kit.clock import ManualClock
from wire.recording import Way

HOUR_SEARCHES = 12_000
SEARCH_S = 0.3
LAPS = 5
_SEARCH, _NO_CARD = bytes.fromhex("AAAAAA96690003200122"), bytes.fromhex("AAAAAA9669000400008084")


def _tap(clock: ManualClock) -> Tap:
    kept: list[Frozen] = []
    recorder = Recorder(clock, Limits(), kept.append)
    return recorder.tap(About("id_reader", "id_card_reader"), SdtRedactor(recorder.digest))


def _idle(tap: Tap, clock: ManualClock) -> None:
    for _ in range(HOUR_SEARCHES):
        clock.advance(SEARCH_S)
        tap.settle(Way.CAME)
        tap.passed(Way.SENT, _SEARCH)
        tap.passed(Way.CAME, _NO_CARD)


async def _frame_us() -> float:
    clock = ManualClock()
    tap = _tap(clock)
    started_s = process_time()
    _idle(tap, clock)
    return (process_time() - started_s) / (2 * HOUR_SEARCHES) * 1e6


async def _hour_kib() -> float:
    clock = ManualClock()
    tracemalloc.start()
    tap = _tap(clock)
    _idle(tap, clock)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tap.tape.is_worth_keeping
    return used / 1_024


async def recorder() -> list[Row]:
    """Processor time per frame, and memory after an hour."""
    figures = await interleave({"frame": _frame_us, "hour": _hour_kib}, LAPS)
    frame_note = f"processor time to redact and keep a frame{load_note()}"
    hour_note = "one idle device after an hour, its ring of ten minutes full"
    return [
        row("recorder.frame", "µs", figures["frame"], None, Goal(Better.LESS, 50.0, absolute=True), frame_note),
        row("recorder.idle_hour", "KiB", figures["hour"], None, Goal(Better.LESS, 100.0, absolute=True), hour_note),
    ]
