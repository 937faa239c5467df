"""The identity card reader of a lab."""

from __future__ import annotations

import random
from enum import StrEnum

from simulators.devices.id_card_reader import LICENCE, IdCardReaderCore, ReaderFault, SimulatedCard
from simulators.devices.transports import PtyServer, TcpServer
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, ByteDevice, Fact, FactValue, Kind
from simulators.lab.errors import ActionRefused
from simulators.people import Paper, People


class Document(StrEnum):
    """Which card; J, I and Y are the letters of GA/T 467."""

    RESIDENT = "resident"
    J = "J"
    I = "I"  # noqa: E741 - the standard's letter
    Y = "Y"


_PAPERS = {
    Document.RESIDENT: Paper.RESIDENT,
    Document.J: Paper.HK_MACAO_TAIWAN,
    Document.I: Paper.FOREIGNER_2017,
    Document.Y: Paper.FOREIGNER_2023,
}
_OTHER_LICENCE = bytes.fromhex("0600 0300 C77B3301 16CD5B07 2B000000")
"""Of another maker's module: the licence begins with 06.03."""
_TITLES = {
    Paper.RESIDENT: "居民身份证",
    Paper.HK_MACAO_TAIWAN: "港澳台居民居住证 (J)",
    Paper.FOREIGNER_2017: "外国人永居证 2017 (I)",
    Paper.FOREIGNER_2023: "外国人永居证 2023 (Y)",
}


class InsertCard(Arguments):
    """Whose card of which kind."""

    kind: Document = labelled(Document.RESIDENT, "证件种类", "Document")
    person: int = labelled(1, "人物编号", "Person number", ge=0, le=10**9)
    newest_address: str = labelled("", "最新住址（可空）", "Newest address (may be empty)", max_length=70)
    fingerprint: bool = labelled(default=False, zh="带指纹", en="With fingerprints")


class ReaderScript(Arguments):
    """A fault of the reader's answers."""

    fault: ReaderFault = labelled(..., "故障", "Fault")
    value: int = labelled(0, "数值（状态码、字节数）", "Number (status, bytes)", ge=0, le=255)
    after: int = labelled(0, "先正常几次应答", "Good answers before", ge=0, le=10_000)
    times: int = labelled(1, "多少次", "Times", ge=1, le=100_000)


class IdCardReader(ByteDevice):
    """SDT reader; cards of people who do not exist."""

    kind = Kind.ID_CARD_READER
    zh, en = "身份证阅读器", "Identity card reader"
    models = ("generic-sdt-serial", "generic-sdt-usbserial")
    facts = (
        Fact("card", "证件", "Document"),
        Fact("name", "姓名", "Name"),
        Fact("number", "号码", "Number"),
        Fact("requests", "收到请求", "Requests"),
    )

    def __init__(self, component: str, model: str, line: PtyServer | TcpServer) -> None:
        super().__init__(component, model, line)
        self.core = line.core = self.make_core(model)

    def make_core(self, model: str, /) -> IdCardReaderCore:
        """See `ByteDevice`."""
        is_second = model == "generic-sdt-usbserial"
        licence = _OTHER_LICENCE if is_second else LICENCE
        self.core = IdCardReaderCore(answers_find_again=is_second, licence=licence)
        return self.core

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        card = self.core.card
        person = None if card is None else card.person
        return {
            "card": None if person is None else _TITLES[person.paper],
            "name": None if person is None else person.name,
            "number": None if person is None else person.number,
            "requests": self.core.request_count,
        }

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        return tuple(fault.value for fault in self.core.scripted)

    async def insert_card(self, arguments: InsertCard) -> None:
        """Lay a card on the reader."""
        person = People(arguments.person).person(_PAPERS[arguments.kind])
        self.core.put(
            SimulatedCard(
                person,
                serial=random.Random(arguments.person).randbytes(8),
                newest_address=arguments.newest_address,
                has_fingerprint=arguments.fingerprint,
            )
        )

    async def remove_card(self, _: NoArguments) -> None:
        """Take it off."""
        if self.core.card is None:
            raise ActionRefused("上面没有证件 · no card lies there")
        self.core.lift()

    async def script(self, arguments: ReaderScript) -> None:
        """Let answers go wrong."""
        self.core.script(arguments.fault, value=arguments.value, after=arguments.after, times=arguments.times)

    async def repair(self, _: NoArguments) -> None:
        """Forget scripted faults."""
        self.core.repair()

    actions = table(
        (
            action("insert_card", "放上证件", "Lay a card on it", Group.PATIENT, InsertCard, insert_card),
            action("remove_card", "拿走证件", "Take the card away", Group.PATIENT, NoArguments, remove_card),
            action("script", "应答出错", "Faulty answers", Group.WEAR, ReaderScript, script),
            action("repair", "清除故障", "Clear faults", Group.STAFF, NoArguments, repair),
        ),
        WIRED,
    )
