"""The book on disk: a journal of rows, the last one of a key counts. A killed simulator loses nothing it answered."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Final

from simulators.payments.keys import write_private
from simulators.payments.ledger import Ledger
from simulators.payments.model import Book

JOURNAL: Final = "book.jsonl"


class Store:
    """Writes what the ledger changed, before anybody is told of it."""

    def __init__(self, ledger: Ledger, path: Path | None) -> None:
        self._ledger = ledger
        self._path = path
        self._writing = asyncio.Lock()

    async def save(self) -> None:
        """Write the rows that changed since the last call."""
        touched = self._ledger.take_touched()
        if self._path is None or not touched:
            return
        lines = b"".join(_line(self._ledger.book, table, key) for table, key in touched)
        async with self._writing:
            await asyncio.to_thread(_append, self._path, lines)

    async def forget(self) -> None:
        """Start an empty journal."""
        self._ledger.take_touched()
        if self._path is not None:
            async with self._writing:
                await asyncio.to_thread(write_private, self._path, b"")


def load(path: Path) -> Book:
    """The book of a journal; half a line at its end was never answered and is left out, and the file made short."""
    rows: dict[str, Any] = {"codes": {}, "trades": {}, "notices": {}, "counter": 0}
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            row = json.loads(line)
            if row["table"] == "counter":
                rows["counter"] = row["row"]
            else:
                rows[row["table"]][row["key"]] = row["row"]
    book = Book.model_validate(rows)
    tables = ("codes", "trades", "notices")
    lines = [_line(book, table, key) for table in tables for key in getattr(book, table)]
    write_private(path, b"".join([*lines, _line(book, "counter", "")]))
    return book


def _line(book: Book, table: str, key: str) -> bytes:
    row = book.counter if table == "counter" else getattr(book, table)[key].model_dump(mode="json")
    return json.dumps({"table": table, "key": key, "row": row}, ensure_ascii=False).encode() + b"\n"


def _append(path: Path, lines: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, lines)
    finally:
        os.close(handle)
