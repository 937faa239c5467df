"""Looks at the machine every few seconds, reports telemetry, and says how each condition stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from agent.health.components import ComponentBook
from agent.health.conditions import ConditionBook
from agent.reporter import Reporter
from agent.settings import SamplingSettings
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from kit.clock import Clock
from kit.logs import get_logger
from wire.device_api import ComponentHealth
from wire.faults import Fault
from wire.uplink import Edge

HOST = "host"
SAMPLE_TIMEOUT_S = 5.0
SILENT_AFTER_SAMPLES = 4
log = get_logger(__name__)

Sample = Callable[[], Mapping[str, float]]


class HealthMonitor:
    """Owns the sampling thread; `latest` is the last sample."""

    name = "health"

    def __init__(
        self,
        sample: Sample,
        *,
        extra: Callable[[], Mapping[str, float]],
        reporter: Reporter,
        components: ComponentBook,
        settings: SamplingSettings,
        clock: Clock,
    ) -> None:
        """`extra` adds what other parts know (clock offset, outbox depth) to each sample."""
        self.latest: Mapping[str, float] = {}
        self._sample = sample
        self._extra = extra
        self._reporter = reporter
        self._components = components
        self._settings = settings
        self._clock = clock
        self._conditions = ConditionBook()
        self._thread = DeviceThread("host-sampler")
        self._telemetry_due_s = 0.0
        self._is_failing = False
        components.register(HOST, "host", silent_after_s=settings.health_s * SILENT_AFTER_SAMPLES + SAMPLE_TIMEOUT_S)

    async def run(self) -> None:
        """Sample until cancelled."""
        self._conditions.resume({alarm.code for alarm in self._reporter.open_alarms() if alarm.component == HOST})
        try:
            while True:
                await self.look()
                await asyncio.sleep(self._settings.health_s)
        finally:
            self._thread.close(timeout_s=0.0)

    async def look(self) -> None:
        """One round: sample, report, judge."""
        sample = await self._take()
        if sample is not None:
            self.latest = sample
            self._components.evidence(HOST, ComponentHealth.OK)
            await self._judge(sample)
            if self._clock.monotonic() >= self._telemetry_due_s:
                self._telemetry_due_s = self._clock.monotonic() + self._settings.telemetry_s
                await self._reporter.telemetry(sample)
        for component, edge in self._components.edges():
            await self._reporter.alarm(component, Fault.COMPONENT_SILENT, is_up=edge is Edge.RAISE)

    async def _take(self) -> Mapping[str, float] | None:
        """A sample, None when the machine did not give one in time."""
        if not self._thread.is_usable:
            self._thread = DeviceThread("host-sampler")
        try:
            sample = await self._thread.call(self._sample, timeout_s=SAMPLE_TIMEOUT_S)
        except (CallTimeout, Abandoned, OSError) as error:
            if not self._is_failing:
                log.warning("sample.failed", error=type(error).__name__)
            self._is_failing = True
            return None
        if self._is_failing:
            log.info("sample.recovered")
        self._is_failing = False
        return {**sample, **self._extra()}

    async def _judge(self, sample: Mapping[str, float]) -> None:
        for change in self._conditions.look(sample, self._clock.monotonic()):
            await self._reporter.alarm(
                HOST,
                change.condition.fault,
                is_up=change.edge is Edge.RAISE,
                detail={change.condition.metric: round(change.value, 3)},
            )
