"""A USB device with a pair of bulk pipes, as the host's library sees it: descriptors, packets, stalls, unplugging.

The host side calls from threads of its own; the core runs on the loop. What the host asks for without anything to give
is a transfer that waits: nothing is lost, as on a real bus.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Self

from simulators.devices.transports import Core, LinkFaults, Piece, Tap

PACKET_BYTES = 64


class GadgetGone(Exception):
    """It is not plugged in (any more)."""


class GadgetStalled(Exception):
    """The pipe is halted until it is cleared."""


class GadgetBusy(Exception):
    """Another one has claimed the interface."""


@dataclass(frozen=True, slots=True)
class GadgetFacts:
    """What its descriptors say."""

    usb_id: str
    interface_class: int = 0xFF
    pipe_out: int = 0x02
    pipe_in: int = 0x81
    bus: int = 1
    ports: tuple[int, ...] = (4,)
    has_kernel_driver: bool = False
    is_configured: bool = True


class UsbGadget:
    """One device; `plug` and `unplug` it, or `async with` it."""

    def __init__(self, core: Core, facts: GadgetFacts, faults: LinkFaults | None = None) -> None:
        self.core = core
        self.facts = facts
        self.faults = faults if faults is not None else LinkFaults()
        self.tap: Tap | None = None
        self.claims = 0
        self.has_kernel_driver = facts.has_kernel_driver
        self.configurations = 0
        """How often the host set one: each time is a reset."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()
        self._packets: deque[bytes] = deque()
        self._is_stalled = self._is_deaf = False
        self._plugged = 0
        self._is_plugged = False

    # --- what testers do ---------------------------------------------------------------------------------

    @property
    def is_plugged(self) -> bool:
        """Whether the host sees it."""
        return self._is_plugged

    async def plug(self) -> None:
        """Plug it in; the host has to open it anew."""
        self._loop = asyncio.get_running_loop()
        with self._changed:
            self._plugged += 1
            self._is_plugged = True
            self._is_stalled = False
            self._packets.clear()
            self.claims = 0
            self.has_kernel_driver = self.facts.has_kernel_driver
        self.core.connected(self._send)

    def unplug(self) -> None:
        """Pull the plug."""
        with self._changed:
            self._is_plugged = False
            self._changed.notify_all()

    def stall(self) -> None:
        """Halt the pipe to the host until it clears it."""
        with self._changed:
            self._is_stalled = True
            self._changed.notify_all()

    def go_deaf(self) -> None:
        """Take no more bytes."""
        self._is_deaf = True

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()

    # --- what the host's library does, from any thread ---------------------------------------------------

    @property
    def session(self) -> int:
        """Which plugging this is. Raises: GadgetGone."""
        self._check(self._plugged)
        return self._plugged

    def claim(self, session: int) -> None:
        """Take the interface. Raises: GadgetGone, GadgetBusy."""
        with self._changed:
            self._check(session)
            if self.has_kernel_driver or self.claims:
                raise GadgetBusy
            self.claims += 1

    def release(self, session: int) -> None:
        """Give it back."""
        with self._changed:
            if session == self._plugged:
                self.claims = 0

    def write(self, session: int, data: bytes, timeout_s: float) -> int:
        """Take bytes; how many. Raises: GadgetGone."""
        self._check(session)
        if self._is_deaf:
            with self._changed:
                self._changed.wait_for(lambda: not self._is_plugged, timeout_s)
            self._check(session)
            return 0
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._received, data)
        return len(data)

    def read(self, session: int, size: int, timeout_s: float) -> bytes:
        """Packets up to a short one or up to `size`; nothing when none came. Raises: GadgetGone, GadgetStalled."""
        found = b""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._check(session)
                if self._is_stalled:
                    raise GadgetStalled
                while self._packets and len(found) + PACKET_BYTES <= size:
                    packet = self._packets.popleft()
                    found += packet
                    if len(packet) < PACKET_BYTES:
                        return found
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or len(found) + PACKET_BYTES > size or found:
                    return found
                self._changed.wait(left_s)

    def clear_halt(self, session: int) -> None:
        """Set the pipe free. Raises: GadgetGone."""
        self._check(session)
        self._is_stalled = False

    def _check(self, session: int) -> None:
        if not self._is_plugged or session != self._plugged:
            raise GadgetGone

    # --- what the device does ----------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        if self._is_plugged:
            if self.tap is not None:
                self.tap(data, from_device=False)
            self.core.received(data)

    def _send(self, data: bytes) -> None:
        for piece in self.faults.pieces(data):
            if piece.delay_s > 0 and self._loop is not None:
                self._loop.call_later(piece.delay_s, self._put, piece)
            else:
                self._put(piece)

    def _put(self, piece: Piece) -> None:
        if self.tap is not None and piece.data:
            self.tap(piece.data, from_device=True)
        with self._changed:
            for start in range(0, len(piece.data), PACKET_BYTES):
                self._packets.append(piece.data[start : start + PACKET_BYTES])
            self._changed.notify_all()
        if piece.is_last_ever:
            self._drained()

    def _drained(self) -> None:
        """What was sent before the plug is pulled was on the bus: the host may still take it."""
        with self._changed:
            is_empty = not self._packets
        if is_empty or self._loop is None:
            self.unplug()
        else:
            self._loop.call_later(0.001, self._drained)
