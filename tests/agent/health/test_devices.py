"""What news of devices becomes: alarms, evidence, events."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from agent.devices.types import DeviceStatus
from agent.health.components import ComponentBook
from agent.health.devices import DeviceNews
from agent.reporter import AuditOutcome, OpenAlarm, severity_of
from kit.clock import ManualClock
from wire.device_api import ComponentHealth
from wire.envelope import Scalar
from wire.faults import Fault, Severity
from wire.profile import Capability
from wire.uplink import RecordClass


class FakeReporter:
    """Keeps alarms as the real one does, in memory."""

    def __init__(self) -> None:
        self.up: dict[tuple[str, str], OpenAlarm] = {}
        self.events: list[tuple[str, str, Mapping[str, Scalar]]] = []

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        key = (component, fault.value)
        if is_up == (key in self.up):
            return False
        if is_up:
            since = ManualClock().utc()
            self.up[key] = OpenAlarm(component, fault.value, severity_of(fault, severity), since, detail or {})
        else:
            del self.up[key]
        return True

    async def event(
        self,
        component: str,
        name: str,
        fields: Mapping[str, Scalar] | None = None,
        *,
        record_class: RecordClass = RecordClass.P1,
    ) -> None:
        self.events.append((component, name, fields or {}))

    async def telemetry(self, values: Mapping[str, float], *, component: str = "host") -> None:
        raise AssertionError("devices send no samples")

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        raise AssertionError("devices prove nothing")

    def open_alarms(self) -> tuple[OpenAlarm, ...]:
        return tuple(self.up.values())

    @property
    def codes(self) -> set[str]:
        return {code for _, code in self.up}


def _seen(state: DeviceState, *faults: Fault, why: Fault | None = None) -> Seen:
    status = DeviceStatus(faults=dict.fromkeys(faults, ""))
    return Seen("printer", Capability.RECEIPT_PRINTER, state, status=status, fault=why)


@pytest.fixture
def reporter() -> FakeReporter:
    return FakeReporter()


@pytest.fixture
def components() -> ComponentBook:
    return ComponentBook(ManualClock())


@pytest.fixture
def news(reporter: FakeReporter, components: ComponentBook) -> DeviceNews:
    made = DeviceNews(reporter, components)
    made.expect("printer", "receipt_printer", silent_after_s=None)
    return made


async def test_raised_and_cleared(news: DeviceNews, reporter: FakeReporter) -> None:
    await news.changed(_seen(DeviceState.READY, Fault.PAPER_LOW))
    await news.changed(_seen(DeviceState.READY, Fault.PAPER_OUT))
    assert reporter.codes == {"paper_out"}
    await news.changed(_seen(DeviceState.READY))
    assert reporter.codes == set()


async def test_what_was_up_stays_up_while_the_device_is_away(news: DeviceNews, reporter: FakeReporter) -> None:
    await news.changed(_seen(DeviceState.READY, Fault.PAPER_OUT))
    await news.changed(_seen(DeviceState.ABSENT, Fault.PAPER_OUT, why=Fault.UNPLUGGED))
    assert reporter.codes == {"paper_out", "unplugged"}
    await news.changed(_seen(DeviceState.FAULTED, Fault.PAPER_OUT, why=Fault.NOT_RESPONDING))
    assert reporter.codes == {"paper_out", "not_responding"}
    await news.changed(_seen(DeviceState.STARTING, Fault.PAPER_OUT, why=Fault.NOT_RESPONDING))
    assert reporter.codes == {"paper_out", "not_responding"}
    await news.changed(_seen(DeviceState.READY))
    assert reporter.codes == set()


async def test_an_alarm_of_an_earlier_run_is_cleared_by_the_device_only(
    news: DeviceNews, reporter: FakeReporter
) -> None:
    await reporter.alarm("printer", Fault.PAPER_JAM, is_up=True)
    await reporter.alarm("host", Fault.DISK_LOW, is_up=True)
    await news.changed(_seen(DeviceState.STARTING))
    assert reporter.codes == {"paper_jam", "disk_low"}
    await news.changed(_seen(DeviceState.READY))
    assert reporter.codes == {"disk_low"}


async def test_silence_is_not_the_devices_to_clear(news: DeviceNews, reporter: FakeReporter) -> None:
    await reporter.alarm("printer", Fault.COMPONENT_SILENT, is_up=True)
    await news.changed(_seen(DeviceState.READY))
    assert reporter.codes == {"component_silent"}


@pytest.mark.parametrize(
    ("seen", "health"),
    [
        (_seen(DeviceState.READY), ComponentHealth.OK),
        (_seen(DeviceState.BUSY, Fault.PAPER_LOW), ComponentHealth.DEGRADED),
        (_seen(DeviceState.READY, Fault.PAPER_OUT), ComponentHealth.FAULTED),
        (_seen(DeviceState.ABSENT, why=Fault.UNPLUGGED), ComponentHealth.FAULTED),
        (_seen(DeviceState.STARTING), ComponentHealth.UNKNOWN),
    ],
)
def test_evidence(news: DeviceNews, components: ComponentBook, seen: Seen, health: ComponentHealth) -> None:
    news.alive(seen)
    (view,) = components.views()
    assert view.health is health


async def test_events_keep_their_name(news: DeviceNews, reporter: FakeReporter) -> None:
    await news.happened("printer", "Printer.MediaTakenEvent", {})
    assert reporter.events == [("printer", "device.event", {"name": "Printer.MediaTakenEvent"})]
