"""Orders in the database: one row an order, a leg, a refund; ledger and history are only ever appended to.

An order is saved by compare-and-set on its version, with everything that belongs to the step in the same
transaction: legs, refunds, ledger bookings, history, keys. The ledger's unique event makes booking twice no booking
at all; triggers of the migration refuse to change or delete what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Index,
    MetaData,
    RowMapping,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel

from kit.store import Database, Dialect, Json, UtcDateTime, metadata_of
from patient_platform.audit.store import append
from patient_platform.money import Fen
from patient_platform.payment.decisions import decisions
from patient_platform.payment.ledger import Booking, Entry
from patient_platform.payment.model import (
    Business,
    ChannelName,
    Fulfilment,
    Leg,
    LegKind,
    Method,
    Money,
    Order,
    Posting,
    Reason,
    Refund,
    RefundState,
)
from patient_platform.payment.ports import CODE_MEMORY, Change, CodeSeen, KeyTaken, Lease
from patient_platform.payment.pressing import Pressing
from patient_platform.payment.rules import is_over

METADATA: MetaData = metadata_of("patient")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class OrderRow(_Row, table=True):
    """An order."""

    __tablename__ = "pay_order"
    order: str = Field(max_length=26, primary_key=True)
    version: int = Field(sa_type=BigInteger)
    kiosk: str = Field(max_length=40, index=True)
    session: str = Field(max_length=40)
    patient: str = Field(max_length=40, index=True)
    business: str = Field(max_length=20)
    keys: list[str] = Field(sa_type=Json)
    subject: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    amount_fen: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    posting: str = Field(max_length=20, index=True)
    posting_tries: int = Field(default=0)
    posting_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    posting_touched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    posting_reason: str | None = Field(default=None, max_length=40)
    posted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    posted: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    fulfilment: str = Field(max_length=20)
    prints: int = Field(default=0)
    paper_kiosk: str | None = Field(default=None, max_length=40)
    paper_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    is_released: bool = Field(default=True)
    reason: str | None = Field(default=None, max_length=40)
    is_over: bool = Field(default=False, index=True)
    lease_owner: str | None = Field(default=None, max_length=80)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LegRow(_Row, table=True):
    """One try to get money over one channel."""

    __tablename__ = "pay_leg"
    trade_no: str = Field(max_length=32, primary_key=True)
    order: str = Field(max_length=26, foreign_key="pay_order.order", index=True)
    kind: str = Field(max_length=20)
    channel: str = Field(max_length=20)
    method: str = Field(max_length=20)
    amount_fen: int = Field(sa_type=BigInteger)
    state: str = Field(max_length=20, index=True)
    created_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    submitted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    paid_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    channel_no: str | None = Field(default=None, max_length=64)
    qr_text: str | None = Field(default=None, max_length=1_024)
    reason: str | None = Field(default=None, max_length=40)
    request_key: str | None = Field(default=None, max_length=80)
    was_paid: bool = Field(default=False)
    not_found: int = Field(default=0)
    queries: int = Field(default=0)
    reversals: int = Field(default=0)
    tail_checks: int = Field(default=0)
    touched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RefundRow(_Row, table=True):
    """Money of a leg on its way back."""

    __tablename__ = "pay_refund"
    refund_no: str = Field(max_length=40, primary_key=True)
    trade_no: str = Field(max_length=32, foreign_key="pay_leg.trade_no", index=True)
    order: str = Field(max_length=26, foreign_key="pay_order.order", index=True)
    amount_fen: int = Field(sa_type=BigInteger)
    reason: str = Field(max_length=40)
    state: str = Field(max_length=20, index=True)
    needs_his: bool = Field(default=False)
    tries: int = Field(default=0)
    requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    succeeded_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    touched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reconciliation_no: str | None = Field(default=None, max_length=64)


class ClaimRow(_Row, table=True):
    """What has an active order: the primary key lets only one in."""

    __tablename__ = "pay_claim"
    key: str = Field(max_length=120, primary_key=True)
    order: str = Field(max_length=26, index=True)


class CodeRow(_Row, table=True):
    """Digests of payment codes of the last minutes."""

    __tablename__ = "pay_code"
    digest: str = Field(max_length=64, primary_key=True)
    seen_at: datetime = Field(sa_type=UtcDateTime, index=True)


class LedgerRow(_Row, table=True):
    """One side of a booking; never changed."""

    __tablename__ = "pay_ledger"
    __table_args__ = (
        UniqueConstraint("event", "account"),
        Index("ix_pay_ledger_account_at", "account", "at"),
    )
    id: int | None = Field(default=None, primary_key=True)
    event: str = Field(max_length=80)
    order: str = Field(max_length=26, index=True)
    account: str = Field(max_length=80)
    amount_fen: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=UtcDateTime)


class HistoryRow(_Row, table=True):
    """What happened to an order, step by step; never changed."""

    __tablename__ = "pay_history"
    id: int | None = Field(default=None, primary_key=True)
    order: str = Field(max_length=26, index=True)
    version: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=UtcDateTime)
    note: str = Field(max_length=200)
    money: str | None = Field(default=None, max_length=20)
    posting: str = Field(max_length=20)
    fulfilment: str = Field(max_length=20)


def _table(row: type[SQLModel]) -> Table:
    found: Table = row.__table__  # type: ignore[attr-defined]  # SQLModel does not declare it
    return found


_UNKNOWN: Final = [one.value for one in (Money.SUBMITTED, Money.UNKNOWN, Money.REVERSING, Money.REVERSE_UNKNOWN)]
_UNPOSTED: Final = [one.value for one in (Posting.READY, Posting.POSTING, Posting.POST_UNKNOWN)]
_ON_ITS_WAY: Final = [
    one.value for one in RefundState if one not in {RefundState.SUCCESS, RefundState.REFUSED, RefundState.MANUAL}
]
_LATE: Final = timedelta(minutes=1)
ORDERS: Final = _table(OrderRow)
LEGS: Final = _table(LegRow)
REFUNDS: Final = _table(RefundRow)
CLAIMS: Final = _table(ClaimRow)
CODES: Final = _table(CodeRow)
LEDGER: Final = _table(LedgerRow)
HISTORY: Final = _table(HistoryRow)

_ORDER_FIELDS: Final = tuple(
    item.name for item in fields(Order) if item.name not in {"legs", "refunds", "order", "version"}
)
_LEG_FIELDS: Final = tuple(item.name for item in fields(Leg) if item.name != "trade_no")
_REFUND_FIELDS: Final = tuple(item.name for item in fields(Refund) if item.name != "refund_no")


class SqlOrderStore:
    """See `ports.OrderStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, order: Order) -> None:
        """See the port."""
        try:
            await self._database.transact(lambda connection: self._create(connection, order))
        except IntegrityError:
            async with self._database.read() as connection:
                statement = select(CLAIMS.c.order).where(CLAIMS.c.key.in_(order.keys)).limit(1)
                holder = (await connection.execute(statement)).scalar_one_or_none()
            if holder is None:
                raise
            raise KeyTaken(holder) from None

    async def _create(self, connection: AsyncConnection, order: Order) -> None:
        await connection.execute(insert(ORDERS), [{"order": order.order, "version": order.version, **_order(order)}])
        await connection.execute(insert(CLAIMS), [{"key": key, "order": order.order} for key in sorted(order.keys)])
        await connection.execute(insert(HISTORY), [_history(order, "created", order.created_at)])

    async def get(self, order: str) -> Order | None:
        """See the port."""
        async with self._database.read() as connection:
            found = await _read(connection, ORDERS.c.order == order)
        return found[0] if found else None

    async def by_trade(self, trade_no: str) -> Order | None:
        """See the port."""
        async with self._database.read() as connection:
            owner = select(LEGS.c.order).where(LEGS.c.trade_no == trade_no).scalar_subquery()
            found = await _read(connection, ORDERS.c.order == owner)
        return found[0] if found else None

    async def save(self, change: Change, owner: str) -> bool:
        """See the port."""
        try:
            return await self._database.transact(lambda connection: self._save(connection, change, owner))
        except IntegrityError:
            if change.code_digest is None:
                raise
            raise CodeSeen from None

    async def _save(self, connection: AsyncConnection, change: Change, owner: str) -> bool:
        before, after = change.before, change.after
        values = {"version": after.version, **_order(after)}
        if change.lease is Lease.TAKE:
            values |= {"lease_owner": owner, "lease_until": change.lease_until}
        elif change.lease is Lease.FREE:
            values |= {"lease_owner": None, "lease_until": None}
        statement = update(ORDERS).where(ORDERS.c.order == before.order, ORDERS.c.version == before.version)
        if (await connection.execute(statement.values(values))).rowcount != 1:
            return False
        at = change.at or after.newest_at
        await self._save_parts(connection, before, after)
        if change.bookings:
            await connection.execute(
                insert(LEDGER), [row for booking in change.bookings for row in _booked(booking, after.order, at)]
            )
        if change.note:
            await connection.execute(insert(HISTORY), [_history(after, change.note, at)])
        if change.code_digest is not None:
            await connection.execute(delete(CODES).where(CODES.c.seen_at < at - CODE_MEMORY))
            await connection.execute(insert(CODES), [{"digest": change.code_digest, "seen_at": at}])
        for decision in decisions(before, after, change.staff):
            await append(connection, decision, at)
        if is_over(after) and not is_over(before):
            await connection.execute(delete(CLAIMS).where(CLAIMS.c.order == after.order))
        return True

    async def _save_parts(self, connection: AsyncConnection, before: Order, after: Order) -> None:
        legs = {leg.trade_no: leg for leg in before.legs}
        for leg in after.legs:
            if legs.get(leg.trade_no) != leg:
                values = {"order": after.order, **_plain(leg, _LEG_FIELDS)}
                await self._upsert(connection, LEGS, {"trade_no": leg.trade_no}, values)
        refunds = {refund.refund_no: refund for refund in before.refunds}
        for refund in after.refunds:
            if refunds.get(refund.refund_no) != refund:
                values = {"order": after.order, **_plain(refund, _REFUND_FIELDS)}
                await self._upsert(connection, REFUNDS, {"refund_no": refund.refund_no}, values)

    async def _upsert(
        self, connection: AsyncConnection, table: Table, key: dict[str, str], values: dict[str, object]
    ) -> None:
        dialect = postgresql if self._database.dialect is Dialect.POSTGRESQL else sqlite
        statement = dialect.insert(table).values({**key, **values})
        await connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(values)))

    async def claim(self, owner: str, now: datetime, until: datetime, limit: int) -> list[Order]:
        """See the port."""

        async def take(connection: AsyncConnection) -> list[Order]:
            is_free = or_(ORDERS.c.lease_until.is_(None), ORDERS.c.lease_until < now)
            statement = select(ORDERS.c.order).where(ORDERS.c.due_at <= now, is_free)
            statement = statement.order_by(ORDERS.c.due_at).limit(limit).with_for_update(skip_locked=True)
            numbers = list((await connection.execute(statement)).scalars())
            if not numbers:
                return []
            taken = update(ORDERS).where(ORDERS.c.order.in_(numbers))
            await connection.execute(taken.values(version=ORDERS.c.version + 1, lease_owner=owner, lease_until=until))
            return await _read(connection, ORDERS.c.order.in_(numbers))

        async with self._database.read() as connection:  # mostly nothing is due: do not open a write for that
            waiting = select(ORDERS.c.order).where(
                ORDERS.c.due_at <= now, or_(ORDERS.c.lease_until.is_(None), ORDERS.c.lease_until < now)
            )
            if (await connection.execute(waiting.limit(1))).first() is None:
                return []
        return await self._database.transact(take)

    async def open_of(self, kiosk: str) -> list[Order]:
        """See the port."""
        owes_paper = (ORDERS.c.posting == Posting.POSTED.value) & ORDERS.c.fulfilment.in_(
            [Fulfilment.WAITING.value, Fulfilment.PRINTING.value]
        )
        async with self._database.read() as connection:
            return await _read(
                connection, (ORDERS.c.kiosk == kiosk) & (ORDERS.c.is_over.is_(False) | owes_paper), limit=20
            )

    async def posted_of(self, patient: str, since: datetime) -> list[Order]:
        """See the port."""
        async with self._database.read() as connection:
            is_posted = (ORDERS.c.posting == Posting.POSTED.value) & (ORDERS.c.created_at >= since)
            return await _read(connection, (ORDERS.c.patient == patient) & is_posted, limit=20)

    # --- for reconciliation and operators ------------------------------------------------------------------

    async def printing(self, since: datetime) -> list[Order]:
        """Orders made since then whose paper a kiosk has taken and not told of."""
        async with self._database.read() as connection:
            is_printing = ORDERS.c.fulfilment == Fulfilment.PRINTING.value
            return await _read(connection, is_printing & (ORDERS.c.created_at >= since), limit=100)

    async def balances(self) -> dict[str, Fen]:
        """What every ledger account holds."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                text("SELECT account, CAST(SUM(amount_fen) AS BIGINT) FROM pay_ledger GROUP BY account")
            )
            return {account: Fen(int(amount)) for account, amount in rows}

    async def pressing(self, now: datetime) -> Pressing:
        """What cannot wait, for metrics."""
        async with self._database.read() as connection:
            sent = await connection.execute(
                select(LEGS.c.submitted_at, LEGS.c.created_at).where(LEGS.c.state.in_(_UNKNOWN))
            )
            paid = await connection.execute(
                select(LEGS.c.paid_at, ORDERS.c.created_at)
                .join(LEGS, (LEGS.c.order == ORDERS.c.order) & (LEGS.c.state == Money.PAID.value))
                .where(ORDERS.c.posting.in_(_UNPOSTED))
            )
            late = ORDERS.c.due_at <= now - _LATE
            counts = {
                "refunds": select(func.count()).where(REFUNDS.c.state.in_(_ON_ITS_WAY)),
                "payment": select(func.count()).where(LEGS.c.state == Money.MANUAL.value),
                "posting": select(func.count()).where(ORDERS.c.posting == Posting.MANUAL.value),
                "refund": select(func.count()).where(REFUNDS.c.state == RefundState.MANUAL.value),
                "overdue": select(func.count()).where(late),
            }
            unknown = [submitted or made or now for submitted, made in sent]
            unposted = [moment or made for moment, made in paid]
            found = {name: int((await connection.execute(asked)).scalar_one()) for name, asked in counts.items()}
        manual = {name: found[name] for name in ("payment", "posting", "refund")}
        return Pressing(tuple(unknown), tuple(unposted), found["refunds"], manual, found["overdue"])

    async def history(self, order: str) -> list[tuple[datetime, str]]:
        """What happened to an order."""
        async with self._database.read() as connection:
            statement = select(HISTORY.c.at, HISTORY.c.note).where(HISTORY.c.order == order).order_by(HISTORY.c.id)
            return [(at, note) for at, note in await connection.execute(statement)]


async def _read(connection: AsyncConnection, where: ColumnElement[bool], limit: int | None = None) -> list[Order]:
    rows = (await connection.execute(select(ORDERS).where(where).order_by(ORDERS.c.created_at).limit(limit))).mappings()
    found = list(rows)
    numbers = [row["order"] for row in found]
    if not numbers:
        return []
    legs = await connection.execute(select(LEGS).where(LEGS.c.order.in_(numbers)).order_by(LEGS.c.trade_no))
    refunds = await connection.execute(
        select(REFUNDS).where(REFUNDS.c.order.in_(numbers)).order_by(REFUNDS.c.refund_no)
    )
    by_order: dict[str, tuple[list[Leg], list[Refund]]] = {number: ([], []) for number in numbers}
    for row in legs.mappings():
        by_order[row["order"]][0].append(_leg(row))
    for row in refunds.mappings():
        by_order[row["order"]][1].append(_refund(row))
    return [_as_order(row, *by_order[row["order"]]) for row in found]


def _plain(item: object, names: Sequence[str]) -> dict[str, object]:
    values = {name: getattr(item, name) for name in names}
    return {name: value.value if isinstance(value, StrEnum) else value for name, value in values.items()}


def _order(order: Order) -> dict[str, object]:
    values = _plain(order, _ORDER_FIELDS)
    return {**values, "keys": list(order.keys), "is_over": is_over(order)}


def _history(order: Order, note: str, at: datetime) -> dict[str, object]:
    leg = order.leg
    return {
        "order": order.order,
        "version": order.version,
        "at": at,
        "note": note[:200],
        "money": None if leg is None else leg.state.value,
        "posting": order.posting.value,
        "fulfilment": order.fulfilment.value,
    }


def _booked(booking: Booking, order: str, at: datetime) -> list[dict[str, object]]:
    def row(entry: Entry) -> dict[str, object]:
        return {
            "event": booking.event,
            "order": order,
            "account": entry.account,
            "amount_fen": entry.amount_fen,
            "at": at,
        }

    return [row(entry) for entry in booking.entries]


def _reason(text: str | None) -> Reason | None:
    return None if text is None else Reason(text)


def _leg(row: RowMapping) -> Leg:
    values = {name: row[name] for name in _LEG_FIELDS}
    values |= {
        "kind": LegKind(row["kind"]),
        "channel": ChannelName(row["channel"]),
        "method": Method(row["method"]),
        "amount_fen": Fen(row["amount_fen"]),
        "state": Money(row["state"]),
        "reason": _reason(row["reason"]),
    }
    return Leg(trade_no=row["trade_no"], **values)


def _refund(row: RowMapping) -> Refund:
    values = {name: row[name] for name in _REFUND_FIELDS}
    values |= {
        "amount_fen": Fen(row["amount_fen"]),
        "reason": Reason(row["reason"]),
        "state": RefundState(row["state"]),
    }
    return Refund(refund_no=row["refund_no"], **values)


def _as_order(row: RowMapping, legs: list[Leg], refunds: list[Refund]) -> Order:
    values = {name: row[name] for name in _ORDER_FIELDS}
    values |= {
        "business": Business(row["business"]),
        "keys": tuple(row["keys"]),
        "amount_fen": Fen(row["amount_fen"]),
        "posting": Posting(row["posting"]),
        "posting_reason": _reason(row["posting_reason"]),
        "fulfilment": Fulfilment(row["fulfilment"]),
        "reason": _reason(row["reason"]),
    }
    return Order(order=row["order"], version=row["version"], legs=tuple(legs), refunds=tuple(refunds), **values)
