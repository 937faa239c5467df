"""The lease of the page that serves a patient: while it lives nothing may interrupt, and nothing at all a payment.

One page holds it at a time. It ends with its page, when it is not renewed, and after the longest session there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from agent.health.power import PowerState
from agent.local_api.dialogue import Json, Progress, Refusal, Verb
from agent.local_api.payload import Nothing, Request
from kit.clock import Clock, ulid
from kit.logs import get_logger
from wire.device_api import SessionState
from wire.presence import Activity

IDLE_S: Final = 60.0
LONGEST_S: Final = 600.0
PAYING_S: Final = 180.0
"""A payment may outlive the longest session by so much; then it is no longer believed."""
log = get_logger(__name__)


@dataclass(slots=True)
class _Lease:
    number: str
    begun_s: float
    until_s: float
    paying_until_s: float | None = None

    def is_overdue(self, now_s: float) -> bool:
        """Whether its page has been silent too long, whatever holds it."""
        return now_s >= max(self.until_s, self.paying_until_s or 0.0)


class SessionLease:
    """Who serves a patient, judged by the monotonic clock."""

    def __init__(self, clock: Clock, power: PowerState | None = None) -> None:
        """Nobody does; without a supply the mains are taken to be there."""
        self._power = power or PowerState()
        self.barred: Callable[[], bool] = lambda: False
        """Whether no session may begin: an engineer is at work."""
        self.held: Callable[[], bool] = lambda: False
        """Whether the money of an order is under way: the lease does not end by itself, nothing may interrupt."""
        self._clock = clock
        self._lease: _Lease | None = None

    def activity(self) -> Activity:
        """What the kiosk does with patients right now."""
        lease = self._current()
        if self.held():
            return Activity.PAYING
        if lease is None:
            return Activity.IDLE
        return Activity.IN_SESSION if lease.paying_until_s is None else Activity.PAYING

    def begin(self) -> SessionState:
        """Take the lease.

        Raises:
            Refusal: another page serves a patient, an engineer is at work, or the kiosk is about to switch off.
        """
        if self._power.is_low:
            raise Refusal("batteryLow", "the kiosk is about to switch off")
        if self.barred():
            raise Refusal("maintenance", "an engineer is at work")
        now_s, before = self._clock.monotonic(), self._current()
        if before is not None and not before.is_overdue(now_s):
            raise Refusal("sessionActive", "another page serves a patient")
        self._lease = _Lease(ulid(self._clock), now_s, now_s + IDLE_S)
        log.info("session.began", session_id=self._lease.number)
        return self.state()

    def renew(self, number: str) -> SessionState:
        """The patient is still there. Raises: Refusal."""
        lease = self._mine(number)
        now_s = self._clock.monotonic()
        lease.until_s = min(now_s + IDLE_S, lease.begun_s + LONGEST_S)
        return self.state()

    def pay(self, number: str, *, is_paying: bool) -> SessionState:
        """A payment begins or is over; it is not interrupted by the end of the session. Raises: Refusal."""
        lease = self._mine(number)
        if is_paying and lease.paying_until_s is None and self._power.is_on_battery:
            raise Refusal("onBattery", "no payment begins on battery")
        lease.paying_until_s = self._clock.monotonic() + PAYING_S if is_paying else None
        return self.state()

    def end(self, number: str) -> SessionState:
        """The patient is gone. Raises: Refusal."""
        self._mine(number)
        self._lease = None
        log.info("session.ended", session_id=number)
        return self.state()

    def state(self) -> SessionState:
        """The lease as it is; its number is told to whoever asks, all pages are ours."""
        lease = self._current()
        if lease is None:
            return SessionState(activity=self.activity())
        left_s = max(0.0, max(lease.until_s, lease.paying_until_s or 0.0) - self._clock.monotonic())
        return SessionState(lease=lease.number, activity=self.activity(), expires_in_s=round(left_s, 1))

    def _current(self) -> _Lease | None:
        lease, now_s = self._lease, self._clock.monotonic()
        if lease is None or self.held():
            return lease
        if lease.paying_until_s is not None and now_s >= lease.paying_until_s:
            log.warning("payment.not_ended", session_id=lease.number)
            lease.paying_until_s = None
        if lease.paying_until_s is None and now_s >= lease.until_s:
            log.info("session.expired", session_id=lease.number)
            self._lease = None
        return self._lease

    def _mine(self, number: str) -> _Lease:
        lease = self._current()
        if lease is None or lease.number != number:
            raise Refusal("noSession", "the lease is over or belongs to another page")
        return lease


class _Held(Request):
    lease: str = Field(max_length=64)


class _Paying(_Held):
    paying: bool


def verbs(lease: SessionLease) -> dict[str, Verb]:
    """The commands of `Session.*`."""

    async def begin(_request: Nothing, _progress: Progress) -> Json:
        return _json(lease.begin())

    async def renew(request: _Held, _progress: Progress) -> Json:
        return _json(lease.renew(request.lease))

    async def pay(request: _Paying, _progress: Progress) -> Json:
        return _json(lease.pay(request.lease, is_paying=request.paying))

    async def end(request: _Held, _progress: Progress) -> Json:
        return _json(lease.end(request.lease))

    async def state(_request: Nothing, _progress: Progress) -> Json:
        return _json(lease.state())

    mine, taken = ("noSession",), ("sessionActive", "maintenance", "batteryLow")
    return {
        "Session.Begin": Verb(
            Nothing, begin, summary="开始一次会话 · Take the lease", result=SessionState, refusals=taken
        ),
        "Session.Renew": Verb(
            _Held, renew, summary="患者仍在操作 · The patient is still there", result=SessionState, refusals=mine
        ),
        "Session.Pay": Verb(
            _Paying,
            pay,
            summary="付款开始或结束 · A payment begins or is over",
            result=SessionState,
            refusals=(*mine, "onBattery"),
        ),
        "Session.End": Verb(_Held, end, summary="结束会话 · The patient is gone", result=SessionState, refusals=mine),
        "Session.State": Verb(Nothing, state, summary="会话现状 · The lease as it is", result=SessionState),
    }


def _json(state: SessionState) -> Json:
    return state.model_dump(mode="json", exclude_none=True)
