"""Hands an image to a boot loader, block by block, each one acknowledged before the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from agent.devices.registry import MakeLink
from agent.firmware import ymodem
from agent.firmware.errors import FlashFailed, Why
from agent.firmware.ymodem import Replies, Reply
from agent.links.base import ByteLink, LinkError, LinkLost, LinkTimeout
from wire.firmware import FlashProfile

REOPEN_S: Final = 0.3
_PATIENCE: Final = 0.25
_PAUSE_S: Final = 1.25
"""A receiver in the middle of a block takes everything for a part of it until a second was silent (chapter 7)."""
_LAST_S: Final = 2.0
_CALM_S: Final = 0.3
Progress = Callable[[int], None]
"""Told how many percent are in the device."""


async def flash(
    make_link: MakeLink, image: bytes, name: str, how: FlashProfile, progress: Progress, *, is_in_loader: bool
) -> None:
    """Wake the boot loader, unless it is awake, and give it the image; the device restarts by itself afterwards.

    Raises:
        FlashFailed: with the reason; the boot loader was told to give up where it could be told.
    """
    sender: _Sender | None = None
    try:
        async with asyncio.timeout(how.limit_s):
            sender = await _woken(make_link, how, is_in_loader=is_in_loader)
            await sender.send(image, name, progress)
    except LinkLost:
        raise FlashFailed(Why.LOST) from None
    except LinkError:
        raise FlashFailed(Why.SILENT) from None
    except TimeoutError:
        raise FlashFailed(Why.TOO_SLOW) from None
    finally:
        if sender is not None:
            await sender.close()


async def _woken(make_link: MakeLink, how: FlashProfile, *, is_in_loader: bool) -> _Sender:
    """A boot loader that asks for a file. One that comes back as another device of the bus is waited for."""
    must_wake = not is_in_loader
    try:
        async with asyncio.timeout(how.begin_s):
            while True:
                sender = _Sender(cast("ByteLink", make_link()), how)
                try:
                    await sender.link.open()
                    if must_wake:
                        await sender.link.write(how.wake, timeout_s=how.answer_s)
                        must_wake = False
                    await sender.wait_until_asked(is_in_loader=is_in_loader)
                except LinkError:
                    await sender.link.close()
                    if must_wake:
                        raise
                    await asyncio.sleep(REOPEN_S)
                except BaseException:
                    await sender.link.close()
                    raise
                else:
                    return sender
    except LinkTimeout:
        raise
    except TimeoutError:
        raise FlashFailed(Why.NO_BOOT_LOADER) from None


class _Sender:
    """One batch of one file on one link."""

    def __init__(self, link: ByteLink, how: FlashProfile) -> None:
        self.link = link
        self._how = how
        self._replies = Replies()
        self._heard: deque[Reply] = deque()
        self._is_over = False

    async def wait_until_asked(self, *, is_in_loader: bool) -> None:
        """Wait for the first `C`; the caller sets the deadline. Raises: LinkError.

        A boot loader that had the agent or its power cut off under it may still wait for the next block of a file: one
        that does not ask by itself is told to give that file up, after a silence in which it gives up half a block.
        """
        if is_in_loader:
            try:
                async with asyncio.timeout(max(self._how.begin_s * _PATIENCE, _PAUSE_S)):
                    await self._asked()
            except TimeoutError:
                await self.link.write(ymodem.ABORT, timeout_s=self._how.answer_s)
            else:
                return
        await self._asked()

    async def _asked(self) -> None:
        reply: Reply | None = None
        while reply is not Reply.BEGIN:
            with suppress(FlashFailed):  # it confirms that it gave up
                reply = await self._next(self._how.begin_s)

    async def send(self, image: bytes, name: str, progress: Progress) -> None:
        """The whole batch. Raises: FlashFailed; LinkError."""
        await self._block(ymodem.header(name, len(image)))
        with suppress(LinkTimeout):  # one that does not ask again takes the first block all the same
            await self._until(Reply.BEGIN)
        blocks, told = ymodem.blocks_of(image), -1
        for number, block in enumerate(blocks):
            await self._block(block)
            percent = (number + 1) * 100 // len(blocks)
            if percent != told:
                told = percent
                progress(percent)
        await self._block(ymodem.END)
        self._is_over = True
        await self._goodbye()

    async def close(self) -> None:
        """Let go; a boot loader in the middle of a file is told to give up."""
        if not self._is_over and self.link.is_open:
            with suppress(LinkError):
                await self.link.write(ymodem.ABORT, timeout_s=self._how.answer_s)
        await self.link.close()

    async def _block(self, block: bytes) -> None:
        """Send until it is taken. Raises: FlashFailed; LinkLost."""
        why, was_silent = Why.SILENT, False
        for _ in range(self._how.tries):
            self._forget()
            try:
                await self.link.write(block, timeout_s=self._how.answer_s)
                if await self._until(Reply.TAKEN, Reply.AGAIN) is Reply.TAKEN:
                    if was_silent:
                        await self._calm()
                    return
                why = Why.REFUSED
            except LinkTimeout:
                why, was_silent = Why.SILENT, True
        raise FlashFailed(why)

    async def _calm(self) -> None:
        """Let the late answer to a block that was sent twice pass: it must not count for the next one."""
        with suppress(LinkTimeout):
            while True:
                await self._next(_CALM_S)

    def _forget(self) -> None:
        self.link.discard()
        self._heard.clear()

    async def _goodbye(self) -> None:
        """The image is in the device; one that restarts at once does not hear that the batch is over."""
        with suppress(LinkError, FlashFailed, TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self._until(Reply.BEGIN)
                await self.link.write(ymodem.NO_MORE, timeout_s=self._how.answer_s)
                await self._until(Reply.TAKEN)

    async def _until(self, *wanted: Reply) -> Reply:
        """The next of these replies. Raises: LinkTimeout: none in time; FlashFailed: it gives up."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._how.answer_s
        while (left_s := end_s - loop.time()) > 0:
            reply = await self._next(left_s)
            if reply in wanted:
                return reply
        raise LinkTimeout("no answer to a block")

    async def _next(self, timeout_s: float) -> Reply | None:
        """What is said next; None for noise. Raises: LinkTimeout; FlashFailed: it gives up."""
        if not self._heard:
            self._heard += self._replies.feed(await self.link.read(timeout_s=timeout_s))
        reply = self._heard.popleft() if self._heard else None
        if reply is Reply.CANCEL:
            raise FlashFailed(Why.REFUSED)
        return reply
