"""Plays the device's side of a flight recording to a live driver, so that a fault of the field happens on a desk.

What the host sends is matched loosely: by what the recording shows of it, whatever stands where it was masked. The
recording moves on when the host asks what it asked then; a question it does not know at this point gets the answer it
had before, and behind the end everything stays as it was at the end. Printed contents only count by their length.
Where the device repeats what the host chose (a mark, a number), it repeats what this host chose.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from simulators.devices.transports import Send
from wire.recording import Echo, FrameLine, Masked, NoteLine, Recording, RecordingError, Shown, Way, Word, filling

LAST_S = 30.0
_PRINTED = frozenset(("text", "picture", "code"))
_IS_PRINTING_BYTES = 16
_ANCHOR_BYTES = 8
_PATTERN_BYTES_MAX = 512
_WINDOW_BYTES = 64

Parts = tuple[Shown | Masked | Echo, ...]


@dataclass(frozen=True, slots=True)
class Saying:
    """What the device does some time after a question."""

    delay_s: float
    parts: Parts = ()
    is_lost: bool = False
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One write of the host and what the device did until the next one."""

    at_s: float
    parts: Parts
    sayings: tuple[Saying, ...]

    @property
    def length(self) -> int:
        """How many bytes the host sent."""
        return sum(_length(part) for part in self.parts)

    @property
    def is_printed(self) -> bool:
        """Whether it is contents of a page."""
        return any(isinstance(part, Masked) and part.kind in _PRINTED for part in self.parts)

    @property
    def echoes(self) -> bool:
        """Whether it holds something that the device repeats."""
        return any(isinstance(part, Echo) for part in self.parts)

    @property
    def pattern(self) -> bytes:
        """A regular expression for what the host sends here."""
        found = b""
        for part in self.parts:
            match part:
                case Shown(hex=shown):
                    found += re.escape(bytes.fromhex(shown))
                case Masked(length=length):
                    found += b".{%d}" % length
                case Echo(name=name):
                    found += b"(?P<%s>.{%d})" % (name.encode("ascii"), _length(part))
        return found


@dataclass(slots=True)
class Story:
    """A recording as turns: how the driver starts, and what came after."""

    opening: list[Turn] = field(default_factory=list)
    main: list[Turn] = field(default_factory=list)
    unasked: list[Saying] = field(default_factory=list)
    """What the device said before it was asked anything; times count from the beginning of `main`."""

    @classmethod
    def of(cls, recording: Recording, *, last_s: float | None = LAST_S) -> Story:
        """The last session of a recording, from its start on, and the last seconds of what followed.

        Raises:
            RecordingError: nothing went over the link.
        """
        entries = [entry for entry in recording.entries if isinstance(entry, FrameLine | NoteLine)]
        opened = _last(entries, Word.OPENED)
        entries = entries[opened:]
        started = _last(entries, Word.STARTED)
        before, after = entries[:started], entries[started:]
        if last_s is not None and after:
            after = [entry for entry in after if entry.t >= after[-1].t - last_s]
        if not any(isinstance(entry, FrameLine) for entry in entries):
            raise RecordingError("nothing went over the link")
        opening, _ = _turns(before)
        main, unasked = _turns(after)
        return cls(opening, main, unasked)


def _last(entries: Sequence[FrameLine | NoteLine], word: Word) -> int:
    """The place behind the last note of this word; 0 without one."""
    places = [number for number, entry in enumerate(entries, 1) if isinstance(entry, NoteLine) and entry.word is word]
    return places[-1] if places else 0


def _turns(entries: Sequence[FrameLine | NoteLine]) -> tuple[list[Turn], list[Saying]]:
    begins = entries[0].t if entries else 0.0
    turns: list[Turn] = []
    asked: FrameLine | None = None
    sayings: list[Saying] = []
    unasked: list[Saying] = []

    def end_turn() -> None:
        if asked is not None:
            turns.append(Turn(asked.t, tuple(asked.parts), tuple(sayings)))
        else:
            unasked.extend(sayings)
        sayings.clear()

    for entry in entries:
        if isinstance(entry, FrameLine) and entry.way is Way.SENT:
            end_turn()
            asked = entry
            continue
        delay_s = max(0.0, entry.t - (asked.t if asked is not None else begins))
        if isinstance(entry, FrameLine):
            sayings.append(Saying(delay_s, tuple(entry.parts)))
        elif entry.word is Word.LOST:
            sayings.append(Saying(delay_s, is_lost=True))
        elif entry.word is Word.REFUSED:
            sayings.append(Saying(delay_s, refused=entry.count))
    end_turn()
    return turns, unasked


def _length(part: Shown | Masked | Echo) -> int:
    return part.length if isinstance(part, Masked) else len(part.hex) // 2


class Cursor:
    """Where in the story the host is."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._opening = self._main = 0
        self.is_opening = bool(story.opening)
        """Whether the host still does what it did at its start."""
        self._is_printing = False

    @property
    def is_at_end(self) -> bool:
        """Whether everything that was recorded happened."""
        return not self.is_opening and self._main >= len(self._story.main)

    def asked(self, fits: Callable[[Turn], bool]) -> list[Turn]:
        """The turns that happen now that the host asked something: those of a page that were passed over, and it."""
        story = self._story
        if self.is_opening:
            for number in range(self._opening, len(story.opening)):
                if fits(story.opening[number]):
                    self._opening = number + 1
                    self.is_opening = self._opening < len(story.opening)
                    return [story.opening[number]]
            self.is_opening = False
        for number in range(self._main, len(story.main)):
            turn = story.main[number]
            if turn.is_printed and not self._is_printing:
                break  # it was not printed yet
            if fits(turn):
                passed = [other for other in story.main[self._main : number] if other.is_printed]
                self._main = number + 1
                return [*passed, turn]
        known = [*story.opening, *story.main[: self._main]]
        return next(([turn] for turn in reversed(known) if fits(turn)), [])

    def printed(self, count: int) -> tuple[list[Turn], int]:
        """The turns of a page that happen now that the host printed so many bytes more, and what is left of them."""
        main = self._story.main
        if count >= _IS_PRINTING_BYTES and not self._is_printing:
            page = next((n for n in range(self._main, len(main)) if main[n].is_printed), None)
            if page is not None:
                self._main, self.is_opening, self._is_printing = page, False, True
        found = []
        while self._is_printing and self._main < len(main) and main[self._main].is_printed:
            turn = main[self._main]
            if turn.echoes or turn.length > count:
                break
            count -= turn.length
            self._main += 1
            found.append(turn)
        return found, count

    def marked(self) -> list[Turn]:
        """The turns up to the next one with a mark that the device repeats."""
        main = self._story.main
        for number in range(self._main, len(main)):
            if main[number].echoes:
                passed, self._main = main[self._main : number + 1], number + 1
                return [turn for turn in passed if turn.is_printed]
        return []


class ReplayCore:
    """A `Core`: the device of a recording."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._send: Send = lambda _data: None
        self._timers: list[asyncio.TimerHandle] = []
        self._cursor = Cursor(story)
        self._pending = b""
        self._printed = 0
        self._window = b""
        self._echoes: dict[str, bytes] = {}
        self._questions = _questions([*story.opening, *story.main])
        self._longest = min(_PATTERN_BYTES_MAX, max((turn.length for turn, _ in self._questions), default=1))
        self._anchors = list(_anchors([*story.opening, *story.main]))
        self.unplug: Callable[[], None] = lambda: None
        """What pulls the plug, where the recording ends with a lost link."""

    @property
    def is_at_end(self) -> bool:
        """Whether everything that was recorded happened."""
        return self._cursor.is_at_end

    def connected(self, send: Send) -> None:
        """See `Core`: the story begins anew."""
        self._send = send
        self.close()
        self._cursor = Cursor(self._story)
        self._pending, self._printed = b"", 0
        if not self._story.opening:
            self._say(self._story.unasked)

    def close(self) -> None:
        """Say no more of what was still to come."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def received(self, data: bytes) -> None:
        """See `Core`."""
        self._look_for_marks(data)
        self._pending += data
        while (found := self._question()) is not None:
            pattern, match = found
            self._print(match.start())
            self._echoes.update({name: value for name, value in match.groupdict().items() if value is not None})
            self._pending = self._pending[match.end() :]
            was_opening = self._cursor.is_opening
            for turn in self._cursor.asked(partial(_is, pattern)):
                self._say(turn.sayings)
            if was_opening and not self._cursor.is_opening:
                self._say(self._story.unasked)
        surplus = max(0, len(self._pending) - self._longest + 1)
        self._print(surplus)
        self._pending = self._pending[surplus:]

    def _question(self) -> tuple[bytes, re.Match[bytes]] | None:
        """The first question in what came, the longest of those that begin there."""
        best: tuple[bytes, re.Match[bytes]] | None = None
        for turn, expression in self._questions:
            match = expression.search(self._pending)
            if match is not None and (best is None or _rank(match) < _rank(best[1])):
                best = turn.pattern, match
        return best

    def _print(self, count: int) -> None:
        self._printed += count
        turns, self._printed = self._cursor.printed(self._printed)
        for turn in turns:
            self._say(turn.sayings)

    def _look_for_marks(self, data: bytes) -> None:
        window, seen = self._window + data, max(0, len(self._window) - _WINDOW_BYTES)
        for anchor, name, length in self._anchors:
            at = window.find(anchor, seen)
            mark = window[at + len(anchor) : at + len(anchor) + length]
            if at >= 0 and len(mark) == length and self._echoes.get(name) != mark:
                self._echoes[name] = mark
                for turn in self._cursor.marked():
                    self._say(turn.sayings)
        self._window = window[-_WINDOW_BYTES:]

    def _say(self, sayings: Sequence[Saying]) -> None:
        loop = asyncio.get_running_loop()
        self._timers = [timer for timer in self._timers if not timer.cancelled() and timer.when() > loop.time()]
        self._timers += [loop.call_later(saying.delay_s, self._do, saying) for saying in sayings]

    def _do(self, saying: Saying) -> None:
        if saying.is_lost:
            self.unplug()
        elif data := said(saying, self._echoes):
            self._send(data)


def said(saying: Saying, echoes: dict[str, bytes]) -> bytes:
    """The bytes of a saying, with what this host chose where the device repeats it."""
    found = b""
    for part in saying.parts:
        match part:
            case Masked():
                found += filling(part)
            case Echo(name=name, hex=recorded):
                found += echoes.get(name, bytes.fromhex(recorded))
            case Shown(hex=shown):
                found += bytes.fromhex(shown)
    return found


def _is(pattern: bytes, turn: Turn) -> bool:
    return turn.pattern == pattern


def _rank(match: re.Match[bytes]) -> tuple[int, int]:
    return match.start(), -(match.end() - match.start())


def _questions(turns: Sequence[Turn]) -> list[tuple[Turn, re.Pattern[bytes]]]:
    """What the host may ask: everything that was answered at least once, and is no contents of a page."""
    answered = {
        turn.pattern: turn
        for turn in turns
        if turn.sayings and not turn.is_printed and turn.length <= _PATTERN_BYTES_MAX
    }
    return [(turn, re.compile(pattern, re.DOTALL)) for pattern, turn in answered.items()]


def _anchors(turns: Sequence[Turn]) -> Iterator[tuple[bytes, str, int]]:
    """What stands in front of marks within a page, their names and lengths."""
    found = set()
    for turn in turns:
        for before, part in zip(turn.parts, turn.parts[1:], strict=False):
            if turn.is_printed and isinstance(part, Echo) and isinstance(before, Shown):
                found.add((bytes.fromhex(before.hex)[-_ANCHOR_BYTES:], part.name, _length(part)))
    yield from sorted(found)
