"""What moved over a channel in a stretch of time: light rows for reconciliation, which reads tens of thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, select

from kit.store import Database
from patient_platform.money import Fen
from patient_platform.payment.model import ChannelName, Money, RefundState
from patient_platform.payment.store import LEGS, ORDERS, REFUNDS


@dataclass(frozen=True, slots=True)
class LegMovement:
    """A payment, as reconciliation needs it."""

    trade_no: str
    order: str
    amount_fen: Fen
    is_held: bool
    is_posted: bool
    paid_at: datetime | None
    posted_at: datetime | None
    is_reversed: bool
    """We took it back at once: what the channel may have collected went back with it."""


@dataclass(frozen=True, slots=True)
class RefundMovement:
    """A refund, as reconciliation needs it."""

    refund_no: str
    trade_no: str
    order: str
    amount_fen: Fen
    is_done: bool
    is_failed: bool
    """It will not happen without a person."""
    needs_his: bool
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class Movements:
    """What moved over a channel."""

    legs: list[LegMovement]
    refunds: list[RefundMovement]


_LEG_MOVEMENT: Final = (
    LEGS.c.trade_no,
    LEGS.c.order,
    LEGS.c.amount_fen,
    LEGS.c.state,
    LEGS.c.paid_at,
    LEGS.c.reversals,
    ORDERS.c.posted_at,
)
_REFUND_MOVEMENT: Final = (
    REFUNDS.c.refund_no,
    REFUNDS.c.trade_no,
    REFUNDS.c.order,
    REFUNDS.c.amount_fen,
    REFUNDS.c.state,
    REFUNDS.c.needs_his,
    REFUNDS.c.requested_at,
)
_HELD: Final = frozenset({Money.PAID.value, Money.LATE_PAID.value})
_RETURNED: Final = frozenset({Money.REVERSED.value, Money.CLOSED.value})
_AT_ONCE: Final = 500


def _among(column: ColumnElement[str], numbers: Collection[str]) -> Iterator[ColumnElement[bool]]:
    """Conditions that together choose these numbers, none too long for the database."""
    wanted = sorted(numbers)
    return (column.in_(wanted[start : start + _AT_ONCE]) for start in range(0, len(wanted), _AT_ONCE))


def _is_in(at: datetime | None, window: tuple[datetime, datetime]) -> bool:
    return at is not None and window[0] <= at < window[1]


def _leg_movement(row: Any) -> LegMovement:  # noqa: ANN401 - columns of the row
    is_held = row.state in _HELD
    is_posted = row.posted_at is not None and row.state == Money.PAID.value
    is_reversed = row.state in _RETURNED and row.reversals > 0
    return LegMovement(
        row.trade_no, row.order, Fen(row.amount_fen), is_held, is_posted, row.paid_at, row.posted_at, is_reversed
    )


def _refund_movement(row: Any) -> RefundMovement:  # noqa: ANN401 - columns of the row
    is_done = row.state == RefundState.SUCCESS.value
    is_failed = row.state == RefundState.MANUAL.value
    return RefundMovement(
        row.refund_no, row.trade_no, row.order, Fen(row.amount_fen), is_done, is_failed, row.needs_his, row.requested_at
    )


async def movements_of(
    database: Database, channel: ChannelName, window: tuple[datetime, datetime], numbers: Collection[str]
) -> Movements:
    """Payments and refunds of a stretch of time, and those with these trade numbers whenever they were."""
    begin, end = window
    in_window = (LEGS.c.paid_at >= begin) & (LEGS.c.paid_at < end)
    asked = (REFUNDS.c.requested_at >= begin) & (REFUNDS.c.requested_at < end)
    legs: dict[str, LegMovement] = {}
    refunds: dict[str, RefundMovement] = {}
    async with database.read() as connection:
        of_legs = select(*_LEG_MOVEMENT).join(ORDERS, ORDERS.c.order == LEGS.c.order)
        of_legs = of_legs.where(LEGS.c.channel == channel.value)
        for row in await connection.execute(of_legs.where(in_window)):
            legs[row.trade_no] = _leg_movement(row)
        for where in _among(LEGS.c.trade_no, set(numbers) - legs.keys()):
            for row in await connection.execute(of_legs.where(where)):
                legs[row.trade_no] = _leg_movement(row)
        of_refunds = select(*_REFUND_MOVEMENT).join(LEGS, LEGS.c.trade_no == REFUNDS.c.trade_no)
        of_refunds = of_refunds.where(LEGS.c.channel == channel.value)
        is_paid_then = REFUNDS.c.trade_no.in_(select(LEGS.c.trade_no).where(in_window))
        for found in await connection.execute(of_refunds.where(asked | is_paid_then)):
            refunds[found.refund_no] = _refund_movement(found)
        elsewhen = [number for number in numbers if number not in legs or not _is_in(legs[number].paid_at, window)]
        for where in _among(REFUNDS.c.trade_no, elsewhen):
            for found in await connection.execute(of_refunds.where(where)):
                refunds[found.refund_no] = _refund_movement(found)
    return Movements(list(legs.values()), list(refunds.values()))
