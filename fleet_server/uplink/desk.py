"""What the uplink has to say about kiosks: alarms and quarantine, off the way of the data.

Calls only note what is wanted; a task of its own does it, one kiosk and fault after the other, again when the store
was busy. The newest wish for a kiosk and fault wins, so the memory is bounded by the number of kiosks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import sqlalchemy.exc

from fleet_server.errors import Refusal
from fleet_server.registry.model import QuarantineReason
from fleet_server.registry.ports import AlarmSink
from fleet_server.uplink.ports import Quarantine
from kit.clock import Clock
from kit.logs import get_logger
from kit.store import StoreBusy
from kit.supervise import Backoff
from wire.envelope import Scalar
from wire.faults import Fault

COMPONENT: Final = "uplink"
REPEAT_S: Final = 60.0
"""How often the same complaint about a kiosk is passed on."""
REJECTED_CLEAR_S: Final = 3_600.0
"""How long a kiosk must send nothing wrong before its alarm is cleared."""
DETAIL_LIMIT: Final = 200
log = get_logger(__name__)


class Wish(StrEnum):
    """What is to be done about a kiosk."""

    RAISE = "raise"
    CLEAR = "clear"
    QUARANTINE = "quarantine"
    RELEASE = "release"


@dataclass(slots=True)
class _Complaints:
    """What this process said about a kiosk, and when it last had a reason, in monotonic seconds."""

    since_s: dict[Fault, float] = field(default_factory=dict)
    passed_on_s: dict[Fault, float] = field(default_factory=dict)
    is_checked: bool = False


class Desk:
    """Carries out wishes, in the order in which they were first made."""

    def __init__(self, alarms: AlarmSink, registry: Quarantine, clock: Clock) -> None:
        """Speak to these."""
        self._alarms = alarms
        self._registry = registry
        self._clock = clock
        self._wishes: dict[tuple[str, Fault], tuple[Wish, str]] = {}
        self._said: dict[str, _Complaints] = {}
        self._work = asyncio.Event()

    def complain(self, kid: str, fault: Fault, detail: str) -> None:
        """Something is wrong with what a kiosk sends; said once a minute at most."""
        now_s = self._clock.monotonic()
        said = self._said.setdefault(kid, _Complaints())
        said.since_s[fault] = now_s
        passed_on_s = said.passed_on_s.get(fault)
        if passed_on_s is None or now_s - passed_on_s >= REPEAT_S:
            said.passed_on_s[fault] = now_s
            log.warning("uplink.refused", kiosk_id=kid, fault=fault.value, detail=detail)
            self._wish(kid, fault, Wish.RAISE, detail)

    def all_is_well(self, kid: str) -> None:
        """A kiosk's batch was stored as it came: complaints that do not hold any more are taken back.

        What an earlier process complained about is not known here, so the first good batch of a kiosk clears it.
        """
        said = self._said.get(kid)
        if said is None:
            said = self._said[kid] = _Complaints()
        if not said.is_checked:
            said.is_checked = True
            if Fault.WIRE_VERSION_UNSUPPORTED not in said.since_s:
                self._wish(kid, Fault.WIRE_VERSION_UNSUPPORTED, Wish.CLEAR, "")
            said.since_s.setdefault(Fault.UPLINK_REJECTED, self._clock.monotonic())
        if not said.since_s:
            return
        now_s = self._clock.monotonic()
        for fault, since_s in list(said.since_s.items()):
            if fault is Fault.WIRE_VERSION_UNSUPPORTED or now_s - since_s >= REJECTED_CLEAR_S:
                del said.since_s[fault]
                said.passed_on_s.pop(fault, None)
                self._wish(kid, fault, Wish.CLEAR, "")

    def set_aside(self, kid: str, detail: str) -> None:
        """A kiosk floods: nothing of it is taken until an engineer or a long silence releases it."""
        log.warning("kiosk.flooding", kiosk_id=kid, detail=detail)
        self._wish(kid, Fault.KIOSK_FLOODING, Wish.QUARANTINE, detail)

    def take_back(self, kid: str) -> None:
        """A kiosk that flooded has been quiet for long enough."""
        self._wish(kid, Fault.KIOSK_FLOODING, Wish.RELEASE, "")

    def clear_flooding(self, kid: str) -> None:
        """An engineer released a kiosk that flooded."""
        self._wish(kid, Fault.KIOSK_FLOODING, Wish.CLEAR, "")

    async def run(self) -> None:
        """Carry out wishes until cancelled."""
        backoff = Backoff(base_s=0.2, cap_s=10.0)
        while True:
            await self._work.wait()
            while self._wishes:
                key = next(iter(self._wishes))
                wish = self._wishes[key]
                try:
                    await self._do(*key, *wish)
                except (StoreBusy, sqlalchemy.exc.DBAPIError, OSError) as error:
                    log.warning("desk.delayed", error=type(error).__name__)
                    await asyncio.sleep(backoff.next_s())
                    continue
                backoff.reset()
                if self._wishes.get(key) == wish:
                    del self._wishes[key]
            self._work.clear()

    @property
    def is_settled(self) -> bool:
        """Whether every wish made so far was carried out."""
        return not self._wishes

    def _wish(self, kid: str, fault: Fault, wish: Wish, detail: str) -> None:
        self._wishes[kid, fault] = (wish, detail)
        self._work.set()

    async def _do(self, kid: str, fault: Fault, wish: Wish, detail: str) -> None:
        told: dict[str, Scalar] = {"detail": detail[:DETAIL_LIMIT]}
        match wish:
            case Wish.RAISE:
                await self._alarms.raise_alarm(kid, COMPONENT, fault, told)
            case Wish.CLEAR:
                await self._alarms.clear_alarm(kid, COMPONENT, fault)
            case Wish.QUARANTINE:
                await self._registry.quarantine(kid, QuarantineReason.FLOODING, detail[:DETAIL_LIMIT])
                await self._alarms.raise_alarm(kid, COMPONENT, fault, told)
            case Wish.RELEASE:
                try:
                    await self._registry.release(kid, only=QuarantineReason.FLOODING)
                except Refusal as refusal:
                    log.info("kiosk.not_released", kiosk_id=kid, reason=refusal.code)
                await self._alarms.clear_alarm(kid, COMPONENT, fault)
