"""The button "call staff": an alarm that stays up until somebody came or the patient takes it back.

It says where on the page the patient is and, with money under way, the case number; nothing says who it is. A call
survives a restart with the alarm it is, and no time ends it: whoever looks finds out that nobody is waiting any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from agent.errors import IdentityError, InvalidRecord
from agent.local_api.dialogue import Progress, Refusal, Verb
from agent.local_api.feed import Feed
from agent.local_api.payload import Nothing, Payload, Request
from agent.reporter import OpenAlarm, Reporter
from kit.clock import Clock
from wire.device_api import HelpState
from wire.faults import Fault
from wire.functions import KIOSK

EVENT: Final = "Kiosk.HelpChanged"
CODE_LIFE: Final = timedelta(seconds=60)
_RENEWED_S: Final = 40.0


class CallStaff(Request):
    """Where the patient is stuck."""

    screen: Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,31}$")]
    case_number: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")] | None = None


class HelpCall:
    """The call of this kiosk; there is one at a time, and pressing again is the same one."""

    def __init__(self, reporter: Reporter, told: Callable[[HelpState], None]) -> None:
        """Nobody calls before `load`, which belongs after the reporter's own. `told` hears of every change."""
        self._reporter = reporter
        self._told = told
        self._answered = asyncio.Event()

    def load(self) -> None:
        """Tell of a call of an earlier run."""
        self._told(self.state())

    def state(self) -> HelpState:
        """Whether staff is called, and since when."""
        alarm = self._alarm()
        return HelpState(is_called=alarm is not None, since=None if alarm is None else alarm.since)

    async def call(self, request: CallStaff) -> HelpState:
        """Tell the fleet; it is on disk when this returns.

        Raises:
            Refusal: notRecorded, nobody was told.
        """
        detail = {"screen": request.screen}
        if request.case_number is not None:
            detail["case"] = request.case_number
        try:
            is_new = await self._reporter.alarm(KIOSK, Fault.HELP_REQUESTED, is_up=True, detail=detail)
        except InvalidRecord as error:
            raise Refusal("notRecorded", str(error)) from error
        if is_new:
            self._answered.clear()
            self._told(self.state())
        return self.state()

    async def withdraw(self) -> HelpState:
        """The patient needs nobody any more."""
        await self._end()
        return self.state()

    def answered(self) -> None:
        """Somebody of the staff is at the kiosk."""
        self._answered.set()

    async def run(self) -> None:
        """End calls that were answered, until cancelled."""
        while True:
            await self._answered.wait()
            self._answered.clear()
            await self._end()

    async def _end(self) -> None:
        if await self._reporter.alarm(KIOSK, Fault.HELP_REQUESTED, is_up=False):
            self._told(self.state())

    def _alarm(self) -> OpenAlarm | None:
        return next((one for one in self._reporter.open_alarms() if one.code == Fault.HELP_REQUESTED), None)


def help_call_of(reporter: Reporter, feed: Feed) -> HelpCall:
    """The call of a kiosk whose pages hear `feed`, those that join later too."""
    return HelpCall(reporter, lambda now: feed.fact(EVENT, now.model_dump(mode="json", exclude_none=True)))


def help_verbs(help_call: HelpCall) -> dict[str, Verb]:
    """The commands of `Kiosk.*`."""

    async def call(request: CallStaff, _progress: Progress) -> HelpState:
        return await help_call.call(request)

    async def withdraw(_request: Nothing, _progress: Progress) -> HelpState:
        return await help_call.withdraw()

    return {
        "Kiosk.CallStaff": Verb(
            CallStaff, call, summary="呼叫工作人员 · Call staff", result=HelpState, refusals=("notRecorded",)
        ),
        "Kiosk.WithdrawCall": Verb(
            Nothing, withdraw, summary="不再需要帮助 · Help is not needed any more", result=HelpState
        ),
    }


class CheckInCode(Payload):
    """What an engineer's phone scans from the screen; the fleet server takes it once, and soon."""

    code: str
    expires_at: AwareDatetime


def check_in_verbs(make: Callable[[], Awaitable[str | None]], clock: Clock) -> dict[str, Verb]:
    """The command that shows that somebody stands before this kiosk; one code serves all who ask within its time."""
    shown: list[tuple[CheckInCode, float]] = []
    making = asyncio.Lock()

    async def check_in(_request: Nothing, _progress: Progress) -> CheckInCode:
        async with making:
            if not shown or clock.monotonic() >= shown[0][1]:
                try:
                    code = await make()
                except IdentityError as error:
                    raise Refusal("keyDown", str(error)) from error
                if code is None:
                    raise Refusal("notEnrolled", "this kiosk has no identity yet")
                said = CheckInCode(code=code, expires_at=clock.utc() + CODE_LIFE)
                shown[:] = [(said, clock.monotonic() + _RENEWED_S)]
        return shown[0][0]

    return {
        "Kiosk.CheckInCode": Verb(
            Nothing,
            check_in,
            summary="工作人员签到码 · The code by which an engineer checks in",
            result=CheckInCode,
            refusals=("notEnrolled", "keyDown"),
        )
    }
