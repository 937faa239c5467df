"""Drives an SDT/SAM_A module: finds, selects and reads cards; follows GA/T 467-2019 and what public drivers do.

A card is read only when somebody waits for it. It counts as taken off after several misses in a row, and one that
could not be read has to be taken off before it is tried again. Never seen on hardware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple, Protocol

from agent.devices.id_card_reader import documents, frames, frames_hid, frames_miaxis
from agent.devices.id_card_reader.frames import Reply, Request, Status
from agent.devices.id_card_reader.types import IdDocument, PhotoDecoder
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkLost, LinkTimeout
from kit.blocking import CallTimeout, DeviceThread
from kit.clock import Clock
from kit.logs import get_logger
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile

_TRIES = 2
_PHOTO_S = 3.0
log = get_logger(__name__)


class _Decoder(Protocol):
    @property
    def errors(self) -> int: ...
    @property
    def has_rest(self) -> bool: ...
    def feed(self, data: bytes) -> list[Reply]: ...


class Framing(NamedTuple):
    """How frames travel."""

    encode: Callable[[Request], bytes]
    decoder: Callable[[], _Decoder]


FRAMINGS: Mapping[str, Framing] = MappingProxyType(
    {
        "sdt": Framing(frames.encode_request, frames.Decoder),
        "sdt_hid": Framing(frames_hid.encode_request, frames_hid.Decoder),
        "sdt_miaxis": Framing(frames_miaxis.encode_request, frames_miaxis.Decoder),
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """The numbers of a model, from its profile's quirks and capabilities."""

    find_s: float = 0.3
    status_s: float = 3.0
    answer_s: float = 1.0
    read_s: float = 3.0
    removal_misses: int = 3
    finds_again: bool = False
    """Whether a card that lies there answers every search; else it is asked for its address, as one driver does."""
    newest_address: bool = False
    photo_magic: str = ""
    long_term: str = documents.LONG_TERM
    licence_prefix: str = ""
    """What the SAM's id must begin with (area and year, such as 05.01); another reader is the wrong device."""

    @classmethod
    def of(cls, profile: DeviceProfile) -> Options:
        """What the profile says; a name it does not have keeps its default."""
        given: dict[str, Scalar] = {**profile.capabilities, **profile.quirks}
        known = cls()
        return cls(
            find_s=float(given.get("find_s") or known.find_s),
            status_s=float(given.get("status_s") or known.status_s),
            answer_s=float(given.get("answer_s") or known.answer_s),
            read_s=float(given.get("read_s") or known.read_s),
            removal_misses=int(given.get("removal_misses") or known.removal_misses),
            finds_again=given.get("finds_again") is True,
            newest_address=given.get("newest_address") is True,
            photo_magic=str(given.get("photo_magic") or ""),
            long_term=str(given.get("long_term") or known.long_term),
            licence_prefix=str(given.get("licence_prefix") or ""),
        )


class SdtIdCardReader:
    """A `Driver` and an `IdCardReader`."""

    def __init__(
        self,
        link: ByteLink,
        profile: DeviceProfile,
        owner: Owner,
        clock: Clock,
        photo_decoder: PhotoDecoder | None = None,
    ) -> None:
        self._link = link
        self._options = Options.of(profile)
        self._framing = FRAMINGS[profile.dialect]
        self._owner = owner
        self._clock = clock
        self._photo_decoder = photo_decoder
        self._lock = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._card: bytes | None = None
        self._misses = 0
        self._is_spoiled = self._is_reading = self._is_over = False
        self.line_errors = 0
        """Frames that came damaged, and requests the reader says came damaged."""

    @property
    def is_card_present(self) -> bool:
        """See `IdCardReader`."""
        return self._card is not None

    async def start(self) -> DeviceFacts:
        """See `Driver`."""
        async with self._lock:
            await self._ask(frames.STATUS)
            licence = frames.sam_id((await self._ask(frames.SAM_ID)).data)
        if not licence.startswith(self._options.licence_prefix):
            raise DeviceFault(Fault.WRONG_DEVICE, f"another reader answers: {licence}")
        self._tell()
        return DeviceFacts(serial=licence)

    async def run(self) -> None:
        """See `Driver`."""
        options = self._options
        status_at_s = self._clock.monotonic() + options.status_s
        try:
            while True:
                async with self._lock:
                    if self._card is None and self._clock.monotonic() >= status_at_s:
                        await self._ask(frames.STATUS)
                        status_at_s = self._clock.monotonic() + options.status_s
                    await self._watch()
                await asyncio.sleep(options.find_s)
        finally:
            await self._end()

    async def stop(self) -> None:
        """See `Driver`."""
        await self._end()

    async def read_document(self, *, timeout_s: float) -> IdDocument | None:
        """See `IdCardReader`."""
        if self._is_reading:
            raise DeviceFault(Fault.DEVICE_BUSY, "somebody reads already")
        self._is_reading = True
        try:
            if not await self._until(lambda: self._card is not None and not self._is_spoiled, timeout_s):
                if self._is_spoiled:
                    raise DeviceFault(Fault.CARD_UNREADABLE, "the card was not taken off and put there again")
                return None
            async with self._lock:
                document = await self._read()
            return await self._with_picture(document)
        finally:
            self._is_reading = False

    async def wait_removed(self, *, timeout_s: float) -> bool:
        """See `IdCardReader`."""
        return await self._until(lambda: self._card is None, timeout_s)

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._is_over or condition())
        except TimeoutError:
            return False
        if self._is_over:
            raise LinkLost(f"{self._link.name}: the reader is not in use any more")
        return True

    async def _end(self) -> None:
        self._is_over = True
        async with self._changed:
            self._changed.notify_all()

    # --- cards -------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        if self._card is not None and not self._options.finds_again:
            reply = await self._ask(frames.READ_ADDRESS)
            is_there = reply.status in {Status.OK, Status.NO_SUCH_ITEM}
            await self._note(self._card if is_there else await self._found())
        else:
            await self._note(await self._found())

    async def _found(self) -> bytes | None:
        """Find and select; what tells one card from another, or None."""
        found = await self._ask(frames.FIND)
        if found.status != Status.FOUND:
            return None
        selected = await self._ask(frames.SELECT)
        return found.data + selected.data if selected.status == Status.OK else None

    async def _note(self, card: bytes | None) -> None:
        before = self._card
        if card is None and before is not None:
            self._misses += 1
            if self._misses < self._options.removal_misses:
                return
        self._misses = 0
        if card == before:
            return
        self._card, self._is_spoiled = card, False
        self._tell()
        if before is not None:
            self._owner.event("CardReader.MediaRemovedEvent")
        if card is not None:
            self._owner.event("CardReader.MediaInsertedEvent")
        async with self._changed:
            self._changed.notify_all()

    async def _read(self) -> IdDocument:
        """Read the card that is selected; where that fails select it anew and try once more."""
        reply = await self._ask(frames.READ_BASE)
        if reply.status != Status.OK and await self._found() is not None:
            reply = await self._ask(frames.READ_BASE)
        if reply.status != Status.OK:
            self._is_spoiled = True
            raise DeviceFault(Fault.CARD_UNREADABLE, f"status {reply.status:02x}")
        try:
            text, photo = frames.split_base(reply.data)
            document = documents.parse(text, photo=self._photo(photo), long_term=self._options.long_term)
        except ValueError as error:
            self._is_spoiled = True
            raise DeviceFault(Fault.CARD_UNREADABLE, str(error)) from None
        return await self._with_address(document) if self._options.newest_address else document

    async def _with_address(self, document: IdDocument) -> IdDocument:
        reply = await self._ask(frames.READ_ADDRESS)
        if reply.status != Status.OK:
            return document
        try:
            return replace(document, newest_address=documents.parse_address(reply.data))
        except ValueError:
            return document

    def _photo(self, photo: bytes) -> bytes:
        return photo if photo.startswith(self._options.photo_magic.encode()) else b""

    async def _with_picture(self, document: IdDocument) -> IdDocument:
        if self._photo_decoder is None or not document.photo:
            return document
        thread = DeviceThread("photo")
        try:
            picture = await thread.call(self._photo_decoder.decode, document.photo, timeout_s=_PHOTO_S)
        except CallTimeout:
            log.warning("photo.timeout")
            return document
        finally:
            thread.close(timeout_s=0.0)
        return replace(document, picture=picture)

    def _tell(self) -> None:
        self._owner.status(DeviceStatus(values={"media": "present" if self.is_card_present else "notPresent"}))

    # --- exchanges ---------------------------------------------------------------------------------------

    async def _ask(self, request: Request) -> Reply:
        """One request and its reply; asking again changes nothing, so it is done once."""
        fault = Fault.NOT_RESPONDING
        for _ in range(_TRIES):
            reply, fault = await self._exchange(request)
            if reply is None:
                continue
            self._owner.alive()
            if reply.status in frames.SAM_ERRORS:
                raise DeviceFault(Fault.SAM_FAILED, f"status {reply.status:02x}")
            if reply.status not in frames.LINE_ERRORS:
                return reply
            self.line_errors += 1
            fault = Fault.PROTOCOL_ERROR
        raise DeviceFault(fault, f"command {request.command:02x}{request.parameter:02x}")

    async def _exchange(self, request: Request) -> tuple[Reply | None, Fault]:
        options = self._options
        decoder = self._framing.decoder()
        self._link.discard()
        is_noisy = False
        try:
            async with asyncio.timeout(
                options.answer_s if request.command < frames.READ_BASE.command else options.read_s
            ):
                await self._link.write(self._framing.encode(request), timeout_s=options.answer_s)
                while not decoder.errors:
                    for reply in decoder.feed(await self._link.read(timeout_s=options.read_s)):
                        if request.fits(reply):
                            return reply, Fault.PROTOCOL_ERROR
                        is_noisy = True
        except (LinkTimeout, TimeoutError):
            pass
        self.line_errors += decoder.errors
        is_noisy = is_noisy or decoder.errors > 0 or decoder.has_rest
        return None, Fault.PROTOCOL_ERROR if is_noisy else Fault.NOT_RESPONDING
