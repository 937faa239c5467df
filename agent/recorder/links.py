"""Links that say to a tap what passes; for the driver they are the links they wrap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from agent.links.base import ByteLink, LinkError, LinkLost, LinkTimeout
from agent.recorder.recorder import Tap
from wire.recording import Way, Word

DOCUMENT = "document"


class AnyLink(Protocol):
    """What all links have."""

    @property
    def name(self) -> str:
        """See `ByteLink`."""

    @property
    def is_open(self) -> bool:
        """See `ByteLink`."""

    async def open(self) -> None:
        """See `ByteLink`."""

    async def close(self) -> None:
        """See `ByteLink`."""


class _Recorded:
    """Opening and closing, which all links have."""

    def __init__(self, link: AnyLink, tap: Tap) -> None:
        self._any = link
        self._tap = tap
        self._was_open = False

    @property
    def name(self) -> str:
        """See `ByteLink`."""
        return self._any.name

    @property
    def is_open(self) -> bool:
        """See `ByteLink`."""
        return self._any.is_open

    async def open(self) -> None:
        """See `ByteLink`."""
        try:
            await self._any.open()
        except LinkError:
            self._tap.note(Word.OPEN_FAILED)
            raise
        self._was_open = True
        self._tap.note(Word.OPENED)

    async def close(self) -> None:
        """See `ByteLink`."""
        if self._was_open:
            self._was_open = False
            self._tap.note(Word.CLOSED)
        await self._any.close()

    def _failed(self, error: LinkError) -> None:
        if isinstance(error, LinkLost):
            self._tap.note(Word.LOST)
        elif isinstance(error, LinkTimeout):
            self._tap.note(Word.TIMEOUT)


class RecordedLink(_Recorded):
    """A `ByteLink`."""

    def __init__(self, link: ByteLink, tap: Tap) -> None:
        super().__init__(link, tap)
        self._link = link

    async def read(self, *, timeout_s: float) -> bytes:
        """See `ByteLink`; that nothing comes is seen by the times of what does."""
        try:
            data = await self._link.read(timeout_s=timeout_s)
        except LinkLost:
            self._tap.note(Word.LOST)
            raise
        self._tap.passed(Way.CAME, data)
        return data

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        """See `ByteLink`."""
        self._tap.passed(Way.SENT, data)
        try:
            await self._link.write(data, timeout_s=timeout_s)
        except LinkError as error:
            self._failed(error)
            raise

    def discard(self) -> int:
        """See `ByteLink`; half a frame that the driver gives up is given up here as well."""
        count = self._link.discard()
        self._tap.settle(Way.CAME)
        if count:
            self._tap.note(Word.DISCARDED, count)
        return count


class CardChannel(Protocol):
    """`agent.links.pcsc.Card`."""

    @property
    def is_t0(self) -> bool:
        """See there."""

    @property
    def atr(self) -> bytes:
        """See there."""

    async def transmit(self, apdu: bytes, *, timeout_s: float) -> bytes:
        """See there."""


class CardView(Protocol):
    """`agent.links.pcsc.ReaderView`."""

    @property
    def insertion(self) -> int:
        """See there."""

    @property
    def card(self) -> str:
        """See there."""


class CardLink(AnyLink, Protocol):
    """`agent.links.pcsc.PcscLink`."""

    @property
    def view(self) -> CardView:
        """See there."""

    async def changed(self, seen: CardView, *, timeout_s: float) -> CardView:
        """See there."""

    def card(self, *, timeout_s: float) -> AbstractAsyncContextManager[CardChannel]:
        """See there."""

    async def wake(self, *, timeout_s: float) -> bool:
        """See there."""


class RecordedCardLink(_Recorded):
    """A `PcscLink`."""

    def __init__(self, link: CardLink, tap: Tap) -> None:
        super().__init__(link, tap)
        self._link = link
        self._noted: tuple[int, str] = (0, "")

    @property
    def view(self) -> CardView:
        """See `PcscLink`."""
        return self._link.view

    async def changed(self, seen: CardView, *, timeout_s: float) -> CardView:
        """See `PcscLink`."""
        view = await self._link.changed(seen, timeout_s=timeout_s)
        here = (view.insertion, str(view.card))
        if here != self._noted:
            self._noted = here
            self._tap.note(Word.CARD, int(view.card in {"present", "mute"}))
        return view

    async def wake(self, *, timeout_s: float) -> bool:
        """See `PcscLink`."""
        return await self._link.wake(timeout_s=timeout_s)

    @asynccontextmanager
    async def card(self, *, timeout_s: float) -> AsyncIterator[CardChannel]:
        """See `PcscLink`."""
        try:
            async with self._link.card(timeout_s=timeout_s) as channel:
                yield _RecordedCard(channel, self._tap)
        except LinkError as error:
            self._failed(error)
            raise


class _RecordedCard:
    """A `Card`: one command and one answer are one frame each."""

    def __init__(self, channel: CardChannel, tap: Tap) -> None:
        self._channel = channel
        self._tap = tap

    @property
    def is_t0(self) -> bool:
        return self._channel.is_t0

    @property
    def atr(self) -> bytes:
        return self._channel.atr

    async def transmit(self, apdu: bytes, *, timeout_s: float) -> bytes:
        self._tap.passed(Way.SENT, apdu)
        answer = await self._channel.transmit(apdu, timeout_s=timeout_s)
        self._tap.passed(Way.CAME, answer)
        return answer


class PrinterLink(AnyLink, Protocol):
    """`agent.links.ipp.IppLink`."""

    @property
    def uri(self) -> str:
        """See there."""

    async def exchange(self, request: bytes, document: bytes = b"", *, timeout_s: float) -> bytes:
        """See there."""


class RecordedIppLink(_Recorded):
    """An `IppLink`: a request and its reply are one frame each, a document is its length."""

    def __init__(self, link: PrinterLink, tap: Tap) -> None:
        super().__init__(link, tap)
        self._link = link

    @property
    def uri(self) -> str:
        """See `IppLink`."""
        return self._link.uri

    async def exchange(self, request: bytes, document: bytes = b"", *, timeout_s: float) -> bytes:
        """See `IppLink`."""
        self._tap.passed(Way.SENT, request)
        self._tap.covered(DOCUMENT, document)
        try:
            reply = await self._link.exchange(request, document, timeout_s=timeout_s)
        except LinkError as error:
            status = getattr(error, "status", None)
            if isinstance(status, int):
                self._tap.note(Word.REFUSED, status)
            else:
                self._failed(error)
            raise
        self._tap.passed(Way.CAME, reply)
        return reply
