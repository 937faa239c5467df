"""One look at the machine through psutil, in the units of `wire.telemetry.METRICS`.

What a machine does not have (temperature sensors in a virtual one, say) is absent from the sample, never 0.
Seen on Debian 12 with and without sensors; not yet on kiosk hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from kit.clock import Clock

_CPU_SENSORS = ("coretemp", "k10temp", "cpu_thermal", "zenpower", "acpitz")


@dataclass(frozen=True, slots=True)
class _Counters:
    """Counters whose differences are rates."""

    at_s: float
    disk_read: int
    disk_write: int
    network_rx: int
    network_tx: int


class HostSampler:
    """Samples the host and this process. Blocking: a dead network mount can hold up `disk_usage`."""

    def __init__(self, disk_path: Path, clock: Clock) -> None:
        self._disk_path = disk_path
        self._clock = clock
        self._agent = psutil.Process()
        self._last: _Counters | None = None
        psutil.cpu_percent(None)
        self._agent.cpu_percent(None)

    def sample(self) -> dict[str, float]:
        """One sample; rates and CPU cover the time since the previous one."""
        values = self._load() | self._memory() | self._disk() | self._rates() | self._process()
        temperature_c = _temperature_c()
        if temperature_c is not None:
            values["temperature_c"] = temperature_c
        return values

    def _load(self) -> dict[str, float]:
        return {
            "cpu_percent": psutil.cpu_percent(None),
            "load_1m": round(psutil.getloadavg()[0], 2),
            "process_count": float(len(psutil.pids())),
            "uptime_s": round(max(0.0, self._clock.utc().timestamp() - psutil.boot_time()), 1),
        }

    def _memory(self) -> dict[str, float]:
        memory = psutil.virtual_memory()
        return {
            "memory_percent": memory.percent,
            "memory_available_bytes": float(memory.available),
            "swap_percent": psutil.swap_memory().percent,
        }

    def _disk(self) -> dict[str, float]:
        usage = psutil.disk_usage(str(self._disk_path))
        return {"disk_percent": usage.percent, "disk_free_bytes": float(usage.free)}

    def _rates(self) -> dict[str, float]:
        disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
        now = _Counters(
            self._clock.monotonic(),
            disk.read_bytes if disk else 0,
            disk.write_bytes if disk else 0,
            network.bytes_recv,
            network.bytes_sent,
        )
        last, self._last = self._last, now
        values = {"network_errors": float(network.errin + network.errout + network.dropin + network.dropout)}
        if last is None or now.at_s <= last.at_s:
            return values
        span_s = now.at_s - last.at_s
        return values | {
            "disk_read_bytes_per_s": _rate(now.disk_read - last.disk_read, span_s),
            "disk_write_bytes_per_s": _rate(now.disk_write - last.disk_write, span_s),
            "network_rx_bytes_per_s": _rate(now.network_rx - last.network_rx, span_s),
            "network_tx_bytes_per_s": _rate(now.network_tx - last.network_tx, span_s),
        }

    def _process(self) -> dict[str, float]:
        with self._agent.oneshot():
            return {
                "agent_rss_bytes": float(self._agent.memory_info().rss),
                "agent_cpu_percent": self._agent.cpu_percent(None),
                "agent_threads": float(self._agent.num_threads()),
                "agent_open_files": float(self._agent.num_fds()),
            }


def _rate(difference: int, span_s: float) -> float:
    """A counter that was reset gives 0, not a negative rate."""
    return round(max(0, difference) / span_s, 1)


def _temperature_c() -> float | None:
    """The hottest reading of the CPU's sensor, of any sensor where there is none; None without sensors."""
    sensors = psutil.sensors_temperatures()
    named = [sensors[name] for name in _CPU_SENSORS if sensors.get(name)]
    readings = [reading.current for group in (named or list(sensors.values())) for reading in group]
    return max(readings) if readings else None
