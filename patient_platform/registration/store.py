"""Slot locks in the database, so that any process of the platform can make an order of one."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, MetaData, delete
from sqlmodel import Field, SQLModel, col, update

from kit.store import Database, UtcDateTime, metadata_of
from patient_platform.registration.model import Lock

METADATA: MetaData = metadata_of("patient")


class LockRow(SQLModel, table=True):
    """A lock."""

    metadata: ClassVar[MetaData] = METADATA
    __tablename__ = "registration_lock"
    lock: str = Field(max_length=40, primary_key=True)
    session: str = Field(max_length=40, index=True)
    kiosk: str = Field(max_length=40)
    pre_id: str = Field(max_length=200)
    slot_key: str = Field(max_length=120)
    fee_fen: int = Field(sa_type=BigInteger)
    queue_number: str = Field(max_length=200)
    department: str = Field(max_length=200)
    doctor: str = Field(max_length=200)
    location: str = Field(max_length=200)
    begin: str = Field(max_length=40)
    end: str = Field(max_length=40)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    order: str | None = Field(default=None, max_length=26)


class LockStore:
    """Keeps locks until long after they are over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, lock: Lock, forget_before: datetime) -> None:
        """Add a lock; those that are long over are forgotten."""
        async with self._database.session() as session:
            await session.exec(delete(LockRow).where(col(LockRow.expires_at) < forget_before))
            session.add(LockRow(**asdict(lock)))

    async def lock(self, number: str) -> Lock | None:
        """A lock."""
        async with self._database.read_session() as session:
            row = await session.get(LockRow, number)
        return None if row is None else Lock(**row.model_dump())

    async def ordered(self, number: str, order: str) -> None:
        """An order was made of it."""
        async with self._database.session() as session:
            await session.exec(update(LockRow).where(col(LockRow.lock) == number).values(order=order))

    async def drop(self, number: str) -> None:
        """It was given back."""
        async with self._database.session() as session:
            await session.exec(delete(LockRow).where(col(LockRow.lock) == number))
