"""SQLite connections that let go of the file when their caller is cancelled.

SQLAlchemy gives up a connection whose caller was cancelled and closes it. `sqlite3_close_v2` leaves a connection with
unfinished statements behind as a "zombie" that keeps its transaction, and the cursor of the cancelled statement lives
as long as the traceback of the cancellation does. Meanwhile the file is locked for everybody (measured with aiosqlite
0.22.1 and SQLAlchemy 2.1.9: ten seconds of "busy" after one cancelled write in three). A rollback before the close
leaves a zombie that holds nothing.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any

import aiosqlite


class SteadyConnection(aiosqlite.Connection):
    """A connection that ends its transaction before it is closed."""

    async def close(self) -> None:
        """Wait for the statement that runs, roll back, close."""
        if self._connection is not None and self.in_transaction:
            await self.rollback()
        await super().close()


async def connect(path: str, **options: Any) -> SteadyConnection:  # noqa: ANN401 - those of sqlite3.connect
    """Open a connection; its thread does not keep the process alive."""
    connection = SteadyConnection(partial(sqlite3.connect, path, **options), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does with connections it makes itself
    _ = await connection
    return connection
