"""Received messages on their way from the network thread to the event loop: a bounded deque.

The loop is woken once per idle period, not once per message: a wake-up costs more than a message. While messages
keep coming they are fetched every 10 ms at most, as a batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_COALESCE_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Message:
    """A received message; `received_mono_s` is the injected monotonic clock at hand-over."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    expiry_s: int | None
    content_type: str | None
    received_mono_s: float


class Inbox:
    """Messages not yet taken. The network thread puts, one consumer in the event loop takes.

    Full means: messages that want an acknowledgement are still put but not acknowledged, so that the broker stops
    sending; others are dropped and counted. At twice the limit nothing more is read at all: Mosquitto 2.0.11 sends a
    whole window of new messages for each acknowledgement of a batch, not one for one (seen). The network thread decides
    by these, see `kit.mqtt.network`.
    """

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self.on_room: Callable[[], None] = lambda: None
        """Called in the event loop when at most half of the limit waits after a `take`."""
        self._limit = limit
        self._messages: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._is_waiting = False
        self._woken_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return len(self._messages) >= self._limit

    @property
    def is_choked(self) -> bool:
        """Whether twice the limit is reached, because the broker sends more than it may."""
        return len(self._messages) >= 2 * self._limit

    def put(self, message: Message) -> None:
        """Add a message; called in the network thread."""
        self._messages.append(message)
        if self._is_waiting and self._loop is not None:
            self._is_waiting = False
            call_in_loop(self._loop, self._arrived.set)

    async def take(self, limit: int) -> list[Message]:
        """Wait until there are messages and take up to `limit` of them, oldest first."""
        self._loop = asyncio.get_running_loop()
        while not self._messages:
            self._arrived.clear()
            self._is_waiting = True
            if self._messages:  # came between the question and the flag: nobody will wake us
                break
            _ = await self._arrived.wait()
            await self._coalesce(self._loop)
        self._is_waiting = False
        taken = [self._messages.popleft() for _ in range(min(limit, len(self._messages)))]
        if len(self._messages) <= self._limit // 2:
            self.on_room()
        return taken

    async def _coalesce(self, loop: asyncio.AbstractEventLoop) -> None:
        since_s = loop.time() - self._woken_s
        if since_s < _COALESCE_S:
            await asyncio.sleep(_COALESCE_S - since_s)
        self._woken_s = loop.time()


def call_in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    """Run a callback in the loop, from another thread; nothing happens when the loop is closed."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:  # closed: nobody waits any more
        return
