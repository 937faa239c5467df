"""What becomes of the devices' news: functions and levels for pages and the fleet, and counters that stay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from agent.devices.types import DeviceStatus
from agent.health.capabilities import AGAIN_S, START_S, Capabilities, Outlets, Plan, read_counters
from agent.health.components import ComponentBook
from agent.health.functions import graph_of
from agent.local_api.consumables import Refilled, verbs
from agent.local_api.device_news import CONSUMABLES, FUNCTIONS, capability_news
from agent.local_api.dialogue import Refusal
from agent.local_api.feed import Feed
from agent.maintenance.service import MaintenanceRefused
from agent.reporter import AuditOutcome, OpenAlarm
from agent.uplink.files import write_whole
from kit.clock import ManualClock
from kit.supervise import spawn
from support.waiting import wait_for
from wire.consumables import CONSUMABLE_LEVEL, CONSUMABLE_USED, ConsumableStatus, ConsumableUnit
from wire.device_api import DeviceMessage
from wire.envelope import Scalar
from wire.faults import Fault, Severity
from wire.functions import FUNCTIONS_CHANGED, FunctionState, FunctionStatus, PatientFunction, decode_fields
from wire.profile import Capability, ConsumableProfile
from wire.uplink import RecordClass

KINDS = {"printer": Capability.RECEIPT_PRINTER, "scanner": Capability.QR_SCANNER}
PAPER = ConsumableProfile(unit=ConsumableUnit.MM, capacity=80_000.0, low=4_000.0)
PLAN = Plan(graph_of(KINDS, {}), {("printer", "paper"): PAPER})


@dataclass
class Fleet:
    """A `Reporter` that keeps what it is told."""

    events: list[tuple[str, str, Mapping[str, Scalar]]] = field(default_factory=list)
    samples: list[tuple[str, Mapping[str, float]]] = field(default_factory=list)
    audits: list[str] = field(default_factory=list)

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        raise AssertionError("alarms are for others")

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
        self.samples.append((component, values))

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        self.audits.append(action)

    def open_alarms(self) -> tuple[OpenAlarm, ...]:
        return ()

    def functions(self) -> list[FunctionStatus]:
        """All functions as the last record has them."""
        fields = [fields for _, name, fields in self.events if name == FUNCTIONS_CHANGED]
        return decode_fields(fields[-1]) if fields else []

    def levels(self) -> list[tuple[str, Scalar]]:
        return [(component, fields["level"]) for component, name, fields in self.events if name == CONSUMABLE_LEVEL]


@dataclass
class Rest:
    """The sink behind."""

    happened_: list[str] = field(default_factory=list)
    records_before_alarms: list[int] = field(default_factory=list)
    fleet: Fleet | None = None

    async def changed(self, seen: Seen) -> None:
        self.records_before_alarms.append(0 if self.fleet is None else len(self.fleet.events))

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        self.happened_.append(name)

    def alive(self, seen: Seen) -> None:
        """Nothing here."""


class Kiosk:
    """Capabilities and everything around them."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.fleet = Fleet()
        self.rest = Rest(fleet=self.fleet)
        self.components = ComponentBook(self.clock)
        self.feed = Feed()
        self.heard: list[DeviceMessage] = []
        self.file = folder / "consumables.json"
        self.feed.join(self.heard.append)
        for name in KINDS:
            self.components.register(name, name, silent_after_s=60.0)
        outlets = Outlets(self.fleet, self.components, capability_news(self.feed), write_whole, self.clock)
        self.it = Capabilities(PLAN, self.rest, outlets, self.file, look_s=0.01)

    async def see(self, component: str, *faults: Fault, state: DeviceState = DeviceState.READY) -> None:
        status = DeviceStatus(dict.fromkeys(faults, ""))
        await self.it.changed(Seen(component, KINDS[component], state, status=status))

    async def start(self) -> None:
        for name in KINDS:
            await self.see(name)

    def state(self, function: PatientFunction) -> FunctionState:
        return next(status.state for status in self.it.functions() if status.function == function)


@pytest.fixture
def kiosk(tmp_path: Path) -> Kiosk:
    return Kiosk(tmp_path)


def _pages(heard: Sequence[DeviceMessage], name: str) -> list[dict[str, object]]:
    return [message.payload for message in heard if message.header.name == name]


async def test_pages_and_the_fleet_hear_when_paper_runs_out(kiosk: Kiosk) -> None:
    assert kiosk.state(PatientFunction.PAY) is FunctionState.UNKNOWN
    await kiosk.start()
    assert {status.state for status in kiosk.fleet.functions()} == {FunctionState.AVAILABLE}
    before, records = len(kiosk.heard), len(kiosk.fleet.events)
    kiosk.clock.advance(5.0)
    await kiosk.see("printer", Fault.PAPER_OUT)
    assert kiosk.state(PatientFunction.PRINT_TICKET) is FunctionState.LOST
    pay = next(status for status in kiosk.fleet.functions() if status.function == PatientFunction.PAY)
    assert (pay.state, pay.lacks, [one.code for one in pay.because]) == ("degraded", "receipt", ["paper_out"])
    (told,) = _pages(kiosk.heard[before:], FUNCTIONS)
    assert len(told["functions"]) == len(PLAN.graph)  # type: ignore[arg-type]  # a list by its schema
    assert kiosk.rest.records_before_alarms[-1] > records, "the record is taken along by the alarm's commit"
    since = {status.function: status.since for status in kiosk.it.functions()}
    assert since[PatientFunction.PAY] == kiosk.clock.utc()
    assert since[PatientFunction.IDENTIFY] != kiosk.clock.utc(), "it was available all the time"


async def test_a_page_that_joins_later_hears_it_too_and_nothing_twice(kiosk: Kiosk) -> None:
    await kiosk.start()
    await kiosk.it.look()
    later: list[DeviceMessage] = []
    kiosk.feed.join(later.append)
    assert [message.header.name for message in later] == [FUNCTIONS, CONSUMABLES]
    before = len(kiosk.heard), len(kiosk.fleet.events)
    await kiosk.start()
    assert (len(kiosk.heard), len(kiosk.fleet.events)) == before


async def test_the_fleet_hears_nothing_while_devices_start_but_not_for_ever(kiosk: Kiosk) -> None:
    await kiosk.see("scanner")
    assert kiosk.fleet.events == []
    assert _pages(kiosk.heard, FUNCTIONS) != [], "pages hear at once"
    kiosk.clock.advance(START_S)
    await kiosk.it.look()
    assert FunctionState.UNKNOWN in {status.state for status in kiosk.fleet.functions()}


async def test_silence_takes_away_what_was_available(kiosk: Kiosk) -> None:
    await kiosk.start()
    kiosk.clock.advance(61.0)
    kiosk.components.edges()
    await kiosk.it.look()
    assert kiosk.state(PatientFunction.IDENTIFY) is FunctionState.UNKNOWN


async def test_the_same_is_said_again_every_hour(kiosk: Kiosk) -> None:
    await kiosk.start()
    before = len(kiosk.fleet.events)
    kiosk.clock.advance(AGAIN_S + 1.0)
    await kiosk.it.look()
    assert [name for _, name, _ in kiosk.fleet.events[before:]] == [FUNCTIONS_CHANGED, CONSUMABLE_LEVEL]


async def test_levels_are_told_on_edges_and_in_steps(kiosk: Kiosk) -> None:
    await kiosk.start()
    await kiosk.it.refilled("printer", "paper")
    assert kiosk.fleet.audits == ["consumable_refilled"]
    for _ in range(60):
        await kiosk.it.happened("printer", CONSUMABLE_USED, {"paper": 200.0})
    assert kiosk.rest.happened_ == []
    assert len(kiosk.fleet.levels()) == 5, "unknown, refilled, and 15 % in steps of 5"
    await kiosk.see("printer", Fault.PAPER_LOW)
    await kiosk.see("printer", Fault.PAPER_OUT)
    assert kiosk.fleet.levels()[-2:] == [("printer", "low"), ("printer", "empty")]
    assert kiosk.fleet.samples[-1] == ("printer", {"paper_left_percent": 0.0})
    await kiosk.it.happened("printer", "Printer.MediaTakenEvent", {})
    assert kiosk.rest.happened_ == ["Printer.MediaTakenEvent"]


async def test_pages_hear_that_nothing_is_known_yet(kiosk: Kiosk) -> None:
    async with asyncio.TaskGroup() as group:
        running = spawn(group, kiosk.it.run(), "capabilities")
        await wait_for(lambda: len(kiosk.heard) == 2, what="the first words")
        running.cancel()
    (told,) = _pages(kiosk.heard, FUNCTIONS)
    assert '"available"' not in json.dumps(told)


async def test_counters_are_on_disk_soon_and_are_gone_on_with(kiosk: Kiosk, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        running = spawn(group, kiosk.it.run(), "capabilities")
        await kiosk.it.refilled("printer", "paper", 50_000.0)
        await wait_for(kiosk.file.exists, what="the file")
        running.cancel()
    again = await asyncio.to_thread(Kiosk, tmp_path)
    (paper,) = again.it.consumables()
    assert (paper.remaining, paper.percent) == (50_000.0, 62.5)


@pytest.mark.parametrize("content", [b"", b"{", b'{"counters": {"a/b": {"remaining": -1}}}', b"\xff" * 100])
def test_a_damaged_file_is_put_aside_and_all_is_unknown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "consumables.json"
    file.write_bytes(content)
    assert read_counters(file) is None
    assert (tmp_path / "consumables.json.bad").read_bytes() == content
    (paper,) = Kiosk(tmp_path).it.consumables()
    assert paper.remaining is None


class _Nothing:
    def event(self, name: str, payload: dict[str, object]) -> None:
        raise AssertionError(name)


class _Engineer:
    def current(self, pass_word: str) -> object:
        if pass_word != "mine":
            raise MaintenanceRefused("notOpen")
        return self


async def test_the_maintenance_page_says_what_was_put_in(kiosk: Kiosk) -> None:
    verb = verbs(kiosk.it, _Engineer())["Maintenance.Refilled"]
    answer = await verb.run(Refilled(pass_word="mine", component="printer", consumable="paper"), _Nothing())
    assert ConsumableStatus.model_validate(answer).percent == 100.0
    with pytest.raises(Refusal) as refused:
        await verb.run(Refilled(pass_word="mine", component="printer", consumable="toner"), _Nothing())
    assert refused.value.code == "noSuchConsumable"
    with pytest.raises(Refusal) as stranger:
        await verb.run(Refilled(pass_word="", component="printer", consumable="paper"), _Nothing())
    assert stranger.value.code == "notOpen"
