"""The last minutes of one device, in little memory.

Equal entries are kept once: an idle device says the same over and over, so that an entry costs eight bytes. The
entries since the link was opened last, up to the end of the driver's start, are kept beside the ring: without them a
recording could not be played to a fresh driver.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from agent.recorder.parts import Mask, Part, length_of
from wire.recording import Way, Word

_ID_BITS = 20
_ID_MASK = (1 << _ID_BITS) - 1
_TICKS_PER_S = 100_000
_ROW_BYTES = 8
_ENTRY_BYTES, _PART_BYTES = 200, 80  # what Python takes, about
_OPENING_ROWS = 256
_OPENING_BYTES = 16_384
_COMPACT_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes in one direction."""

    way: Way
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened on the link."""

    word: Word
    count: int = 0


Item = Frame | Note


def _cost(item: Item) -> int:
    parts = item.parts if isinstance(item, Frame) else ()
    shown = sum(0 if isinstance(part, Mask) else length_of(part) for part in parts)
    return _ENTRY_BYTES + _PART_BYTES * len(parts) + shown


class Tape:
    """A ring of entries, bounded in time and bytes."""

    def __init__(self, *, keep_s: float, limit_bytes: int) -> None:
        self._keep_ticks = int(keep_s * _TICKS_PER_S)
        self._limit_bytes = limit_bytes
        self._rows = array("Q")
        self._first = 0
        self._numbers: dict[Item, int] = {}
        self._items: list[Item | None] = []
        self._uses = array("L")
        self._free: list[int] = []
        self._opening: list[int] | None = None
        self._is_opening = False
        self._opening_bytes = 0
        self._dropped = self._opened_at = 0  # rows that left the ring, and the number of the opening's first
        self.size_bytes = 0
        """About how much memory it takes."""
        self.is_worth_keeping = False
        """Whether bytes went either way since the last snapshot."""

    def add(self, at_s: float, item: Item) -> None:
        """Append; the oldest go when it is full."""
        if isinstance(item, Note) and item.word is Word.OPENED:
            self._forget_opening()
            self._opening, self._is_opening, self._opening_bytes = [], True, 0
            self._opened_at = self._dropped + len(self._rows) - self._first
        number = self._number(item)
        row = int(at_s * _TICKS_PER_S) << _ID_BITS | number
        self._rows.append(row)
        self.size_bytes += _ROW_BYTES
        if self._is_opening and self._opening is not None:
            self._keep(row, item)
        self.is_worth_keeping = self.is_worth_keeping or isinstance(item, Frame)
        self._trim(row >> _ID_BITS)

    def entries(self) -> list[tuple[float, Item]]:
        """All entries by time; where some are missing behind the opening stands a note."""
        ring = list(self._rows[self._first :])
        early = (self._opening or [])[: max(0, self._dropped - self._opened_at)]
        found = [*self._read(early)]
        if early and self._dropped - self._opened_at > len(self._opening or ()):
            found.append(((early[-1] >> _ID_BITS) / _TICKS_PER_S, Note(Word.GAP)))
        found += sorted(self._read(ring), key=lambda entry: entry[0])
        return found

    def _read(self, rows: list[int]) -> Iterator[tuple[float, Item]]:
        for row in rows:
            item = self._items[row & _ID_MASK]
            assert item is not None  # noqa: S101 - it is counted
            yield (row >> _ID_BITS) / _TICKS_PER_S, item

    def _number(self, item: Item) -> int:
        number = self._numbers.get(item)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._items[number] = item
            else:
                number = len(self._items)
                self._items.append(item)
                self._uses.append(0)
            self._numbers[item] = number
            self.size_bytes += _cost(item)
        self._uses[number] += 1
        return number

    def _drop(self, number: int) -> None:
        self._uses[number] -= 1
        if self._uses[number] == 0:
            item = self._items[number]
            assert item is not None  # noqa: S101 - it is counted
            del self._numbers[item]
            self._items[number] = None
            self._free.append(number)
            self.size_bytes -= _cost(item)

    def _keep(self, row: int, item: Item) -> None:
        assert self._opening is not None  # noqa: S101 - the caller looked
        self._opening_bytes += _cost(item)
        if len(self._opening) >= _OPENING_ROWS or self._opening_bytes > _OPENING_BYTES:
            self._is_opening = False
            return
        self._opening.append(row)
        self._uses[row & _ID_MASK] += 1
        self.size_bytes += _ROW_BYTES
        if item == Note(Word.STARTED):
            self._is_opening = False

    def _forget_opening(self) -> None:
        for row in self._opening or ():
            self._drop(row & _ID_MASK)
            self.size_bytes -= _ROW_BYTES

    def _trim(self, now_ticks: int) -> None:
        oldest = now_ticks - self._keep_ticks
        while self._first < len(self._rows) and (
            self._rows[self._first] >> _ID_BITS < oldest or self.size_bytes > self._limit_bytes
        ):
            self._drop(self._rows[self._first] & _ID_MASK)
            self._first += 1
            self._dropped += 1
            self.size_bytes -= _ROW_BYTES
        if self._first >= _COMPACT_ROWS:
            del self._rows[: self._first]
            self._first = 0
