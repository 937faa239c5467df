"""Takes down what passes on the links, and freezes it when a device fails.

Nothing here waits: a tap sorts and appends, a freeze copies and hands over. A byte reaches the memory of the recorder
only after its device's redactor has said what it is.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.recorder.parts import Lengths, Mask, Part, Redactor, cut, length_of, masked
from agent.recorder.tape import Frame, Item, Note, Tape
from kit.clock import Clock
from wire.recording import Way, Word

EDGES_MAX = 200
OTHERS_S = 30.0
LANE_CHUNKS_MAX = 4_096
_WALL_STEP_S = 1.0
_WALL_LOOK_S = 10.0
_WALLS_MAX = 50
_DIGEST_BYTES = 6
_KEY_BYTES = 32
_UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class About:
    """Whose recording it is."""

    component: str
    capability: str
    model: str = ""
    dialect: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """A component changed."""

    at_s: float
    component: str
    state: str
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frozen:
    """Everything a recording is written from; nothing in it changes any more."""

    about: About
    fault: str
    detail: str
    at_s: float
    at: datetime
    skipped: int
    items: tuple[tuple[float, Item], ...]
    edges: tuple[Edge, ...]
    walls: tuple[tuple[float, datetime], ...]
    """From which moment of the monotonic clock on the wall clock began where."""

    def wall(self, at_s: float) -> datetime:
        """The wall clock at a moment of the monotonic clock."""
        since_s, began = next((wall for wall in reversed(self.walls) if wall[0] <= at_s), self.walls[0])
        return began + timedelta(seconds=at_s - since_s)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept."""

    keep_s: float = 600.0
    bytes_per_device: int = 131_072
    interval_s: float = 60.0
    """A component that keeps failing makes one recording in this time."""


@dataclass(slots=True)
class _Lane:
    """One direction of one tap: the chunks of which not every byte was sorted yet."""

    chunks: deque[tuple[float, int]] = field(default_factory=deque)
    parts: list[Part] = field(default_factory=list)
    """What was already told of the first chunk."""


class Tap:
    """Where one device's bytes are taken down."""

    def __init__(self, recorder: Recorder, about: About, redactor: Redactor, tape: Tape) -> None:
        self.about = about
        self.tape = tape
        self.failed_at_s: float | None = None
        """When the last recording was made."""
        self.skipped = 0
        self._recorder = recorder
        self._redactor = redactor
        self._lanes = {Way.SENT: _Lane(), Way.CAME: _Lane()}

    def passed(self, way: Way, data: bytes) -> None:
        """Take down one read or write."""
        if data:
            self._lanes[way].chunks.append((self._now_s(), len(data)))
            self._sorted(way, self._redactor.feed(way, data))
            if len(self._lanes[way].chunks) > LANE_CHUNKS_MAX:
                self.settle(way)

    def covered(self, kind: str, data: bytes) -> None:
        """Take down that a whole document was sent, and nothing of it."""
        if data:
            self.tape.add(self._now_s(), Frame(Way.SENT, (masked(kind, data, self._recorder.digest),)))

    def note(self, word: Word, count: int = 0) -> None:
        """Take down what happened on the link; whatever was half received stays half."""
        for way in Way:
            self.settle(way)
        self.tape.add(self._now_s(), Note(word, count))

    def settle(self, way: Way) -> None:
        """What is held back will not become whole."""
        self._sorted(way, self._redactor.rest(way))

    def items(self) -> list[tuple[float, Item]]:
        """Everything there is; what is held back as its length."""
        found = self.tape.entries()
        for way, lane in self._lanes.items():
            told = sum(map(length_of, lane.parts))
            for number, (at_s, length) in enumerate(lane.chunks):
                parts = lane.parts if number == 0 else []
                rest = Mask(_UNFINISHED, length - (told if number == 0 else 0))
                found.append((at_s, Frame(way, (*parts, rest))))
        return sorted(found, key=lambda entry: entry[0])

    def _now_s(self) -> float:
        now_s, grain_s = self._recorder.now_s(), self._redactor.grain_s
        return now_s // grain_s * grain_s if grain_s else now_s

    def _sorted(self, way: Way, parts: list[Part]) -> None:
        """Give the parts to the chunks they came in."""
        lane = self._lanes[way]
        for part in parts:
            rest = part
            while (length := length_of(rest)) > 0:
                at_s, size = lane.chunks[0]
                missing = size - sum(map(length_of, lane.parts))
                if length < missing:
                    lane.parts.append(rest)
                    break
                first, rest = (rest, b"") if length == missing else cut(rest, missing)
                self.tape.add(at_s, Frame(way, (*lane.parts, first)))
                lane.chunks.popleft()
                lane.parts = []


class Recorder:
    """All taps of a kiosk."""

    def __init__(self, clock: Clock, limits: Limits, keep: Callable[[Frozen], None]) -> None:
        self._clock = clock
        self._limits = limits
        self._keep = keep
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._taps: dict[str, Tap] = {}
        self._edges: deque[Edge] = deque(maxlen=EDGES_MAX)
        self._start_s = clock.monotonic()
        self._walls: deque[tuple[float, datetime]] = deque([(0.0, clock.utc())], maxlen=_WALLS_MAX)
        self._looked_s = 0.0

    def now_s(self) -> float:
        """Seconds since the recorder was made."""
        now_s = self._clock.monotonic() - self._start_s
        if now_s - self._looked_s >= _WALL_LOOK_S:
            self._look_at_wall(now_s)
        return now_s

    def digest(self, data: bytes) -> str:
        """A hash that is equal for equal bytes while this process runs, and tells nothing afterwards."""
        return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=self._key).hexdigest()

    def tap(self, about: About, redactor: Redactor | None = None) -> Tap:
        """Where a device's bytes go; without a redactor only their number is kept."""
        tape = Tape(keep_s=self._limits.keep_s, limit_bytes=self._limits.bytes_per_device)
        tap = self._taps[about.component] = Tap(self, about, redactor or Lengths(), tape)
        return tap

    def edge(self, component: str, state: str, faults: tuple[str, ...]) -> None:
        """A component changed."""
        self._edges.append(Edge(self.now_s(), component, state, faults))

    def started(self, component: str) -> None:
        """The driver of a component finished its start."""
        if (tap := self._taps.get(component)) is not None:
            tap.note(Word.STARTED)

    def freeze(self, component: str, fault: str, detail: str = "") -> bool:
        """Keep what led to a fault; False where nothing was said since the last time, or it was just now."""
        tap, now_s = self._taps.get(component), self.now_s()
        if tap is None or not tap.tape.is_worth_keeping:
            return False
        if tap.failed_at_s is not None and now_s - tap.failed_at_s < self._limits.interval_s:
            tap.skipped += 1
            return False
        self._look_at_wall(now_s)
        items = tuple(tap.items())
        since_s = now_s - OTHERS_S
        edges = tuple(e for e in self._edges if e.component == component or e.at_s >= since_s)
        at = self._clock.utc()
        self._keep(Frozen(tap.about, fault, detail, now_s, at, tap.skipped, items, edges, tuple(self._walls)))
        tap.failed_at_s, tap.skipped, tap.tape.is_worth_keeping = now_s, 0, False
        return True

    @property
    def size_bytes(self) -> int:
        """About how much memory all tapes take."""
        return sum(tap.tape.size_bytes for tap in self._taps.values())

    def _look_at_wall(self, now_s: float) -> None:
        self._looked_s = now_s
        since_s, began = self._walls[-1]
        now = self._clock.utc()
        if abs((now - began).total_seconds() - (now_s - since_s)) >= _WALL_STEP_S:
            self._walls.append((now_s, now))
