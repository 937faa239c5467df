"""Contact readers over PC/SC: social-security cards by their public files, bank cards by EMV.

Public files only; where a card wants a PIN first (6982) the result says `needs_pin`. Never seen on hardware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

from agent.devices.card_reader import frames, frames_emv
from agent.devices.card_reader.frames import CardError, Command, Item, Reply, Status
from agent.devices.card_reader.options import Addressing, Options
from agent.devices.card_reader.types import BankCard, Card, CardKind, SocialCard, SocialHolder
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkLost, LinkTimeout
from agent.links.pcsc import Card as CardChannel
from agent.links.pcsc import (
    CardMute,
    CardPresence,
    CardRemoved,
    CardReset,
    CardTaken,
    PcscLink,
    ReaderGone,
    ReaderView,
    ServiceDown,
)
from kit.clock import Clock
from kit.logs import get_logger
from wire.faults import Fault
from wire.profile import DeviceProfile

_log = get_logger(__name__)

_LOOK_S = 3.0
_IDLE_S = 30.0
_SETTLE_S = 1.0
_QUICK_S = 10.0
_WAKE_S = 0.6
_STEPS_LIMIT = 8
_DIRECTORY_LIMIT = 10
_DETAILS = ((CardRemoved, "removed"), (CardMute, "mute"), (CardReset, "reset"), (LinkTimeout, "no_answer"))


class PcscCardReader:
    """A `Driver` and a `CardReader`."""

    def __init__(self, link: PcscLink, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        del clock  # deadlines are the loop's
        self._link = link
        self._owner = owner
        options = Options.of(profile)
        self._by_tag = options.addressing is Addressing.TAG
        self._file_p1 = options.select_file_p1
        self._answer_s = options.answer_s
        reads = {CardKind.SOCIAL: options.social, CardKind.BANK: options.bank}
        self._reads = frozenset(kind for kind, is_read in reads.items() if is_read)
        self._lock = asyncio.Lock()
        self._pulled_s = float("-inf")
        """When a card was last pulled out while it was read, in seconds of the loop."""

    async def start(self) -> DeviceFacts:
        """See `Driver`."""
        view = self._link.view
        try:
            async with asyncio.timeout(_LOOK_S):
                while not view.looked or (view.service_up and view.reader is None):
                    view = await self._link.changed(view, timeout_s=_LOOK_S)
        except TimeoutError:
            pass
        self._report(view)
        if not view.service_up:
            raise DeviceFault(Fault.READER_SERVICE_DOWN, "pcscd does not answer")
        if view.reader is None:
            raise DeviceFault(Fault.UNPLUGGED, "reader not listed")
        return DeviceFacts(model=view.reader)

    async def run(self) -> None:
        """See `Driver`; a service that restarts is reported and waited for, not an end."""
        view = self._link.view
        self._report(view)
        while True:
            try:
                after = await self._link.changed(view, timeout_s=_IDLE_S)
            except LinkTimeout:
                if view.reader is not None:
                    self._owner.alive()
                continue
            self._tell(view, after)
            view = after

    async def stop(self) -> None:
        """See `Driver`; a card is powered down after each read already."""

    async def read_card(self, accept: Collection[CardKind], *, wait_s: float) -> Card | None:
        """See `CardReader`."""
        async with self._lock:
            view = await self._card_within(wait_s)
            if view is None:
                return None
            try:
                card = await self._read_twice(self._reads & frozenset(accept), view)
            except LinkError as error:
                if isinstance(error, CardRemoved):
                    self._pulled_s = asyncio.get_running_loop().time()
                raise self._fault(error) from error
            except CardError as error:
                raise DeviceFault(Fault.CARD_UNREADABLE, "damaged") from error
        if card is None:
            raise DeviceFault(Fault.CARD_UNREADABLE, "other_kind")
        _log.info("card.read", kind=CardKind.SOCIAL if isinstance(card, SocialCard) else CardKind.BANK)
        return card

    async def _read_twice(self, accept: Collection[CardKind], view: ReaderView) -> Card | None:
        """Read; once more when the card was just exchanged for another, or reset by another program."""
        try:
            return await self._read(accept)
        except (CardMute, CardReset):
            if view.card is CardPresence.MUTE:
                raise
        with suppress(LinkTimeout):
            await self._link.changed(view, timeout_s=_SETTLE_S)
        if await self._card_within(_SETTLE_S) is None:
            raise CardRemoved("no card any more")
        return await self._read(accept)

    async def _card_within(self, wait_s: float) -> ReaderView | None:
        try:
            async with asyncio.timeout(wait_s):
                view = self._link.view
                while view.card not in {CardPresence.PRESENT, CardPresence.MUTE}:
                    if view.looked and view.reader is None:
                        raise self._fault((ReaderGone if view.service_up else ServiceDown)("gone"))
                    view = await self._changed(view, wait_s)
        except TimeoutError:
            return None
        return view

    async def _changed(self, view: ReaderView, wait_s: float) -> ReaderView:
        """The next view; a patient who puts a card back at once may have been too quick for pcscd.

        Raises:
            LinkTimeout: nothing changed.
        """
        loop = asyncio.get_running_loop()
        while view.reader is not None and loop.time() - self._pulled_s < _QUICK_S:
            try:
                return await self._link.changed(view, timeout_s=_WAKE_S)
            except LinkTimeout:
                _ = await self._link.wake(timeout_s=self._answer_s)
        return await self._link.changed(view, timeout_s=wait_s)

    async def _read(self, accept: Collection[CardKind]) -> Card | None:
        async with self._link.card(timeout_s=self._answer_s) as channel:
            talk = _Talk(channel, self._answer_s)
            if CardKind.SOCIAL in accept:
                social = await _SocialReading(talk, by_tag=self._by_tag, file_p1=self._file_p1).read(channel.atr)
                if social is not None:
                    return social
            return await _read_bank(talk) if CardKind.BANK in accept else None

    @staticmethod
    def _fault(error: LinkError) -> DeviceFault:
        for kind, detail in _DETAILS:
            if isinstance(error, kind):
                return DeviceFault(Fault.CARD_UNREADABLE, detail)
        if isinstance(error, ServiceDown):
            return DeviceFault(Fault.READER_SERVICE_DOWN, "pcscd does not answer")
        if isinstance(error, LinkLost):
            return DeviceFault(Fault.UNPLUGGED, "reader not listed")
        if isinstance(error, CardTaken):
            return DeviceFault(Fault.DEVICE_BUSY, "another program holds the card")
        return DeviceFault(Fault.DEVICE_ERROR, str(error))

    # --- watching ----------------------------------------------------------------------------------------

    def _tell(self, before: ReaderView, after: ReaderView) -> None:
        here = {CardPresence.PRESENT, CardPresence.MUTE}
        was_in, is_in = before.card in here, after.card in here
        if was_in and (not is_in or before.insertion != after.insertion):
            self._owner.event("CardReader.MediaRemovedEvent")
        if is_in and (not was_in or before.insertion != after.insertion):
            name = "InvalidMediaEvent" if after.card is CardPresence.MUTE else "MediaInsertedEvent"
            self._owner.event(f"CardReader.{name}")
        self._report(after)

    def _report(self, view: ReaderView) -> None:
        if not view.looked:
            return
        if not view.service_up:
            self._owner.status(DeviceStatus({Fault.READER_SERVICE_DOWN: "pcscd"}, {"media": "unknown"}))
            return
        if view.reader is None:
            self._owner.status(DeviceStatus({Fault.UNPLUGGED: "reader not listed"}, {"media": "unknown"}))
            return
        self._owner.alive()
        words = {CardPresence.ABSENT: "notPresent", CardPresence.PRESENT: "present", CardPresence.MUTE: "present"}
        powers = {CardPresence.ABSENT: "noCard", CardPresence.PRESENT: "online", CardPresence.MUTE: "hardwareError"}
        values = {"media": words.get(view.card, "unknown"), "chipPower": powers.get(view.card, "unknown")}
        self._owner.status(DeviceStatus({}, values))


class _Talk:
    """Commands to one card, with what T=0 needs in between."""

    def __init__(self, card: CardChannel, answer_s: float) -> None:
        self._card = card
        self._answer_s = answer_s

    async def ask(self, command: Command) -> Reply:
        data = b""
        for _ in range(_STEPS_LIMIT):
            raw = await self._card.transmit(command.encode(is_t0=self._card.is_t0), timeout_s=self._answer_s)
            reply = frames.decode_reply(raw)
            data += reply.data
            following = frames.follow_up(command, reply)
            if following is None:
                return Reply(data, reply.sw)
            command = following
        raise CardError("the card never comes to an end")


class _SocialReading:
    """Reads one social-security card."""

    def __init__(self, talk: _Talk, *, by_tag: bool, file_p1: int) -> None:
        self._talk = talk
        self._by_tag = by_tag
        self._file_p1 = file_p1

    async def read(self, atr: bytes) -> SocialCard | None:
        """The card, None when it is none."""
        reply = await self._talk.ask(frames.select_by_name(frames.SSSE))
        if reply.status is Status.NOT_FOUND:
            return None
        _must(reply, "application")
        await self._select(frames.EF05)
        identification = await self._item(frames.IDENTIFICATION)
        version = frames.text(await self._item(frames.VERSION))
        issued_on = frames.date(await self._item(frames.ISSUED_ON))
        expires_on = frames.date(await self._item(frames.EXPIRES_ON))
        number = frames.text(await self._item(frames.CARD_NUMBER))
        holder = await self._holder()
        return SocialCard(
            card_number=number,
            identification=identification.hex().upper(),
            version=version,
            issued_on=issued_on,
            expires_on=expires_on,
            needs_pin=holder is None,
            holder=holder,
            reset_information=frames.historical_bytes(atr),
        )

    async def _holder(self) -> SocialHolder | None:
        reply = await self._talk.ask(frames.select_file(frames.EF06, p1=self._file_p1))
        if reply.status is Status.NEEDS_PIN:
            return None
        _must(reply, "EF06")
        try:
            number = frames.id_number(await self._item(frames.ID_NUMBER))
        except _NeedsPin:
            return None
        return SocialHolder(
            id_number=number,
            name=frames.text(await self._item(frames.NAME)),
            sex=frames.sex(await self._item(frames.SEX)),
            area=(await self._item(frames.AREA)).hex(),
            birth_date=frames.date(await self._item(frames.BIRTH_DATE)),
        )

    async def _select(self, name: bytes) -> None:
        _must(await self._talk.ask(frames.select_file(name, p1=self._file_p1)), name.hex())

    async def _item(self, item: Item) -> bytes:
        """One record, by the way the profile says; a card that knows the other way only is read by that one."""
        for by_tag in (self._by_tag, not self._by_tag):
            command = frames.read_tag(item.tag) if by_tag else frames.read_record(item.record)
            reply = await self._talk.ask(command)
            if reply.status is Status.NO_RECORD:
                continue
            self._by_tag = by_tag
            break
        if reply.status is Status.NEEDS_PIN:
            raise _NeedsPin(f"record {item.record}")
        _must(reply, f"record {item.record}")
        return frames.decode_item(item, reply.data)


class _NeedsPin(CardError):
    """The card gives this only after a PIN."""


def _must(reply: Reply, what: str) -> None:
    if reply.status is not Status.OK:
        raise CardError(f"{what}: {reply.sw:04X}")


async def _read_bank(talk: _Talk) -> BankCard | None:
    for application in await _candidates(talk):
        reply = await talk.ask(frames.select_by_name(application.aid))
        if reply.status is not Status.OK:
            continue
        options = await talk.ask(frames.get_processing_options(frames_emv.pdol_values(reply.data)))
        _must(options, "processing options")
        parts = []
        for sfi, number in frames_emv.records(options.data):
            record = await talk.ask(frames.read_record(number, sfi=sfi))
            _must(record, f"file {sfi} record {number}")
            parts.append(record.data)
        account = frames_emv.account(parts)
        if account is None:
            raise CardError("no number in the records")
        label = frames_emv.label_of(reply.data) or application.label
        return BankCard(account.masked_pan, account.expires, label, application.aid.hex().upper())
    return None


async def _candidates(talk: _Talk) -> list[frames_emv.Application]:
    """Applications of the card's directory, or those we know."""
    known = [frames_emv.Application(aid, name) for name, aid in frames_emv.AIDS.items()]
    reply = await talk.ask(frames.select_by_name(frames_emv.PSE))
    if reply.status is not Status.OK:
        return known
    sfi = frames_emv.directory_sfi(reply.data)
    found: list[frames_emv.Application] = []
    for number in range(1, _DIRECTORY_LIMIT + 1):
        record = await talk.ask(frames.read_record(number, sfi=sfi))
        if record.status is not Status.OK:
            break
        found += frames_emv.applications(record.data)
    return found or known
