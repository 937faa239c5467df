"""What the kernel knows of a process: processor time and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB = 1_024


def cpu_s(pid: int) -> float:
    """User and system time so far, of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def rss_mib(pid: int) -> float:
    """Resident memory, shared pages included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / _KIB_PER_MIB
    raise ValueError(f"no Rss of {pid}")


@dataclass(slots=True)
class CpuMeter:
    """Processor time of some processes from its making on."""

    pids: tuple[int, ...]
    started_s: float = 0.0
    started_cpu_s: float = 0.0

    def __post_init__(self) -> None:
        """Start."""
        self.started_s = monotonic()
        self.started_cpu_s = sum(map(cpu_s, self.pids))

    @property
    def used_s(self) -> float:
        """Seconds of one core so far."""
        return sum(map(cpu_s, self.pids)) - self.started_cpu_s

    @property
    def percent(self) -> float:
        """Share of one core so far."""
        return 100.0 * self.used_s / (monotonic() - self.started_s)


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of all lie; the worst one for few values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
