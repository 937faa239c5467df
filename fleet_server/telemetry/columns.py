"""The column type of instants in tables with many rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware moment: `timestamptz` on PostgreSQL, whole microseconds since 1970 UTC on SQLite.

    A number costs SQLite a third of a text to write, and a bucket of time is a division.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> TypeEngine[Any]:  # noqa: ANN401 - as SQLAlchemy declares it
        """Choose the column type."""
        kind: TypeEngine[Any] = TIMESTAMP(timezone=True) if dialect.name == "postgresql" else BigInteger()
        return dialect.type_descriptor(kind)  # type: ignore[no-any-return]  # as SQLAlchemy declares it

    def process_bind_param(self, value: datetime | None, dialect: Any) -> Any:  # noqa: ANN401 - either form
        """Convert to the stored form. Raises: ValueError for a time without a zone."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("a time without a zone cannot be stored: use an aware datetime")
        return value.astimezone(UTC) if dialect.name == "postgresql" else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:  # noqa: ANN401, ARG002 - either form
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if isinstance(value, datetime) else _EPOCH + value * _MICROSECOND
