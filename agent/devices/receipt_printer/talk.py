"""Talking to the printer: one request outstanding, everything that comes sorted, deadlines on all of it.

Whoever waits reads by itself until `listen` runs; from then on that is the only reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from agent.devices.receipt_printer import frames
from agent.devices.receipt_printer.frames import Answer, Asb, Block, Condition, Demultiplexer, Flow, Noise, Query
from agent.devices.receipt_printer.frames_custom import (
    EJECTOR_STATUS,
    FULL_STATUS,
    decode_ejector_status,
    decode_full_status,
)
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkError, LinkTimeout
from wire.faults import Fault

NOISE_LIMIT = 4_096
_IDLE_READ_S = 60.0
_MARKS_KEPT = 8
_TRIES = 2
_BITS_PER_BYTE = 10  # with start and stop bit


class Pace:
    """Keeps what waits in the operating system below two chunks, so that an XOFF stops more than it lets through.

    On a link without a baud rate (TCP) the link itself holds the sender back.
    """

    def __init__(self, baud: int | None, chunk_bytes: int) -> None:
        self._byte_s = _BITS_PER_BYTE / baud if baud else 0.0
        self._ahead_s = 2 * chunk_bytes * self._byte_s
        self._done_s = 0.0

    async def wait(self) -> None:
        """Until the line has taken enough; whoever reads gets a turn in any case."""
        now_s = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self._done_s - self._ahead_s - now_s))

    def sent(self, count_bytes: int) -> None:
        """So many more are on their way."""
        now_s = asyncio.get_running_loop().time()
        self._done_s = max(now_s, self._done_s) + count_bytes * self._byte_s


class Talk:
    """The printer's end of a link as requests, answers and a condition that is kept up to date."""

    def __init__(self, link: ByteLink, *, answer_s: float, write_s: float, on_asb: Callable[[], None] | None) -> None:
        self._link = link
        self._answer_s = answer_s
        self._write_s = write_s
        self._on_asb = on_asb
        self._demux = Demultiplexer()
        self._news = asyncio.Event()
        self._reading = asyncio.Lock()
        self._is_listening = False
        self._lost: LinkError | DeviceFault | None = None
        self._answer: Answer | None = None
        self._noise = self._unasked = 0
        self._is_late = False
        self.condition = Condition()
        self.may_send = True
        self.cleared = 0
        self.fenced = 0
        self.marks: deque[bytes] = deque(maxlen=_MARKS_KEPT)
        self.heard = 0

    async def listen(self) -> None:
        """Read for ever.

        Raises:
            LinkError: the link failed.
            DeviceFault: nothing but noise comes.
        """
        self._is_listening = True
        try:
            async with self._reading:  # a read of somebody who began to wait before
                await self._read_for_ever()
        except (LinkError, DeviceFault) as error:
            self._lost = error
            raise
        finally:
            self._is_listening = False
            self._news.set()

    async def _read_for_ever(self) -> None:
        while True:
            try:
                self._take(await self._link.read(timeout_s=_IDLE_READ_S))
            except LinkTimeout:
                continue

    async def until(self, holds: Callable[[], bool], *, timeout_s: float) -> bool:
        """Wait until `holds`; False when that did not happen in time.

        Raises:
            LinkError: the link failed.
            DeviceFault: nothing but noise comes.
        """
        now_s = asyncio.get_running_loop().time
        end_s = now_s() + timeout_s
        while not holds():
            remaining_s = end_s - now_s()
            if remaining_s <= 0:
                return False
            try:
                await self._progress(remaining_s)
            except TimeoutError:
                return holds()
        return True

    async def ask(self, query: Query) -> bytes:
        """Ask, once more when nothing comes.

        Raises:
            DeviceFault: no answer.
            LinkError: the link failed.
        """
        for _ in range(_TRIES):
            await self._drop_late_answers()
            self._answer = None
            self._demux.expect(query)
            self._is_late = True
            try:
                await self.write(query.request)
                if await self.until(lambda: self._is_answered(query), timeout_s=self._answer_s):
                    assert self._answer is not None  # noqa: S101 - what `_is_answered` says
                    self._is_late = False
                    return self._answer.body
            finally:
                self._demux.withdraw(query)
        raise DeviceFault(Fault.NOT_RESPONDING, f"no answer to {query.name}")

    async def _drop_late_answers(self) -> None:
        """A request that was given up may still be answered, and nothing in a status byte says which it answers."""
        if self._is_late:
            before = self._unasked
            await self.until(lambda: self._unasked > before, timeout_s=self._answer_s)
            self._is_late = False

    def expect(self, query: Query) -> None:
        """A request that travels with other data; its answer is counted in `fenced`."""
        self._demux.expect(query)

    def withdraw(self, query: Query) -> None:
        """That answer is not waited for any longer."""
        self._demux.withdraw(query)

    async def write(self, data: bytes) -> None:
        """Send at once, whatever flow control says: for requests and for chunks that were waited for.

        Raises:
            LinkError: the link failed, or took too long.
        """
        await self._link.write(data, timeout_s=self._write_s)

    def reset(self) -> None:
        """Drop everything that came or was waited for."""
        self._link.discard()
        self._demux.forget()
        self._is_late = False
        self.condition = Condition()
        self.may_send = True

    def _is_answered(self, query: Query) -> bool:
        return self._answer is not None and self._answer.query == query

    async def _progress(self, timeout_s: float) -> None:
        if self._lost is not None:
            raise self._lost
        if not self._is_listening:
            async with self._reading:
                self._take(await self._link.read(timeout_s=timeout_s))
            return
        self._news.clear()
        async with asyncio.timeout(timeout_s):
            await self._news.wait()

    def _take(self, data: bytes) -> None:
        for frame in self._demux.feed(data):
            if isinstance(frame, Noise):
                self._noise += frame.count
                if self._noise > NOISE_LIMIT:
                    raise DeviceFault(Fault.PROTOCOL_ERROR, "bytes that no printer sends")
                continue
            self._noise = 0
            self.heard += 1
            self._sort(frame)
        self._news.set()

    def _sort(self, frame: frames.Frame) -> None:
        match frame:
            case Answer(query=frames.PAPER_SENSOR):
                self.fenced += 1
            case Answer():
                self._answer = frame
                self.condition = self.condition.after(_said(frame))
            case Asb(body=body) if self._on_asb is not None:
                self.condition = self.condition.after(frames.decode_asb(body))
                self._on_asb()
            case Flow(may_send=may_send):
                self.may_send = may_send
            case Block(header=frames.PROCESS_ID_HEADER, identifier=frames.PROCESS_ID, body=mark):
                self.marks.append(mark)
            case Block(header=frames.PROCESS_ID_HEADER, identifier=frames.CLEARED):
                self.cleared += 1
            case _:
                self._unasked += 1


def _said(answer: Answer) -> Condition:
    if answer.query == FULL_STATUS:
        return decode_full_status(answer.body)
    if answer.query == EJECTOR_STATUS:
        return decode_ejector_status(answer.body)
    return frames.decode_answer(answer)
