from __future__ import annotations

from fleet_server.registry.clones import CloneWatch
from fleet_server.registry.model import KioskState, QuarantineReason
from fleet_server.registry.service import IDENTITY_COMPONENT
from support.registry import Desk
from wire.faults import Fault

ALARM = ("zzj-001", IDENTITY_COMPONENT, Fault.KIOSK_CLONED)


async def enrolled(desk: Desk) -> None:
    await desk.assets("zzj-001,A,大厅,门诊,1F,,,k20")
    await desk.enrols("zzj-001", "A")


async def births(desk: Desk, text: str, watch: CloneWatch | None = None) -> list[bool]:
    """`a1x b2y`: boot, session, hardware of each birth, a minute apart."""
    found: list[bool] = []
    for word in text.split():
        desk.clock.advance(60)
        found.append(
            await (watch or desk.clones).note_session(
                "zzj-001", boot=word[0], session=int(word[1:-1]), fingerprint=word[-1], at=desk.clock.utc()
            )
        )
    return found


async def test_two_machines_with_one_identity_are_both_quarantined_and_it_is_an_alarm(desk: Desk) -> None:
    await enrolled(desk)
    assert await births(desk, "a1x b1x a2x") == [False, False, True]
    assert not desk.registry.accepts("zzj-001")
    detail = await desk.registry.detail("zzj-001")
    assert (detail.state, detail.quarantine) == (KioskState.QUARANTINED, QuarantineReason.CLONED)
    assert desk.alarms.open == {ALARM}


async def test_a_birth_delivered_again_accuses_nobody(desk: Desk) -> None:
    await enrolled(desk)
    assert not any(await births(desk, "a1x b2x a1x b2x c3x"))
    assert desk.registry.accepts("zzj-001")


async def test_memory_survives_the_process(desk: Desk) -> None:
    await enrolled(desk)
    await births(desk, "a1x b2x")
    await desk.clones.flush()
    watch = CloneWatch(desk.store, desk.registry, desk.clock)
    await watch.load()
    assert await births(desk, "a3x", watch) == [True]


async def test_release_starts_over_and_a_clone_that_is_still_there_is_found_again(desk: Desk) -> None:
    await enrolled(desk)
    await births(desk, "a1x b1x a2x")
    await desk.registry.release("zzj-001", actor="engineer")
    assert desk.registry.accepts("zzj-001")
    assert not desk.alarms.open
    assert await births(desk, "a3x b2x a4x") == [False, False, True]


async def test_enrolling_anew_ends_the_quarantine_for_the_new_key_only(desk: Desk) -> None:
    await enrolled(desk)
    await births(desk, "a1x b1x a2x")
    await desk.enrols("zzj-001", "A")
    assert desk.registry.accepts("zzj-001")
    [old] = await desk.store.unenforced()
    assert old.cut
    assert await births(desk, "c1x") == [False]


async def test_a_stranger_may_alternate_without_effect(desk: Desk) -> None:
    await births(desk, "a1x b1x a2x")
    assert not desk.directory.kiosks
