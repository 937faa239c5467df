"""The monitor: real samples of this machine, a machine that does not answer, conditions that become alarms."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.health.components import ComponentBook
from agent.health.machine import fingerprint, host_facts
from agent.health.monitor import HealthMonitor
from agent.health.sampler import HostSampler
from agent.reporter import OpenAlarm
from agent.settings import SamplingSettings
from kit.clock import ManualClock, SystemClock
from wire.faults import Fault, Severity
from wire.telemetry import METRICS
from wire.uplink import RecordClass

pytestmark = pytest.mark.leaves_threads("the sampler's thread ends with `run`, which most of these tests do not start")


class Notebook:
    """A reporter that writes down what it is told."""

    def __init__(self) -> None:
        self.samples: list[Mapping[str, float]] = []
        self.alarms: list[tuple[str, Fault, bool]] = []

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> bool:
        del severity, detail
        self.alarms.append((component, fault, is_up))
        return True

    async def event(
        self,
        component: str,
        name: str,
        fields: Mapping[str, object] | None = None,
        *,
        record_class: RecordClass = RecordClass.P1,
    ) -> None:
        raise AssertionError((component, name, fields, record_class))

    async def telemetry(self, values: Mapping[str, float], *, component: str = "host") -> None:
        assert component == "host"
        self.samples.append(values)

    async def audit(self, *arguments: object, **keywords: object) -> None:
        raise AssertionError((arguments, keywords))

    def open_alarms(self) -> tuple[OpenAlarm, ...]:
        return ()


def monitor(sample: Mapping[str, float] | None, clock: ManualClock, notebook: Notebook) -> HealthMonitor:
    """A monitor over a machine that always gives `sample`, or never answers when None."""

    def mute() -> Mapping[str, float]:
        raise OSError("no such device")

    return HealthMonitor(
        mute if sample is None else lambda: sample,
        extra=lambda: {"outbox_rows": 3.0},
        reporter=notebook,
        components=ComponentBook(clock),
        settings=SamplingSettings(),
        clock=clock,
    )


def test_this_machine_gives_a_whole_sample(tmp_path: Path) -> None:
    sampler = HostSampler(tmp_path, SystemClock())
    sampler.sample()
    sample = sampler.sample()
    assert set(sample) <= set(METRICS)
    assert {"cpu_percent", "memory_percent", "disk_percent", "agent_rss_bytes", "network_rx_bytes_per_s"} <= set(sample)
    for name, value in sample.items():
        metric = METRICS[name]
        assert math.isfinite(value), name
        assert metric.minimum is None or value >= metric.minimum, name
        assert metric.maximum is None or value <= metric.maximum, name


def test_this_machine_has_a_steady_fingerprint() -> None:
    facts = host_facts()
    assert facts.fingerprint == fingerprint()
    assert len(facts.fingerprint) == 32
    assert facts.cpu_count is not None


async def test_telemetry_is_reported_at_its_own_pace() -> None:
    clock, notebook = ManualClock(), Notebook()
    health = monitor({"cpu_percent": 5.0}, clock, notebook)
    for _ in range(13):
        await health.look()
        clock.advance(5.0)
    assert notebook.samples == [{"cpu_percent": 5.0, "outbox_rows": 3.0}] * 3


async def test_a_lasting_condition_becomes_an_alarm() -> None:
    clock, notebook = ManualClock(), Notebook()
    health = monitor({"disk_percent": 99.0}, clock, notebook)
    for _ in range(8):
        await health.look()
        clock.advance(5.0)
    assert [alarm for alarm in notebook.alarms if alarm[2]] == [
        ("host", Fault.DISK_FULL, True),
        ("host", Fault.DISK_LOW, True),
    ]


async def test_a_machine_that_does_not_answer_is_silent_not_ok() -> None:
    clock, notebook = ManualClock(), Notebook()
    health = monitor(None, clock, notebook)
    for _ in range(6):
        await health.look()
        clock.advance(5.0)
    await health.look()
    assert notebook.samples == []
    assert notebook.alarms == [("host", Fault.COMPONENT_SILENT, True)]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> None:
    """Sampler threads are daemons that wait for work; none of them may be stuck inside a call."""
    assert all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate())
