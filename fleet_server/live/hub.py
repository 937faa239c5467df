"""Rows by topic in memory, encoded once, and who wants to hear of changes.

Sequence numbers are this process's own: they start at a random place, so a number from another process or an
earlier start is recognised as unknown and answered with a snapshot instead of silently missing rows.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from pydantic_core import to_json

RING_MESSAGES: Final = 5_000
QUEUE_MESSAGES: Final = 1_000
ROWS_PER_MESSAGE: Final = 500


class SlowConsumer(Exception):
    """This subscriber does not take what it asked for."""


class Subscriber:
    """One viewer's queue of encoded messages; bounded, and cut when it overflows."""

    def __init__(self, *, limit: int = QUEUE_MESSAGES) -> None:
        """Start empty."""
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=limit)
        self.is_cut = False

    def put(self, message: bytes) -> None:
        """Queue a message; a full queue cuts the subscriber."""
        if self.queue.full():
            self.is_cut = True
        else:
            self.queue.put_nowait(message)

    async def next(self) -> bytes:
        """The next message.

        Raises:
            SlowConsumer: the queue overflowed.
        """
        if self.is_cut:
            raise SlowConsumer
        return await self.queue.get()


@dataclass(slots=True)
class Topic:
    """One set of rows."""

    name: str
    seq: int = field(default_factory=lambda: secrets.randbits(44))
    rows: dict[str, bytes] = field(default_factory=dict)
    ring: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=RING_MESSAGES))
    subscribers: set[Subscriber] = field(default_factory=set)
    snapshot: bytes | None = None


class Hub:
    """All topics of a process."""

    def __init__(self, names: Iterable[str]) -> None:
        """Have these topics, empty."""
        self._topics: dict[str, Topic] = {name: Topic(name) for name in names}

    @property
    def names(self) -> frozenset[str]:
        """The topics there are."""
        return frozenset(self._topics)

    def publish(self, name: str, rows: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Replace rows by key, None removes one; subscribers hear of those that really changed."""
        topic = self._topics[name]
        changed: list[bytes] = []
        gone: list[str] = []
        for key, row in rows.items():
            if row is None:
                if topic.rows.pop(key, None) is not None:
                    gone.append(key)
                continue
            encoded = _encode(row)
            if topic.rows.get(key) != encoded:
                topic.rows[key] = encoded
                changed.append(encoded)
        for at in range(0, max(len(changed), bool(gone)), ROWS_PER_MESSAGE):
            self._send(topic, changed[at : at + ROWS_PER_MESSAGE], gone if at == 0 else [])

    def subscribe(self, name: str, subscriber: Subscriber, since: int | None) -> None:
        """Send what `since` misses, or a snapshot, and everything from now on.

        Raises:
            KeyError: no such topic.
        """
        topic = self._topics[name]
        missed = None if since is None else _missed(topic, since)
        for message in [self._snapshot(topic)] if missed is None else missed:
            subscriber.put(message)
        topic.subscribers.add(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        for topic in self._topics.values():
            topic.subscribers.discard(subscriber)

    def _send(self, topic: Topic, rows: list[bytes], gone: list[str]) -> None:
        before = topic.seq
        topic.seq += 1
        topic.snapshot = None
        head = orjson.dumps({"t": "d", "topic": topic.name, "seq": topic.seq, "prev": before, "gone": gone})
        message = head[:-1] + b',"rows":[' + b",".join(rows) + b"]}"
        topic.ring.append((topic.seq, message))
        for subscriber in topic.subscribers:
            subscriber.put(message)

    def _snapshot(self, topic: Topic) -> bytes:
        if topic.snapshot is None:
            head = orjson.dumps({"t": "snap", "topic": topic.name, "seq": topic.seq})
            topic.snapshot = head[:-1] + b',"rows":[' + b",".join(topic.rows.values()) + b"]}"
        return topic.snapshot


def _encode(row: Mapping[str, Any]) -> bytes:
    """A row as JSON; what a kiosk put into it may be a number of any size."""
    try:
        return orjson.dumps(row)
    except TypeError:
        return to_json(row)


def _missed(topic: Topic, since: int) -> list[bytes] | None:
    """The messages after `since`; None when that number is not remembered here."""
    if since == topic.seq:
        return []
    if not topic.ring or not topic.ring[0][0] - 1 <= since < topic.seq:
        return None
    return [message for seq, message in topic.ring if seq > since]
