"""A power cut: nobody starts to pay, and a kiosk whose battery runs out ends with its patient."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.devices.manager import Seen
from agent.devices.types import DeviceStatus
from agent.health.power import PowerGuard, PowerState
from agent.local_api.dialogue import Refusal
from agent.local_api.lease import SessionLease
from agent.reporter import AuditOutcome
from kit.clock import ManualClock
from kit.supervise import spawn
from support.reporter import SilentReporter
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import Capability


@dataclass
class Rest(SilentReporter):
    """Both what comes after the guard and whom it reports to."""

    passed: list[Seen] = field(default_factory=list)
    audited: list[str] = field(default_factory=list)

    async def changed(self, seen: Seen) -> None:
        self.passed.append(seen)

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        """Not asked for here."""

    def alive(self, seen: Seen) -> None:
        """Not asked for here."""

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        self.audited.append(action)


@dataclass
class Site:
    """A guard at work, with a command that leaves a mark."""

    mark: Path
    power: PowerState = field(default_factory=PowerState)
    rest: Rest = field(default_factory=Rest)

    def __post_init__(self) -> None:
        self.lease = SessionLease(ManualClock(), self.power)
        command = [sys.executable, "-c", f"open({str(self.mark)!r}, 'a').write('off ')"]
        self.guard = PowerGuard(self.power, self.rest, self.rest, self.lease.activity, command)

    async def say(self, *faults: Fault) -> None:
        await self.guard.changed(Seen("ups", Capability.UPS, status=DeviceStatus(dict.fromkeys(faults, ""))))

    def offs(self) -> str:
        return self.mark.read_text() if self.mark.exists() else ""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with _guarding(Site(tmp_path / "mark")) as made:
        yield made


@asynccontextmanager
async def _guarding(site: Site) -> AsyncIterator[Site]:
    async with asyncio.TaskGroup() as group:
        task = spawn(group, site.guard.run(), "guard")
        yield site
        task.cancel()


async def test_on_battery_nobody_starts_to_pay(site: Site) -> None:
    number = site.lease.begin().lease or ""
    site.lease.pay(number, is_paying=True)
    await site.say(Fault.ON_BATTERY)
    site.lease.pay(number, is_paying=True)  # one that runs goes on
    site.lease.pay(number, is_paying=False)
    with pytest.raises(Refusal, match="onBattery"):
        site.lease.pay(number, is_paying=True)
    await site.say()
    site.lease.pay(number, is_paying=True)
    assert site.offs() == ""


async def test_an_idle_kiosk_switches_off_once(site: Site) -> None:
    await site.say(Fault.ON_BATTERY, Fault.BATTERY_LOW)
    await wait_for(lambda: site.offs() == "off ", what="the command")
    await site.say(Fault.ON_BATTERY, Fault.BATTERY_LOW, Fault.BATTERY_WORN)
    with pytest.raises(Refusal, match="batteryLow"):
        site.lease.begin()
    assert site.rest.audited == ["switch_off"]
    assert len(site.rest.passed) == 2


async def test_a_payment_is_waited_for(site: Site) -> None:
    number = site.lease.begin().lease or ""
    site.lease.pay(number, is_paying=True)
    await site.say(Fault.BATTERY_LOW)
    await asyncio.sleep(0)
    assert site.rest.audited == []
    site.lease.end(number)
    await wait_for(lambda: site.offs() == "off ", what="the command")


async def test_mains_that_come_back_keep_it_on(site: Site) -> None:
    number = site.lease.begin().lease or ""
    await site.say(Fault.BATTERY_LOW)
    await site.say()
    site.lease.end(number)
    await site.say(Fault.ON_BATTERY)
    assert site.rest.audited == []
    await site.say(Fault.BATTERY_LOW)
    await wait_for(lambda: site.offs() == "off ", what="the command")
