"""Smart card readers over PC/SC: who is there, and APDUs to the card that is in.

`smartcard.scard` only: pyscard's own monitors end for good when pcscd restarts (pyscard issues 27, 82, 128, 153).
One daemon thread per link holds a context of its own, waits for changes and starts over when the service dies; APDUs
run in a second thread with a second context. Numbers of errors beyond those in the table come from the profile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from smartcard import scard  # type: ignore[import-untyped]  # pyscard ships no types

from agent.links.base import LinkError, LinkLost, LinkTimeout
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from kit.logs import get_logger
from kit.supervise import Backoff
from wire.profile import LinkProfile

T = TypeVar("T")

_log = get_logger(__name__)

_PNP = r"\\?PnP?\Notification"
_POLL_MS = 500
_BACKOFF_S = (0.5, 5.0)
_MASK = 0xFFFFFFFF
_TIMEOUT, _NO_READERS = 0x8010000A, 0x8010002E
_ANY_PROTOCOL = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_NOT_POWERED = frozenset((0x8010000C, 0x80100067))  # NO_SMARTCARD, UNPOWERED_CARD
_FIRST_OF_ATR = (b"\x3b", b"\x3f")  # ISO/IEC 7816-3: direct and inverse convention


class CardRemoved(LinkError):
    """The card was pulled out; what it was asked last has no known outcome."""


class CardMute(LinkError):
    """There is a card, and it does not answer to power or reset."""


class CardTaken(LinkError):
    """Another program holds the card for itself."""


class CardReset(LinkError):
    """Another program reset the card: what was selected is selected no more."""


class ReaderGone(LinkLost):
    """The reader is unplugged."""


class ServiceDown(LinkLost):
    """The smart card service does not run."""


_MEANING: Mapping[int, type[LinkError]] = MappingProxyType(
    {
        0x8010000B: CardTaken,  # SHARING_VIOLATION
        0x8010000C: CardRemoved,  # NO_SMARTCARD
        0x80100016: CardRemoved,  # NOT_TRANSACTED
        0x8010002F: CardRemoved,  # COMM_DATA_LOST
        0x80100069: CardRemoved,  # REMOVED_CARD
        0x80100066: CardMute,  # UNRESPONSIVE_CARD
        0x80100067: CardMute,  # UNPOWERED_CARD
        0x8010000F: CardMute,  # PROTO_MISMATCH
        0x80100065: CardMute,  # UNSUPPORTED_CARD
        0x80100068: CardReset,  # RESET_CARD
        0x80100009: ReaderGone,  # UNKNOWN_READER
        0x80100017: ReaderGone,  # READER_UNAVAILABLE
        0x8010002E: ReaderGone,  # NO_READERS_AVAILABLE
        0x80100003: ServiceDown,  # INVALID_HANDLE: of a service that restarted
        0x80100013: ServiceDown,  # COMM_ERROR
        0x8010001D: ServiceDown,  # NO_SERVICE
        0x8010001E: ServiceDown,  # SERVICE_STOPPED
    }
)


class CardPresence(StrEnum):
    """What is in the reader."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    PRESENT = "present"
    MUTE = "mute"


@dataclass(frozen=True, slots=True)
class ReaderView:
    """What is known of the reader right now.

    `insertion` counts cards: when it moved while a card is present, that card is another one than before.
    `looked` is false until the service was asked once.
    """

    looked: bool = False
    service_up: bool = False
    reader: str | None = None
    card: CardPresence = CardPresence.UNKNOWN
    atr: bytes = field(default=b"", repr=False)
    insertion: int = 0


def _error(code: int, what: str, removed: frozenset[int]) -> LinkError:
    number = code & _MASK
    kind = CardRemoved if number in removed else _MEANING.get(number, LinkError)
    return kind(f"{what}: 0x{number:08X}")


class _Watcher:
    """The thread that waits for changes; `tell` is called in it with each new view."""

    def __init__(self, wanted: str, tell: Callable[[ReaderView], None]) -> None:
        self._wanted = wanted
        self._tell = tell
        self._view = ReaderView()
        self._stop = threading.Event()
        self._backoff = Backoff(base_s=_BACKOFF_S[0], cap_s=_BACKOFF_S[1])
        self._marks = 0
        self._thread = threading.Thread(target=self._run, name="pcsc-watcher", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still watches."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let it end within half a second."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
            if code == scard.SCARD_S_SUCCESS:
                try:
                    code = self._watch(context)
                finally:
                    scard.SCardReleaseContext(context)
            if self._stop.is_set():
                return
            self._set(looked=True, service_up=False, reader=None, card=CardPresence.UNKNOWN, atr=b"")
            self._stop.wait(self._backoff.next_s())

    def _watch(self, context: int) -> int:
        """Look until the service fails; with what code it did."""
        states: dict[str, int] = {_PNP: scard.SCARD_STATE_UNAWARE}
        while not self._stop.is_set():
            code, names = scard.SCardListReaders(context, [])
            if code != scard.SCARD_S_SUCCESS and code & _MASK != _NO_READERS:
                return int(code)
            reader = next((name for name in sorted(names) if self._wanted in name), None)
            if reader is None:
                states = {_PNP: states[_PNP]}
                self._set(looked=True, service_up=True, reader=None, card=CardPresence.UNKNOWN, atr=b"")
            elif reader not in states:
                states = {_PNP: states[_PNP], reader: scard.SCARD_STATE_UNAWARE}
            code, found = scard.SCardGetStatusChange(context, _POLL_MS, list(states.items()))
            if code == scard.SCARD_S_SUCCESS:
                self._backoff.reset()
                self._sort_out(found, states)
            elif _MEANING.get(code & _MASK) is ReaderGone:
                states = {_PNP: states[_PNP]}
            elif code & _MASK != _TIMEOUT:
                return int(code)
        return 0

    def _sort_out(self, found: list[tuple[str, int, list[int]]], states: dict[str, int]) -> None:
        for name, event, atr in found:
            states[name] = event & ~scard.SCARD_STATE_CHANGED
            if name != _PNP:
                self._see(name, event, bytes(atr))

    def _see(self, reader: str, event: int, atr: bytes) -> None:
        if event & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
            self._set(looked=True, service_up=True, reader=None, card=CardPresence.UNKNOWN, atr=b"")
            return
        if event & scard.SCARD_STATE_PRESENT:
            is_mute = event & scard.SCARD_STATE_MUTE or atr[:1] not in _FIRST_OF_ATR
            card = CardPresence.MUTE if is_mute else CardPresence.PRESENT
        else:
            card = CardPresence.ABSENT
        # pcsc-lite counts insertions and removals in the upper half: a card changed between two looks moves it too.
        marks, self._marks = self._marks, event >> 16
        is_new = card is not CardPresence.ABSENT and (marks != self._marks or self._view.card is not card)
        insertion = self._view.insertion + is_new
        self._set(looked=True, service_up=True, reader=reader, card=card, atr=atr, insertion=insertion)

    def _set(self, **changes: object) -> None:
        view = replace(self._view, **changes)  # type: ignore[arg-type]  # the fields of the view, by name
        if view != self._view:
            self._view = view
            self._tell(view)


def _powered(context: int, reader: str) -> tuple[int, int, int]:
    """Connect to a card that pcscd has not powered: code, handle and protocol.

    pcscd looks every 0.4 s: a card put in within one look after another was pulled out under a command is never powered
    by itself, and stays `no smart card` until it is taken out once more. Powering it down and up wakes it.
    """
    code, card, _ = scard.SCardConnect(context, reader, scard.SCARD_SHARE_DIRECT, 0)
    if code != scard.SCARD_S_SUCCESS:
        return code, card, 0
    code, protocol = scard.SCardReconnect(card, scard.SCARD_SHARE_SHARED, _ANY_PROTOCOL, scard.SCARD_UNPOWER_CARD)
    if code != scard.SCARD_S_SUCCESS:
        scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)
    return code, card, protocol


def _wake(reader: str) -> bool:
    """Whether there is a card that pcscd does not see; it sees it afterwards."""
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if code != scard.SCARD_S_SUCCESS:
        return False
    try:
        code, card, _ = _powered(context, reader)
        if code == scard.SCARD_S_SUCCESS:
            scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)
        return bool(code == scard.SCARD_S_SUCCESS)
    finally:
        scard.SCardReleaseContext(context)


class _Channel:
    """One card, connected; every method blocks and runs in the thread of the link."""

    def __init__(self, reader: str, removed: frozenset[int]) -> None:
        self._removed = removed
        self._context: int | None = None
        self._card: int | None = None
        self.is_abandoned = False
        code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        self._check(code, "no service")
        self._context = context
        code, card, self.protocol = scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, _ANY_PROTOCOL)
        if code & _MASK in _NOT_POWERED:
            code, card, self.protocol = _powered(context, reader)
        self._check(code, "connect")
        self._card = card
        self._check(scard.SCardBeginTransaction(self._card), "begin")
        status = scard.SCardStatus(self._card)
        self._check(status[0], "status")
        self.atr = bytes(status[4])

    def _check(self, code: int, what: str) -> None:
        if code != scard.SCARD_S_SUCCESS:
            self.release()
            raise _error(code, what, self._removed)

    def transmit(self, apdu: bytes) -> bytes:
        """One APDU and its answer."""
        header = scard.SCARD_PCI_T0 if self.protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1
        code, answer = scard.SCardTransmit(self._card, header, list(apdu))
        if self.is_abandoned:
            self.release()
            raise LinkTimeout("the answer came too late")
        if code != scard.SCARD_S_SUCCESS:
            raise _error(code, "transmit", self._removed)
        if not answer:  # vsmartcard's driver says so of a card that left in the middle; none answers without a status
            raise CardRemoved("transmit: empty answer")
        return bytes(answer)

    def release(self) -> None:
        """Give the card back, powered down, and the context; twice is harmless."""
        if self._card is not None:
            scard.SCardEndTransaction(self._card, scard.SCARD_LEAVE_CARD)
            scard.SCardDisconnect(self._card, scard.SCARD_UNPOWER_CARD)
            self._card = None
        if self._context is not None:
            scard.SCardReleaseContext(self._context)
            self._context = None


class Card:
    """The card that is in, held in a transaction: no other program comes in between."""

    def __init__(self, link: PcscLink, channel: _Channel) -> None:
        self._link = link
        self._channel = channel

    @property
    def is_t0(self) -> bool:
        """Whether the card speaks T=0, which gives long answers in two steps."""
        return bool(self._channel.protocol == scard.SCARD_PROTOCOL_T0)

    @property
    def atr(self) -> bytes:
        """What this card said when it was powered."""
        return self._channel.atr

    async def transmit(self, apdu: bytes, *, timeout_s: float) -> bytes:
        """Answer to one APDU, status word included.

        Raises:
            CardRemoved: it was pulled out.
            CardReset: another program reset it.
            LinkTimeout: no answer in time; the card is let go.
            LinkLost: reader or service are gone.
        """
        return await self._link.run(self._channel.transmit, apdu, timeout_s=timeout_s)


class PcscLink:
    """One reader, by a part of its name; "" takes the first. It may come and go while the link is open."""

    def __init__(self, reader: str = "", *, removed_codes: frozenset[int] = frozenset()) -> None:
        self._wanted = reader
        self._removed = removed_codes
        self._watcher: _Watcher | None = None
        self._thread: DeviceThread | None = None
        self._channel: _Channel | None = None
        self._view = ReaderView()
        self._moved = asyncio.Event()

    @classmethod
    def of(cls, profile: LinkProfile, port: str | None) -> PcscLink:
        """The link of a profile: option `reader` or the port names it, `removed_codes` adds hex numbers.

        Raises:
            ValueError: `removed_codes` holds something that is no number.
        """
        codes = str(profile.options.get("removed_codes", "")).split()
        return cls(port or str(profile.options.get("reader", "")), removed_codes=frozenset(int(c, 16) for c in codes))

    @property
    def name(self) -> str:
        """Name of the reader, or what is looked for."""
        return self._view.reader or self._wanted or "pcsc"

    @property
    def is_open(self) -> bool:
        """Whether it watches."""
        return self._watcher is not None and self._watcher.is_alive

    @property
    def view(self) -> ReaderView:
        """The newest view."""
        return self._view

    async def open(self) -> None:
        """Begin to watch; a service that is down or a reader that is missing show in the view."""
        if self.is_open:
            return
        loop = asyncio.get_running_loop()

        def tell(view: ReaderView) -> None:
            try:
                loop.call_soon_threadsafe(self._take, view)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return

        self._view = ReaderView()
        self._watcher = _Watcher(self._wanted, tell)

    def _take(self, view: ReaderView) -> None:
        if view.service_up != self._view.service_up or not self._view.looked:
            _log.info("pcsc.service", is_up=view.service_up)
        if view.reader != self._view.reader:
            _log.info("pcsc.reader", reader=view.reader, was=self._view.reader)
        self._view = view
        self._moved.set()

    async def changed(self, seen: ReaderView, *, timeout_s: float) -> ReaderView:
        """Return a view that differs from `seen`.

        Raises:
            LinkTimeout: nothing changed.
            LinkLost: nobody watches any more.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._view == seen:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            if not self.is_open:
                raise LinkLost(f"{self.name}: not watched") from None
            raise LinkTimeout(f"{self.name}: nothing changed") from None
        return self._view

    @asynccontextmanager
    async def card(self, *, timeout_s: float) -> AsyncIterator[Card]:
        """Hold the card in the reader; one at a time.

        Raises:
            CardRemoved: there is none.
            CardMute: it does not answer.
            CardTaken: another program holds it.
            LinkTimeout: it could not be had in time.
            LinkLost: reader or service are gone.
        """
        assert self._channel is None, "one card at a time"  # noqa: S101 - a bug of the caller
        if self._view.reader is None:
            raise (ReaderGone if self._view.service_up else ServiceDown)(self.name)
        if self._view.card is CardPresence.MUTE:
            raise CardMute(self.name)
        channel = await self.run(_Channel, self._view.reader, self._removed, timeout_s=timeout_s)
        self._channel = channel
        try:
            yield Card(self, channel)
        finally:
            self._channel = None
            await self._release(channel)

    async def wake(self, *, timeout_s: float) -> bool:
        """Look for a card that pcscd has missed: worth it right after one was pulled out under a command."""
        reader = self._view.reader
        if reader is None or self._channel is not None:
            return False
        try:
            return await self.run(_wake, reader, timeout_s=timeout_s)
        except LinkTimeout:
            return False

    async def _release(self, channel: _Channel) -> None:
        if channel.is_abandoned:
            return
        try:
            await self.run(channel.release, timeout_s=2.0)
        except LinkTimeout:
            return

    async def run(self, work: Callable[..., T], *arguments: object, timeout_s: float) -> T:
        """Do blocking work in the thread of the cards; a new one when the last was left hanging.

        Raises:
            LinkTimeout: it did not end in time.
        """
        if self._thread is None or not self._thread.is_usable:
            self._thread = DeviceThread("pcsc-cards")
        try:
            return await self._thread.call(work, *arguments, timeout_s=timeout_s)
        except (CallTimeout, Abandoned) as late:
            if self._channel is not None:
                self._channel.is_abandoned = True
            raise LinkTimeout(f"{self.name}: no answer") from late

    async def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        if self._thread is not None:
            self._thread.close(timeout_s=0)
            self._thread = None
