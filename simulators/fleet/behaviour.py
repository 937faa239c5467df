"""What a light kiosk does of its own accord, drawn from a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

_NORMAL_LOAD = 18.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Mean intervals in seconds; 0 means never. `clock_skew_s` is the kiosk's wall clock minus true time."""

    heartbeat_s: float = 15.0
    telemetry_s: float = 30.0
    event_s: float = 120.0
    disconnect_s: float = 0.0
    reboot_s: float = 0.0
    clock_skew_s: float = 0.0
    receipt_timeout_s: float = 20.0
    backlog_s: float = 0.0
    """So long was the kiosk offline before it starts, with records of that time to send."""
    backfill_per_s: float = 20.0

    def personal(self, rng: random.Random) -> Behaviour:
        """This behaviour with the small differences between machines."""
        return replace(self, clock_skew_s=self.clock_skew_s + rng.gauss(0.0, 0.05))


CALM = Behaviour()
RESTLESS = Behaviour(disconnect_s=900.0, reboot_s=3_600.0)


def next_in(mean_s: float, rng: random.Random) -> float:
    """Seconds until the next of events that happen every `mean_s` on average; infinite when never."""
    return rng.expovariate(1.0 / mean_s) if mean_s > 0 else math.inf


class HostWalk:
    """Plausible host telemetry: each value wanders around its own level."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._cpu = rng.uniform(0.5, 1.5) * _NORMAL_LOAD
        self._memory = rng.uniform(30.0, 55.0)
        self._disk = rng.uniform(20.0, 60.0)
        self._temperature = rng.uniform(36.0, 48.0)

    def sample(self, *, uptime_s: float, clock_offset_s: float, pending: int) -> dict[str, float]:
        """One sample in the units of `wire.telemetry.METRICS`."""
        self._cpu = _wander(self._cpu, _NORMAL_LOAD, 3.0, (1.0, 99.0), self._rng)
        self._memory = _wander(self._memory, 42.0, 0.6, (15.0, 96.0), self._rng)
        self._disk = min(99.0, self._disk + abs(self._rng.gauss(0.0, 0.002)))
        self._temperature = _wander(self._temperature, 36.0 + self._cpu / 4.0, 0.5, (20.0, 85.0), self._rng)
        return {
            "cpu_percent": round(self._cpu, 1),
            "load_1m": round(self._cpu / 50.0, 2),
            "memory_percent": round(self._memory, 1),
            "memory_available_bytes": round((100.0 - self._memory) / 100.0 * 8e9),
            "disk_percent": round(self._disk, 2),
            "disk_free_bytes": round((100.0 - self._disk) / 100.0 * 118e9),
            "temperature_c": round(self._temperature, 1),
            "network_rx_bytes_per_s": round(abs(self._rng.gauss(4_000.0, 2_500.0))),
            "network_tx_bytes_per_s": round(abs(self._rng.gauss(2_500.0, 1_500.0))),
            "clock_offset_s": round(clock_offset_s + self._rng.gauss(0.0, 0.01), 3),
            "uptime_s": round(uptime_s, 1),
            "agent_rss_bytes": round(self._rng.gauss(49e6, 3e5)),
            "agent_cpu_percent": round(abs(self._rng.gauss(0.2, 0.05)), 2),
            "outbox_rows": float(pending),
        }


def _wander(
    value: float,
    level: float,
    step: float,
    bounds: tuple[float, float],
    rng: random.Random,
) -> float:
    """One step of a random walk that is pulled back to its level."""
    moved = value + rng.gauss(0.0, step) + (level - value) * 0.05
    return min(bounds[1], max(bounds[0], moved))
