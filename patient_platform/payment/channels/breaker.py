"""A circuit breaker around a channel: after several calls without an answer it is closed for new payments.

Submissions and queries count; only new payments are turned away: queries, reversals and refunds always go
through, because money is waiting for them. The kiosk page shows the channel as unavailable meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from enum import StrEnum
from typing import Final

from kit.clock import Clock
from kit.logs import get_logger
from patient_platform.payment.model import ChannelName, Leg, MoneyEvent, Refund
from patient_platform.payment.ports import BillRow, Channel, Charge, Evidence, RefundAnswer

LOST_MAX: Final = 5
PAUSE_S: Final = 30.0
log = get_logger(__name__)


class CallOutcome(StrEnum):
    """How a submission or a query ended, for the failure ratio of a channel."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """A submission the channel turned down: patients' cards and codes, or something about the merchant."""
    LOST = "lost"
    """No answer that can be used; what became of it is not known."""


class Breaker:
    """See `ports.Channel`; adds `is_open_for_business`."""

    def __init__(self, channel: Channel, clock: Clock, count: Callable[[CallOutcome], None] = lambda _: None) -> None:
        """Stand before a channel; `count` is told of every submission and query."""
        self._channel = channel
        self._count = count
        self._clock = clock
        self._lost = 0
        self._until_s = 0.0

    @property
    def name(self) -> ChannelName:
        """See the port."""
        return self._channel.name

    @property
    def is_open_for_business(self) -> bool:
        """Whether new payments may begin; after a pause one is let through to try."""
        return self._lost < LOST_MAX or self._clock.monotonic() >= self._until_s

    def _heard(self, outcome: CallOutcome) -> None:
        self._count(outcome)
        answered = outcome is not CallOutcome.LOST
        was_open = self._lost < LOST_MAX
        self._lost = 0 if answered else self._lost + 1
        if self._lost >= LOST_MAX:
            self._until_s = self._clock.monotonic() + PAUSE_S
        if was_open is not (self._lost < LOST_MAX):
            log.warning("channel.closed" if was_open else "channel.open", channel=self.name.value)

    async def submit(self, charge: Charge) -> Evidence:
        """See the port."""
        evidence = await self._channel.submit(charge)
        refused = evidence.event is MoneyEvent.REFUSED
        self._heard(CallOutcome.REFUSED if refused else _outcome(evidence))
        return evidence

    async def query(self, leg: Leg) -> Evidence:
        """See the port."""
        evidence = await self._channel.query(leg)
        self._heard(_outcome(evidence))
        return evidence

    async def reverse(self, leg: Leg) -> Evidence:
        """See the port."""
        return await self._channel.reverse(leg)

    async def refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """See the port."""
        return await self._channel.refund(leg, refund)

    async def query_refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """See the port."""
        return await self._channel.query_refund(leg, refund)

    async def bill(self, day: date) -> Sequence[BillRow]:
        """See the port."""
        return await self._channel.bill(day)


def _outcome(evidence: Evidence) -> CallOutcome:
    return CallOutcome.LOST if evidence.event is MoneyEvent.LOST else CallOutcome.ANSWERED
