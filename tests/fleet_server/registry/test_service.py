from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from fleet_server.errors import Refusal
from fleet_server.registry.model import KioskState, PresenceState, QuarantineReason
from fleet_server.registry.ports import AlarmStatus, PresenceStatus
from fleet_server.registry.service import UnknownKiosk
from support.registry import Desk
from wire.faults import Severity

HEAD = "asset_no,serial,place,area,floor,x,y,profile\n"
ONE, TWO, THREE = "zzj-001,A,大厅,门诊,1F,1,2,k20", "zzj-002,B,药房,门诊,2F,,,k20", "zzj-003,,走廊,住院,1F,,,k20"


async def test_an_import_makes_planned_kiosks_that_nobody_listens_to(desk: Desk) -> None:
    report = await desk.registry.import_assets(HEAD + f"{ONE}\n{TWO}", actor="lead", dry_run=False)
    assert (report.created, report.updated, report.errors) == (2, 0, [])
    kiosk = desk.directory.get("zzj-001")
    assert kiosk is not None
    assert kiosk.state is KioskState.PLANNED
    assert not desk.registry.accepts("zzj-001")
    assert desk.auditor.actions == [("assets_imported", None)]


async def test_a_second_import_updates_what_changed_and_only_that(desk: Desk) -> None:
    await desk.assets(ONE, TWO)
    before = desk.directory.number_of("zzj-001")
    moved = ONE.replace("大厅", "急诊")
    report = await desk.registry.import_assets(HEAD + f"{moved}\n{TWO}\n{THREE}", actor="lead", dry_run=False)
    assert (report.created, report.updated, report.unchanged) == (1, 1, 1)
    kiosk = desk.directory.get("zzj-001")
    assert kiosk is not None
    assert (kiosk.place, kiosk.no) == ("急诊", before)


async def test_a_dry_run_changes_nothing_and_says_what_would_be(desk: Desk) -> None:
    report = await desk.registry.import_assets(HEAD + ONE, actor="lead", dry_run=True)
    assert (report.created, report.dry_run) == (1, True)
    await desk.directory.refresh()
    assert not desk.directory.kiosks
    assert not desk.auditor.entries


async def test_one_bad_line_and_nothing_is_imported(desk: Desk) -> None:
    await desk.assets(ONE)
    text = HEAD + f"{ONE.replace('大厅', '急诊')}\n{TWO}\nzzj#3,,走廊,住院,1F,,,k20\n"
    report = await desk.registry.import_assets(text, actor="lead", dry_run=False)
    assert [(item.line, item.column) for item in report.errors] == [(4, "asset_no")]
    assert (report.created, report.updated) == (0, 0)
    kiosk = await desk.store.kiosk("zzj-001")
    assert kiosk is not None
    assert kiosk.place == "大厅"
    assert await desk.store.kiosk("zzj-002") is None


async def test_two_kiosks_may_swap_their_serial_numbers(desk: Desk) -> None:
    await desk.assets(ONE, TWO)
    await desk.assets(ONE.replace(",A,", ",B,"), TWO.replace(",B,", ",A,"))
    assert (await desk.store.kiosk("zzj-001")).serial == "B"  # type: ignore[union-attr]  # imported above


async def test_a_serial_number_of_a_kiosk_that_is_not_in_the_file_is_refused(desk: Desk) -> None:
    await desk.assets(ONE)
    report = await desk.registry.import_assets(HEAD + TWO.replace(",B,", ",A,"), actor="lead", dry_run=False)
    assert [(item.line, item.column) for item in report.errors] == [(2, "serial")]


async def test_a_list_without_serial_numbers_does_not_take_them_away(desk: Desk) -> None:
    await desk.assets(ONE)
    await desk.assets(ONE.replace(",A,", ",,"))
    assert (await desk.store.kiosk("zzj-001")).serial == "A"  # type: ignore[union-attr]  # imported above
    report = await desk.registry.import_assets(
        HEAD + ONE.replace(",A,", ",,") + "\n" + TWO.replace(",B,", ",A,"), actor="lead", dry_run=False
    )
    assert [(item.line, item.column) for item in report.errors] == [(3, "serial")]


async def test_ten_thousand_lines_are_imported(desk: Desk) -> None:
    lines = [f"zzj-{number:05d},S{number},p,a,,,,k20" for number in range(10_000)]
    report = await desk.registry.import_assets(HEAD + "\n".join(lines), actor="lead", dry_run=False)
    assert report.created == 10_000


async def test_a_revoked_kiosk_is_not_listened_to_and_its_certificates_are_on_the_list(desk: Desk) -> None:
    await desk.assets(ONE)
    await desk.enrols("zzj-001", "A")
    assert desk.registry.accepts("zzj-001")
    woken: list[bool] = []
    desk.registry.on_revoked(lambda: woken.append(True))
    await desk.registry.revoke("zzj-001", "stolen", actor="lead")
    assert not desk.registry.accepts("zzj-001")
    [certificate] = await desk.store.unenforced()
    assert (certificate.kid, certificate.cut, certificate.revoke_reason) == ("zzj-001", True, "stolen")
    assert [item.serial for item in await desk.store.revoked_certificates(desk.clock.utc())] == [certificate.serial]
    assert woken == [True]
    assert ("kiosk_revoked", "zzj-001") in desk.auditor.actions


async def test_only_what_has_an_identity_can_be_revoked(desk: Desk) -> None:
    await desk.assets(ONE)
    with pytest.raises(Refusal, match="planned"):
        await desk.registry.revoke("zzj-001", "why", actor="lead")
    with pytest.raises(UnknownKiosk):
        await desk.registry.revoke("zzj-009", "why", actor="lead")


async def test_quarantine_and_release(desk: Desk) -> None:
    await desk.assets(ONE)
    await desk.enrols("zzj-001", "A")
    assert await desk.registry.quarantine("zzj-001", QuarantineReason.FLOODING, "too many records")
    assert not desk.registry.accepts("zzj-001")
    detail = await desk.registry.detail("zzj-001")
    assert (detail.state, detail.quarantine) == (KioskState.QUARANTINED, QuarantineReason.FLOODING)
    with pytest.raises(Refusal, match="cloned"):
        await desk.registry.release("zzj-001", only=QuarantineReason.CLONED)
    await desk.registry.release("zzj-001", only=QuarantineReason.FLOODING)
    assert desk.registry.accepts("zzj-001")


async def test_a_stranger_cannot_be_quarantined(desk: Desk) -> None:
    assert not await desk.registry.quarantine("zzj-001", QuarantineReason.FLOODING, "x")


async def test_a_retired_kiosk_is_out_for_ever(desk: Desk) -> None:
    await desk.assets(ONE)
    await desk.registry.retire("zzj-001", "scrapped", actor="lead")
    with pytest.raises(Refusal):
        await desk.enrols("zzj-001", "A")
    report = await desk.registry.import_assets(HEAD + ONE, actor="lead", dry_run=False)
    assert [(item.line, item.column) for item in report.errors] == [(2, "asset_no")]
    assert desk.registry.areas() == []


async def test_another_process_learns_of_a_change(desk: Desk) -> None:
    from fleet_server.registry.directory import Directory  # noqa: PLC0415 - a second process's copy

    other = Directory(desk.store)
    seen: list[str] = []
    other.on_change(lambda changed: seen.extend(kiosk.kid for kiosk in changed))
    await desk.assets(ONE, TWO)
    await other.refresh()
    await desk.enrols("zzj-001", "A")
    await other.refresh()
    assert other.accepts("zzj-001")
    assert sorted(seen[:2]) == ["zzj-001", "zzj-002"]
    assert seen[2:] == ["zzj-001"]


async def test_areas_count_kiosks_by_floor(sqlite_desk: Desk) -> None:
    await sqlite_desk.assets(ONE, TWO, THREE)
    areas = {area.area: {floor.floor: floor.kiosks for floor in area.floors} for area in sqlite_desk.registry.areas()}
    assert areas == {"门诊": {"1F": 1, "2F": 1}, "住院": {"1F": 1}}


class Known:
    """Stands in for presence, telemetry and alerts."""

    def __init__(self, desk: Desk) -> None:
        self._seen = desk.clock.utc() - timedelta(seconds=12)

    async def presence_now(self) -> Mapping[str, PresenceStatus]:
        return {"zzj-001": PresenceStatus(PresenceState.ONLINE, since=self._seen, last_seen_at=self._seen)}

    async def latest_values(self) -> Mapping[str, Mapping[str, float]]:
        return {"zzj-001": {"cpu_percent": 12.5, "clock_offset_s": 0.5}}

    async def open_alarms(self) -> Mapping[str, AlarmStatus]:
        return {"zzj-001": AlarmStatus(2, Severity.MAJOR)}


async def test_a_view_joins_what_the_features_know(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    await desk.assets(ONE, TWO)
    known = Known(desk)
    desk.statuses.presence = desk.statuses.telemetry = desk.statuses.alarms = known
    first, second = await desk.registry.views()
    assert (first.presence, first.age_s, first.cpu_percent) == (PresenceState.ONLINE, 12.0, 12.5)
    assert (first.alarms_open, first.alarm_worst, first.clock_offset_s) == (2, Severity.MAJOR, 0.5)
    assert (second.presence, second.age_s, second.alarms_open) == (PresenceState.NEVER, None, 0)
