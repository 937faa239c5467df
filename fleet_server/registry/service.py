"""Keeping the registry: assets in, kiosks listened to or not, and what the pages show of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from fleet_server.errors import Refusal
from fleet_server.registry import assets
from fleet_server.registry.directory import Directory
from fleet_server.registry.machine import TABLE
from fleet_server.registry.model import (
    AreaView,
    Asset,
    AssetProblem,
    AssetReport,
    CertificateState,
    CertificateView,
    FloorView,
    Kiosk,
    KioskDetail,
    KioskEvent,
    KioskState,
    KioskView,
    PresenceState,
    QuarantineReason,
)
from fleet_server.registry.ports import (
    AlarmSink,
    AlarmSource,
    AlarmStatus,
    CapabilitySource,
    CapabilityStatus,
    NoStatus,
    PresenceSource,
    PresenceStatus,
    TelemetrySource,
)
from fleet_server.registry.store import RegistryStore, RegistryWork
from fleet_server.staff.ports import AuditEntry, Auditor
from kit.clock import Clock
from kit.logs import get_logger
from kit.machine import step
from wire.faults import Fault
from wire.functions import KIOSK, FunctionReason, FunctionState, FunctionStatus

SYSTEM: Final = "system"
"""The actor of what the server does by itself."""
IDENTITY_COMPONENT: Final = "identity"
log = get_logger(__name__)


@dataclass(slots=True)
class Statuses:
    """Where the live half of a kiosk's view comes from."""

    presence: PresenceSource = field(default_factory=NoStatus)
    telemetry: TelemetrySource = field(default_factory=NoStatus)
    alarms: AlarmSource = field(default_factory=NoStatus)
    capabilities: CapabilitySource = field(default_factory=NoStatus)


class UnknownKiosk(Refusal):
    """No kiosk of that name."""

    def __init__(self) -> None:
        """Refuse with 404."""
        super().__init__("kiosk_unknown", "there is no such kiosk in the registry", status=404)


def next_state(kiosk: Kiosk, event: KioskEvent) -> KioskState:
    """The state after the event.

    Raises:
        Refusal: this kiosk cannot do that now.
    """
    if (kiosk.state, event) not in TABLE:
        raise Refusal("state_conflict", f"a kiosk that is {kiosk.state} cannot be told to {event}")
    return step(TABLE, kiosk.state, event)


class RegistryService:
    """The registry's rules."""

    def __init__(
        self, store: RegistryStore, directory: Directory, clock: Clock, *, auditor: Auditor, statuses: Statuses
    ) -> None:
        """Keep this store; `statuses` may be filled later by the composition root."""
        self._store = store
        self._directory = directory
        self._clock = clock
        self._auditor = auditor
        self._statuses = statuses
        self._alarms: AlarmSink | None = None
        self._on_revoked: list[Callable[[], None]] = []

    def use_alarms(self, sink: AlarmSink) -> None:
        """Raise the registry's own alarms there."""
        self._alarms = sink

    def on_revoked(self, wake: Callable[[], None]) -> None:
        """Have `wake` called after a revocation in this process."""
        self._on_revoked.append(wake)

    def accepts(self, kid: str) -> bool:
        """Whether this kiosk's messages are taken; answered from memory."""
        return self._directory.accepts(kid)

    # -- what the pages show ---------------------------------------------------------------------------------

    async def views(self) -> list[KioskView]:
        """Every kiosk with what is known of it now, by id; from memory, as fresh as the directory."""
        presence = await self._statuses.presence.presence_now()
        values = await self._statuses.telemetry.latest_values()
        alarms = await self._statuses.alarms.open_alarms()
        able = await self._statuses.capabilities.capabilities_now()
        now = self._clock.utc()
        return [
            kiosk_view(kiosk, presence.get(kid), values.get(kid, {}), alarms.get(kid), able.get(kid), now)
            for kid, kiosk in sorted(self._directory.kiosks.items())
        ]

    async def detail(self, kid: str) -> KioskDetail:
        """One kiosk, whole.

        Raises:
            UnknownKiosk: there is none of that name.
        """
        kiosk = await self._store.kiosk(kid)
        if kiosk is None:
            raise UnknownKiosk
        presence = await self._statuses.presence.presence_now()
        values = await self._statuses.telemetry.latest_values()
        alarms = await self._statuses.alarms.open_alarms()
        able = (await self._statuses.capabilities.capabilities_now()).get(kid)
        now = self._clock.utc()
        view = kiosk_view(kiosk, presence.get(kid), values.get(kid, {}), alarms.get(kid), able, now)
        return KioskDetail(
            **dict(view),
            state_since=kiosk.state_since,
            state_reason=kiosk.state_reason,
            quarantine=kiosk.quarantine,
            site=kiosk.site,
            switch=kiosk.switch,
            power_feed=kiosk.power_feed,
            certificates=[
                CertificateView.model_validate(item, from_attributes=True)
                for item in await self._store.certificates_of(kid)
            ],
        )

    def areas(self) -> list[AreaView]:
        """The parts of the hospital that have kiosks, each with its floors."""
        counted: dict[str, dict[str, int]] = {}
        for kiosk in self._directory.kiosks.values():
            if kiosk.state is not KioskState.RETIRED:
                floors = counted.setdefault(kiosk.area, {})
                floors[kiosk.floor] = floors.get(kiosk.floor, 0) + 1
        return [
            AreaView(
                area=area,
                kiosks=sum(floors.values()),
                floors=[FloorView(floor=floor, kiosks=count) for floor, count in sorted(floors.items())],
            )
            for area, floors in sorted(counted.items())
        ]

    # -- the asset list --------------------------------------------------------------------------------------

    async def import_assets(self, content: bytes | str, *, actor: str, dry_run: bool) -> AssetReport:
        """Take over an asset list whole, or nothing of it when a single line is wrong."""
        read = assets.read_bytes if isinstance(content, bytes) else assets.read_text
        listed = await asyncio.to_thread(read, content)  # type: ignore[arg-type]  # both halves of the choice above agree
        if listed.problems:
            return _report(listed.problems, dry_run=dry_run)
        if dry_run:
            plan = _Plan.make(listed, await self._store.kiosks())
            return plan.report(dry_run=True)
        async with self._store.writing() as work:
            plan = _Plan.make(listed, await work.kiosks())
            if not plan.problems:
                await work.put_assets(plan.new, plan.changed, self._clock.utc())
        report = plan.report(dry_run=False)
        if not plan.problems:
            await self._directory.refresh()
            fields = {"created": report.created, "updated": report.updated}
            await self._auditor.record(AuditEntry(actor, "assets_imported", None, "ok", fields))
        return report

    # -- states ----------------------------------------------------------------------------------------------

    async def revoke(self, kid: str, reason: str, *, actor: str) -> None:
        """Take a kiosk's identity away; its live connection is cut within seconds.

        Raises:
            UnknownKiosk: there is none of that name.
            Refusal: it has no identity to take away.
        """
        async with self._store.writing() as work:
            kiosk = await _known(work, kid)
            now = self._clock.utc()
            await work.set_state(kid, next_state(kiosk, KioskEvent.REVOKE), at=now, reason=reason)
            await revoke_certificates(work, kid, reason, now, cut=True)
        await self._changed("kiosk_revoked", kid, actor, reason)
        for wake in self._on_revoked:
            wake()

    async def quarantine(self, kid: str, why: QuarantineReason, reason: str, *, actor: str = SYSTEM) -> bool:
        """Stop listening to a kiosk without taking its identity; False when it is not enrolled."""
        async with self._store.writing() as work:
            kiosk = await work.kiosk(kid)
            if kiosk is None or kiosk.state is not KioskState.ENROLLED:
                return False
            state = next_state(kiosk, KioskEvent.QUARANTINE)
            await work.set_state(kid, state, at=self._clock.utc(), reason=reason, quarantine=why)
        await self._changed("kiosk_quarantined", kid, actor, reason)
        return True

    async def release(self, kid: str, *, actor: str = SYSTEM, only: QuarantineReason | None = None) -> None:
        """Listen to a quarantined kiosk again.

        Args:
            kid: the kiosk.
            actor: who decided it.
            only: do it only when it is in quarantine for this reason.

        Raises:
            UnknownKiosk: there is none of that name.
            Refusal: it is not in quarantine, or for another reason.
        """
        async with self._store.writing() as work:
            kiosk = await _known(work, kid)
            if only is not None and kiosk.quarantine is not only:
                raise Refusal("state_conflict", f"the kiosk is not in quarantine for {only}")
            await work.set_state(kid, next_state(kiosk, KioskEvent.RELEASE), at=self._clock.utc())
            await work.forget_sightings(kid)
        await self._changed("kiosk_released", kid, actor, None)
        await self.clear_identity_alarm(kid)

    async def retire(self, kid: str, reason: str, *, actor: str) -> None:
        """Take a kiosk out of the fleet for ever; its name is never used again.

        Raises:
            UnknownKiosk: there is none of that name.
            Refusal: it still has an identity: revoke it first.
        """
        async with self._store.writing() as work:
            kiosk = await _known(work, kid)
            await work.set_state(kid, next_state(kiosk, KioskEvent.RETIRE), at=self._clock.utc(), reason=reason)
        await self._changed("kiosk_retired", kid, actor, reason)

    async def report_clone(self, kid: str, detail: Mapping[str, str]) -> None:
        """Two machines share an identity: stop listening to both and call somebody."""
        log.warning("kiosk.cloned", kiosk_id=kid, **detail)
        await self.quarantine(
            kid, QuarantineReason.CLONED, "; ".join(f"{name}={value}" for name, value in detail.items())
        )
        if self._alarms is not None:
            await self._alarms.raise_alarm(kid, IDENTITY_COMPONENT, Fault.KIOSK_CLONED, dict(detail))

    async def clear_identity_alarm(self, kid: str) -> None:
        """The identity is in order again."""
        if self._alarms is not None:
            await self._alarms.clear_alarm(kid, IDENTITY_COMPONENT, Fault.KIOSK_CLONED)

    async def _changed(self, action: str, kid: str, actor: str, reason: str | None) -> None:
        await self._directory.refresh()
        fields = {} if reason is None else {"reason": reason}
        await self._auditor.record(AuditEntry(actor, action, kid, "ok", fields))


async def revoke_certificates(work: RegistryWork, kid: str, reason: str, now: datetime, *, cut: bool) -> None:
    """Put every certificate of a kiosk that still opens doors on the revocation list."""
    live = [item.fingerprint for item in await work.certificates_of(kid) if item.state is not CertificateState.REVOKED]
    await work.revoke_certificates(live, at=now, reason=reason, cut=cut)


async def _known(work: RegistryWork, kid: str) -> Kiosk:
    kiosk = await work.kiosk(kid)
    if kiosk is None:
        raise UnknownKiosk
    return kiosk


@dataclass(slots=True)
class _Plan:
    """What an asset list changes."""

    new: list[Asset] = field(default_factory=list)
    changed: list[Asset] = field(default_factory=list)
    unchanged: int = 0
    problems: list[AssetProblem] = field(default_factory=list)

    @classmethod
    def make(cls, listed: assets.AssetList, known: Sequence[Kiosk]) -> _Plan:
        """Compare the list with the registry."""
        plan = cls()
        by_kid = {kiosk.kid: kiosk for kiosk in known}
        named = {asset.kid for asset in listed.assets}
        serials = {kiosk.serial: kiosk.kid for kiosk in known if kiosk.serial and kiosk.kid not in named}
        for line, given in zip(listed.lines, listed.assets, strict=True):
            kiosk = by_kid.get(given.kid)
            asset = _completed(given, kiosk)
            if asset.serial is not None and asset.serial in serials:
                message = f"序列号已属于 {serials[asset.serial]}"
                plan.problems.append(AssetProblem(line=line, column="serial", message=message))
            elif kiosk is not None and kiosk.state is KioskState.RETIRED:
                message = "该资产已报废, 编号不能再用"
                plan.problems.append(AssetProblem(line=line, column="asset_no", message=message))
            elif kiosk is None:
                plan.new.append(asset)
            elif _same(kiosk, asset):
                plan.unchanged += 1
            else:
                plan.changed.append(asset)
            if asset.serial is not None:
                serials.setdefault(asset.serial, asset.kid)
        return plan

    def report(self, *, dry_run: bool) -> AssetReport:
        """What is told to the person."""
        if self.problems:
            return _report(self.problems, dry_run=dry_run)
        return AssetReport(
            created=len(self.new), updated=len(self.changed), unchanged=self.unchanged, dry_run=dry_run, errors=[]
        )


def _report(problems: list[AssetProblem], *, dry_run: bool) -> AssetReport:
    return AssetReport(created=0, updated=0, unchanged=0, dry_run=dry_run, errors=problems)


def _completed(given: Asset, kiosk: Kiosk | None) -> Asset:
    """What the list does not speak of stays: a serial number may have been read from the machine."""
    if kiosk is None:
        return replace(given, site=given.site or "", switch=given.switch or "", power_feed=given.power_feed or "")
    return replace(
        given,
        serial=kiosk.serial if given.serial is None else given.serial,
        site=kiosk.site if given.site is None else given.site,
        switch=kiosk.switch if given.switch is None else given.switch,
        power_feed=kiosk.power_feed if given.power_feed is None else given.power_feed,
    )


def _same(kiosk: Kiosk, asset: Asset) -> bool:
    return all(getattr(kiosk, name) == getattr(asset, name) for name in Asset.__slots__)


def kiosk_view(
    kiosk: Kiosk,
    presence: PresenceStatus | None,
    values: Mapping[str, float],
    alarms: AlarmStatus | None,
    capabilities: CapabilityStatus | None,
    now: datetime,
) -> KioskView:
    """A row of the fleet list."""
    seen = presence or PresenceStatus(PresenceState.NEVER)
    able = capabilities or CapabilityStatus()
    return KioskView(
        kid=kiosk.kid,
        asset_no=kiosk.asset_no,
        serial=kiosk.serial,
        place=kiosk.place,
        area=kiosk.area,
        floor=kiosk.floor,
        x=kiosk.x,
        y=kiosk.y,
        profile=kiosk.profile,
        state=kiosk.state,
        presence=seen.presence,
        presence_since=seen.since,
        last_seen_at=seen.last_seen_at,
        age_s=None if seen.last_seen_at is None else max(0.0, (now - seen.last_seen_at).total_seconds()),
        agent_version=seen.agent_version,
        activity=seen.activity,
        alarms_open=0 if alarms is None else alarms.count,
        alarm_worst=None if alarms is None else alarms.worst,
        cpu_percent=values.get("cpu_percent"),
        memory_percent=values.get("memory_percent"),
        disk_percent=values.get("disk_percent"),
        temperature_c=values.get("temperature_c"),
        clock_offset_s=seen.clock_offset_s if seen.clock_offset_s is not None else values.get("clock_offset_s"),
        functions=[status if seen.presence in _HEARD else _unheard(status, seen) for status in able.functions],
        consumables=list(able.consumables),
    )


_HEARD: Final = frozenset({PresenceState.ONLINE, PresenceState.UNSTABLE})


def _unheard(status: FunctionStatus, seen: PresenceStatus) -> FunctionStatus:
    """What a kiosk said before it fell silent proves nothing."""
    why = FunctionReason(component=KIOSK, code=Fault.KIOSK_OFFLINE.value)
    return FunctionStatus(function=status.function, state=FunctionState.UNKNOWN, because=[why], since=seen.since)
