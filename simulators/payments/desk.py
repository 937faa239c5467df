"""Where every interface of the wallets meets its request: faults are played, changes are saved, then it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from kit.clock import Clock
from simulators.faults import Fault, FaultScript, ScriptedFault
from simulators.payments.keys import Keys
from simulators.payments.ledger import Ledger
from simulators.payments.store import Store

FILES: Final = frozenset({"wechat.bill", "alipay.bill"})
"""Operations in which a row is doubled, not the call."""
SKEW_S: Final = 360.0
_DELAY_S: Final = 3.0
_LATE_S: Final = 5.0
_SHORTENED: Final = 2 / 3


class MovableClock:
    """Another clock, set forward or back by whoever tests."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self.offset_s = 0.0

    def utc(self) -> datetime:
        """See `Clock`."""
        return self._base.utc() + timedelta(seconds=self.offset_s)

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._base.monotonic()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an interface says."""

    status: int
    body: bytes
    content_type: str = "application/json"
    is_signed: bool = True


@dataclass(frozen=True, slots=True)
class Strike:
    """What goes wrong with this call, as far as the interface itself has to do it."""

    fault: ScriptedFault | None = None

    def does(self, fault: Fault) -> bool:
        """Whether it is this fault."""
        return self.fault is not None and self.fault.fault is fault

    def text(self, name: str, default: str) -> str:
        """A text among the arguments of what goes wrong."""
        return default if self.fault is None else self.fault.text(name, default)

    @property
    def wrong_fen(self) -> int:
        """By how much amounts are wrong."""
        return int(self.fault.number("delta_fen", 1)) if self.fault and self.does(Fault.WRONG_AMOUNT) else 0

    @property
    def late_s(self) -> float | None:
        """After how many seconds a payment comes that this call does not tell of."""
        return self.fault.number("seconds", _LATE_S) if self.fault and self.does(Fault.LATE_SUCCESS) else None

    @property
    def skew_s(self) -> float:
        """By how much the clock of the one who signs is wrong."""
        return self.fault.number("seconds", SKEW_S) if self.fault and self.does(Fault.CLOCK_SKEW) else 0.0


Work = Callable[[Strike], Answer]


@dataclass(frozen=True, slots=True)
class Voice:
    """How an interface puts its answers: signed, and what it says when the script wants it to fail."""

    finish: Callable[[Answer, Strike], web.Response]
    failure: Callable[[ScriptedFault], Answer]


class Desk:
    """What the interfaces share."""

    def __init__(self, ledger: Ledger, keys: Keys, clock: MovableClock, store: Store) -> None:
        self.ledger = ledger
        self.keys = keys
        self.clock = clock
        self.store = store
        self.script = FaultScript()
        self.base_url = ""
        self.bills_at_any_time = False
        self.changed: Callable[[], None] = lambda: None

    async def serve(self, request: web.Request, operation: str, work: Work, voice: Voice) -> web.StreamResponse:
        """Let one call happen, with whatever goes wrong with it."""
        fault = self.script.take(operation)
        strike = Strike(fault)
        if strike.does(Fault.DROP_BEFORE):
            return _hang_up(request)
        if fault is not None and fault.fault is Fault.HTTP_500:
            return voice.finish(voice.failure(fault), strike)
        if fault is not None and fault.fault is Fault.DELAY and fault.text("when", "after") == "before":
            await asyncio.sleep(fault.number("seconds", _DELAY_S))
        answer = work(strike)
        if strike.does(Fault.DUPLICATE) and operation not in FILES:
            answer = work(Strike())
        await self.saved()
        if strike.does(Fault.DROP_AFTER):
            return _hang_up(request)
        if fault is not None and fault.fault is Fault.DELAY and fault.text("when", "after") == "after":
            await asyncio.sleep(fault.number("seconds", _DELAY_S))
        if strike.does(Fault.MALFORMED):
            answer = replace(answer, body=answer.body[: int(len(answer.body) * _SHORTENED)])
        return voice.finish(answer, strike)

    async def saved(self) -> None:
        """Keep what changed and tell those who wait for changes."""
        await self.store.save()
        self.changed()


def as_json(status: int, content: object) -> Answer:
    """An answer of JSON, compact as the real ones are."""
    return Answer(status, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def _hang_up(request: web.Request) -> web.StreamResponse:
    """End the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def page_failure(fault: ScriptedFault) -> Answer:
    """An error page, not an answer of any interface."""
    status = int(fault.number("status", 500))
    return Answer(status, f"<html><body>{status}</body></html>".encode(), "text/html", is_signed=False)
