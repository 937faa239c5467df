"""The smart card reader of a lab: a real pcscd with a virtual reader, and cards without plastic."""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from simulators.devices.smart_card import CardFault, Holder, SmartCard, debit_card, social_card
from simulators.devices.vpcd import VpcdSlot
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.card_service import READER, VARIABLE, CardService, CardServiceError
from simulators.lab.device import LINK, Device, Dropping, Fact, FactValue, Garbling, Kind, Slow, Swap, Tone
from simulators.lab.errors import ActionRefused
from simulators.people import People

_FOR_EVER = 10**9
_LUHN_LIMIT = 9
_NO_SERVICE = "没有 pcscd：{reason} · no card service"


class CardChoice(StrEnum):
    """Which card."""

    SOCIAL_SECURITY = "social_security"
    BANK = "bank"


_TITLES = {CardChoice.SOCIAL_SECURITY: "社会保障卡", CardChoice.BANK: "银行卡"}


class InsertCard(Arguments):
    """Whose card of which kind."""

    kind: CardChoice = labelled(CardChoice.SOCIAL_SECURITY, "卡种", "Card")
    person: int = labelled(1, "人物编号", "Person number", ge=0, le=10**9)
    protected: bool = labelled(default=False, zh="需要密码才可读（社保卡）", en="EF06 needs a PIN (social security)")
    by_tag: bool = labelled(default=False, zh="按标签读（社保卡）", en="Records by tag (social security)")


class CardScript(Arguments):
    """A fault of the card."""

    fault: CardFault = labelled(..., "故障", "Fault")
    after: int = labelled(0, "先正常几条指令", "Good commands before", ge=0, le=10_000)
    times: int = labelled(1, "多少次", "Times", ge=1, le=100_000)


def pan_of(seed: int) -> str:
    """A made-up card number with its check digit (Luhn), the same for the same seed."""
    first = "621700" + "".join(random.Random(seed).choices("0123456789", k=12))
    total = 0
    for at, letter in enumerate(reversed(first)):
        digit = int(letter) * (2 - at % 2)
        total += digit - _LUHN_LIMIT if digit > _LUHN_LIMIT else digit
    return first + str(-total % 10)


def card_of(arguments: InsertCard) -> SmartCard:
    """The card asked for; its holder is the person of the same number everywhere in the lab."""
    if arguments.kind is CardChoice.BANK:
        return debit_card(pan_of(arguments.person))
    person = People(arguments.person).person()
    number = "A" + "".join(random.Random(arguments.person).choices("0123456789", k=8))
    holder = Holder(person.name, person.number, number, str(person.sex))
    return social_card(holder, is_protected=arguments.protected, by_tag=arguments.by_tag)


class CardReader(Device):
    """A reader behind a pcscd of its own, or the reason why there is none."""

    kind = Kind.CARD_READER
    zh, en = "社保卡/银行卡读卡器", "Smart card reader"
    models = ("generic-pcsc",)
    facts = (
        Fact("card", "卡", "Card"),
        Fact("number", "卡号", "Number"),
        Fact("service", "pcscd 运行", "pcscd runs", Tone.LIGHT),
        Fact("apdus", "本卡指令数", "Commands to this card"),
        Fact("verifies", "密码校验次数（应为 0）", "VERIFY commands (must be 0)"),
        Fact("absent", "不可用原因", "Why it is absent", Tone.ALARM),
    )

    def __init__(self, component: str, model: str, service: CardService | None, absent: str | None = None) -> None:
        super().__init__(component, model)
        self._service = service
        self._absent = absent
        self._slot: VpcdSlot | None = None
        self._card: SmartCard | None = None
        self._title = self._number = ""
        self._has_reader = False
        self._link_scripts: list[tuple[CardFault, int]] = []
        self._delay_s = 1.0

    @property
    def port(self) -> str:
        """See `Device`."""
        return READER

    @property
    def reader_name(self) -> str | None:
        """See `Device`."""
        return READER if self._service is not None else None

    @property
    def environment(self) -> Mapping[str, str]:
        """See `Device`."""
        return {} if self._service is None else {VARIABLE: str(self._service.socket_path)}

    @property
    def is_plugged(self) -> bool:
        """See `Device`."""
        return self._has_reader and self._service is not None and self._service.is_running

    async def __aenter__(self) -> Self:
        if self._service is not None:
            try:
                await self._service.start()
            except CardServiceError as error:
                self._service, self._absent = None, str(error)
                return self
            self._has_reader = True
            self._slot = await VpcdSlot(self._service.connect).__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._slot is not None:
            await self._slot.__aexit__(*exc)
        if self._service is not None:
            await self._service.stop()

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        card = self._card
        return {
            "card": None if card is None else self._title,
            "number": None if card is None else self._number,
            "service": self._service is not None and self._service.is_running,
            "apdus": 0 if card is None else card.longest,
            "verifies": 0 if card is None else card.verifies,
            "absent": self._absent,
        }

    def troubles(self) -> tuple[str, ...]:
        """See `Device`."""
        return tuple(fault.value for fault, _ in self._link_scripts)

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        scripted = () if self._card is None else self._card.scripted
        return tuple(fault.value for fault in scripted if fault.value not in self.troubles())

    def _parts(self) -> tuple[CardService, VpcdSlot]:
        if self._service is None or self._slot is None:
            raise ActionRefused(_NO_SERVICE.format(reason=self._absent))
        return self._service, self._slot

    # --- cards ---------------------------------------------------------------------------------------------

    async def insert(self, arguments: InsertCard) -> None:
        """Put a card in."""
        self._parts()
        self._card = card_of(arguments)
        self._title = _TITLES[arguments.kind]
        self._number = pan_of(arguments.person) if arguments.kind is CardChoice.BANK else f"#{arguments.person}"
        self._trouble(self._card)
        await self._put_in()

    async def remove(self, _: NoArguments) -> None:
        """Pull it out."""
        _service, slot = self._parts()
        if self._card is None:
            raise ActionRefused("里面没有卡 · no card is in")
        self._card = None
        await slot.remove()

    async def script(self, arguments: CardScript) -> None:
        """Let the card that is in go wrong."""
        if self._card is None:
            raise ActionRefused("里面没有卡 · no card is in")
        self._card.script(arguments.fault, after=self._card.apdus + arguments.after, times=arguments.times)

    async def repair(self, _: NoArguments) -> None:
        """A good card and a good reader."""
        self._link_scripts.clear()
        if self._card is not None:
            self._card.repair()

    async def _put_in(self) -> None:
        _service, slot = self._parts()
        if self._card is None or not self.is_plugged:
            return
        try:
            await slot.insert(self._card)
        except OSError as failed:
            raise ActionRefused(f"读卡器没有应答 · the reader does not answer ({type(failed).__name__})") from None

    # --- the reader ----------------------------------------------------------------------------------------

    async def _restart(self, *, with_reader: bool) -> None:
        service, slot = self._parts()
        await slot.remove()
        self._has_reader = with_reader
        await service.start(with_reader=with_reader)
        await self._put_in()

    async def lose(self, _: NoArguments) -> None:
        """See `Device`."""
        await self._restart(with_reader=False)

    async def back(self, _: NoArguments) -> None:
        """See `Device`."""
        if not self.is_plugged:
            await self._restart(with_reader=True)

    async def service_down(self, _: NoArguments) -> None:
        """End pcscd."""
        service, slot = self._parts()
        await slot.remove()
        await service.stop()

    async def service_restart(self, _: NoArguments) -> None:
        """End pcscd and start it again; a card that is in stays in."""
        await self._restart(with_reader=True)

    def _trouble(self, card: SmartCard) -> None:
        card.delay_s = self._delay_s
        for fault, times in self._link_scripts:
            card.script(fault, times=times)

    def _let(self, fault: CardFault, times: int) -> None:
        self._link_scripts.append((fault, times))
        if self._card is not None:
            self._card.delay_s = self._delay_s
            self._card.script(fault, times=times)

    async def silent(self, _: NoArguments) -> None:
        """See `Device`."""
        self._let(CardFault.NO_ANSWER, _FOR_EVER)

    async def slow(self, arguments: Slow) -> None:
        """See `Device`."""
        self._delay_s = arguments.delay_s
        self._let(CardFault.SLOW, _FOR_EVER)

    async def drop_bytes(self, arguments: Dropping) -> None:
        """See `Device`; an answer that is too short."""
        self._let(CardFault.SHORT_ANSWER, arguments.times)

    async def garbage(self, arguments: Garbling) -> None:
        """See `Device`."""
        self._let(CardFault.GARBAGE, arguments.times)

    async def normal(self, _: NoArguments) -> None:
        """See `Device`."""
        self._link_scripts.clear()
        if self._card is not None:
            self._card.repair()

    async def swap(self, arguments: Swap) -> None:
        """See `Device`; the reader is away for a moment."""
        self.model = self.known_model(arguments.model)
        await self._restart(with_reader=True)

    actions = table(
        (
            action("insert", "插入卡", "Insert a card", Group.PATIENT, InsertCard, insert),
            action("remove", "拔出卡", "Pull the card out", Group.PATIENT, NoArguments, remove),
            action("script", "卡片故障", "Fault of the card", Group.WEAR, CardScript, script),
            action("service_down", "停止 pcscd", "Stop pcscd", Group.WEAR, NoArguments, service_down),
            action("service_restart", "重启 pcscd", "Restart pcscd", Group.STAFF, NoArguments, service_restart),
            action("repair", "清除故障", "Clear faults", Group.STAFF, NoArguments, repair),
        ),
        LINK,
    )
