"""Column types that behave the same on SQLite and PostgreSQL, and the metadata our tables live in."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json
from sqlalchemy import JSON, DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

NAMING: Final[Mapping[str, str]] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name, so that a migration can drop it on both dialects."""


@cache
def metadata_of(schema: str) -> MetaData:
    """Return the one metadata of a server's tables: `metadata_of("shop")` is the same object everywhere."""
    return MetaData(naming_convention=dict(NAMING), info={"schema": schema})


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, stored in UTC with microseconds: `timestamptz` on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:  # Any: as SQLAlchemy declares it
        """Choose the column type."""
        kind: TypeEngine[Any] = TIMESTAMP(timezone=True) if dialect.name == "postgresql" else DateTime()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC. Raises: ValueError for a time without a zone."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("a time without a zone cannot be stored: use an aware datetime")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the base class's signature
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):  # Any: a JSON document
    """A JSON document: `jsonb` on PostgreSQL, text on SQLite; None is NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:  # Any: as SQLAlchemy declares it
        """Choose the column type."""
        kind: TypeEngine[Any] = JSONB(none_as_null=True) if dialect.name == "postgresql" else JSON(none_as_null=True)
        return dialect.type_descriptor(kind)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:  # noqa: ANN401 - as SQLAlchemy declares it
        """Compare parts of documents as the JSON type does."""
        return self.impl_instance.coerce_compared_value(op, value)


_dumps: Final = partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL as the serialiser writes it, and not a backslash followed by u0000."""


def dump_json(value: object) -> str:
    """Serialise a document for a Json column. Raises: ValueError for NaN, infinities and NUL characters."""
    text = _dumps(value)
    if _NUL.search(text):
        raise ValueError("a NUL character cannot be stored in a JSON column")
    return text


def load_json(text: str | bytes) -> Any:  # noqa: ANN401 - a JSON document
    """Parse a document of a Json column."""
    return from_json(text)
