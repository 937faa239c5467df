"""Maintenance among devices that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from agent.devices.machine import DeviceState
from agent.devices.manager import NotUsable, Seen
from agent.devices.types import DeviceFacts, DeviceStatus, Driver
from agent.errors import DeviceFault, IdentityError
from agent.maintenance.access import CodeFile
from agent.maintenance.service import Maintenance, Signature, Surroundings
from agent.reporter import AuditOutcome, OpenAlarm
from kit.clock import ManualClock
from wire.envelope import Scalar
from wire.faults import Fault, Severity
from wire.presence import Activity
from wire.profile import Capability
from wire.uplink import RecordClass

T = TypeVar("T")


class Devices:
    """Devices whose driver is whatever the test put there."""

    def __init__(self) -> None:
        self.drivers: dict[str, object] = {}
        self._seen: dict[str, Seen] = {}

    def put(self, component: str, kind: Capability, driver: object) -> None:
        self.drivers[component] = driver
        facts = DeviceFacts(model="Test")
        self._seen[component] = Seen(component, kind, state=DeviceState.READY, facts=facts)

    def become(
        self,
        component: str,
        *,
        state: DeviceState = DeviceState.READY,
        faults: Mapping[Fault, str] | None = None,
        values: Mapping[str, Scalar] | None = None,
    ) -> None:
        status = DeviceStatus(faults or {}, values or {})
        self._seen[component] = replace(self._seen[component], state=state, status=status)

    def seen(self) -> list[Seen]:
        return list(self._seen.values())

    async def use(self, component: str, work: Callable[[Driver], Awaitable[T]]) -> T:
        if self._seen[component].state is not DeviceState.READY:
            raise NotUsable(Fault.NOT_RESPONDING)
        return await work(cast("Driver", self.drivers[component]))


@dataclass
class Reporter:
    """Keeps what it was told."""

    audits: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        return False

    async def event(
        self,
        component: str,
        name: str,
        fields: Mapping[str, Scalar] | None = None,
        *,
        record_class: RecordClass = RecordClass.P1,
    ) -> None:
        self.events.append((component, name))

    async def telemetry(self, values: Mapping[str, float], *, component: str = "host") -> None:
        raise AssertionError

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        found = {"actor": actor, "action": action, "outcome": outcome, "target": target, "fields": dict(fields or {})}
        self.audits.append(found)

    def open_alarms(self) -> tuple[OpenAlarm, ...]:
        return ()

    def of(self, action: str) -> list[dict[str, Any]]:
        return [audit for audit in self.audits if audit["action"] == action]


class Signer:
    """Signs nothing; fails on demand."""

    def __init__(self) -> None:
        self.signed: list[str] = []
        self.is_broken = False
        self.has_identity = True

    async def sign(self, text: str) -> Signature | None:
        if self.is_broken:
            raise IdentityError("no key")
        self.signed.append(text)
        return Signature("c2ln", "1f") if self.has_identity else None


@dataclass
class Bench:
    """Maintenance and everything around it."""

    maintenance: Maintenance
    devices: Devices
    reporter: Reporter
    signer: Signer
    clock: ManualClock
    codes: CodeFile
    activity: Activity = Activity.IDLE
    told: list[bool] = field(default_factory=list)
    refilled: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def refill(self, component: str, consumable: str) -> None:
        """Keeps what is new; nothing is counted at report printers here."""
        if component == "report_printer":
            raise KeyError(component)
        self.refilled.append((component, consumable))

    async def enter(self) -> str:
        """An engineer comes in; the pass."""
        visit = await self.maintenance.open(await self.code(), "李工")
        return visit.pass_word

    async def code(self) -> str:
        """A fresh one-time code."""
        return await asyncio.to_thread(self.codes.issue, self.clock)

    def fail(self, fault: Fault) -> Callable[..., Awaitable[Any]]:
        """An operation that fails."""

        async def operation(*_: object, **__: object) -> None:
            raise DeviceFault(fault)

        return operation


def make_bench(folder: Path) -> Bench:
    """Maintenance with no device yet, in this folder."""
    clock = ManualClock(datetime(2026, 3, 1, 8, 0, tzinfo=UTC))
    devices, reporter, signer = Devices(), Reporter(), Signer()
    codes = CodeFile(folder / "maintenance-code", "boot")

    async def refill(component: str, consumable: str) -> None:
        await made.refill(component, consumable)

    around = Surroundings(
        devices=devices,
        codes=codes,
        activity=lambda: made.activity,
        reporter=reporter,
        signer=signer,
        clock=clock,
        kiosk=lambda: "zzj-021",
        refilled=refill,
        told=lambda: made.told.append(made.maintenance.is_open),
        check_s=0.0,
    )
    made = Bench(Maintenance(around), devices, reporter, signer, clock, codes)
    return made
