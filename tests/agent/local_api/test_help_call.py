"""A patient who calls staff is heard once, on disk before the page says so, and until somebody came."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.errors import IdentityError
from agent.local_api.dialogue import Refusal
from agent.local_api.help_call import CallStaff, CheckInCode, HelpCall, check_in_verbs
from agent.local_api.payload import Nothing
from kit.clock import ManualClock
from kit.supervise import TaskGroup
from support.kiosk_outbox import Kiosk, start_kiosk
from support.waiting import wait_for
from wire.device_api import HelpState
from wire.faults import Fault


class Desk:
    """A help call on a real outbox, and what pages heard of it."""

    def __init__(self, kiosk: Kiosk) -> None:
        self.kiosk = kiosk
        self.told: list[HelpState] = []
        self.call = HelpCall(kiosk.reporter, self.told.append)
        self.call.load()

    async def edges(self) -> list[tuple[str, object]]:
        batch = self.kiosk.as_batch(await self.kiosk.everything())
        found = [record for record in batch.records if record.kind == "alarm"]
        return [(record.edge.value, record.detail) for record in found if record.code == Fault.HELP_REQUESTED]


async def test_pressing_ten_times_is_one_call_until_it_is_taken_back(tmp_path: Path, clock: ManualClock) -> None:
    desk = Desk(await start_kiosk(tmp_path, clock))
    try:
        for _ in range(10):
            state = await desk.call.call(CallStaff(screen="pay", case_number="ZF-0001"))
            assert state.is_called
        assert not (await desk.call.withdraw()).is_called
        assert not (await desk.call.withdraw()).is_called
        assert await desk.edges() == [("raise", {"screen": "pay", "case": "ZF-0001"}), ("clear", {})]
        assert [state.is_called for state in desk.told] == [False, True, False]
    finally:
        await desk.kiosk.outbox.close()


async def test_it_survives_a_restart_and_ends_when_staff_comes(tmp_path: Path, clock: ManualClock) -> None:
    before = Desk(await start_kiosk(tmp_path, clock))
    since = (await before.call.call(CallStaff(screen="idle"))).since
    await before.kiosk.outbox.close()
    clock.advance(86_400)
    desk = Desk(await start_kiosk(tmp_path, clock, host_boot="host-2"))
    try:
        assert [(state.is_called, state.since) for state in desk.told] == [(True, since)]
        async with TaskGroup() as group:
            running = group.create_task(desk.call.run())
            desk.call.answered()
            await wait_for(lambda: not desk.call.state().is_called, what="the call ends")
            running.cancel()
        assert [edge for edge, _ in await desk.edges()] == ["raise", "clear"]
    finally:
        await desk.kiosk.outbox.close()


async def test_somebody_who_came_before_ends_no_later_call(tmp_path: Path, clock: ManualClock) -> None:
    desk = Desk(await start_kiosk(tmp_path, clock))
    try:
        desk.call.answered()
        assert (await desk.call.call(CallStaff(screen="home"))).is_called
        async with TaskGroup() as group:
            running = group.create_task(desk.call.run())
            desk.call.answered()
            await wait_for(lambda: not desk.call.state().is_called, what="the call ends")
            running.cancel()
    finally:
        await desk.kiosk.outbox.close()


@pytest.mark.parametrize(
    "payload",
    [
        {"screen": "Zhang San"},
        {"screen": ""},
        {"screen": "pay", "case_number": "110101199003070000 张三"},
        {"screen": "pay", "name": "张三"},
        {},
    ],
)
def test_a_call_has_no_room_for_who_it_is(payload: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        CallStaff.model_validate(payload)


class Silent:
    """A command that says nothing before it ends."""

    def event(self, name: str, payload: dict[str, object]) -> None:
        raise AssertionError(name)


async def test_a_code_to_check_in_serves_all_who_ask_within_its_time(clock: ManualClock) -> None:
    made: list[str] = []

    async def make() -> str:
        made.append(f"HKC1.{len(made)}")
        return made[-1]

    verb = check_in_verbs(make, clock)["Kiosk.CheckInCode"]

    async def asked() -> CheckInCode:
        return CheckInCode.model_validate(await verb.run(Nothing(), Silent()))

    first = await asked()
    clock.advance(39)
    assert await asked() == first
    clock.advance(2)
    again = await asked()
    assert (again.code, again.expires_at) == ("HKC1.1", first.expires_at + timedelta(seconds=41))


async def test_without_a_key_there_is_no_code(clock: ManualClock) -> None:
    async def nobody() -> None:
        return None

    async def broken() -> str:
        raise IdentityError("the key program failed")

    for make, code in ((nobody, "notEnrolled"), (broken, "keyDown")):
        with pytest.raises(Refusal, match=code):
            await check_in_verbs(make, clock)["Kiosk.CheckInCode"].run(Nothing(), Silent())
