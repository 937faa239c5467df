"""The code scanner of a lab."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from enum import StrEnum

from simulators.devices.boot_loader import BootLoader
from simulators.devices.qr_scanner import QrScannerCore, ScannerFault, Speech
from simulators.devices.transports import PtyServer, TcpServer
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, Fact, FactValue, Hand, Kind, Tone
from simulators.lab.errors import ActionRefused
from simulators.lab.firmware import ACTIONS, FACTS, SERIES, FlashableDevice
from simulators.people import People


class Code(StrEnum):
    """What the patient shows."""

    TEXT = "text"
    WECHAT_PAY = "wechat_pay"
    ALIPAY = "alipay"
    UNIONPAY = "unionpay"
    HEALTH_CARD = "health_card"
    INSURANCE = "insurance"
    ID_NUMBER = "id_number"
    APPOINTMENT = "appointment"


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


_MAKERS: Mapping[Code, Callable[[random.Random, int], str]] = {
    Code.WECHAT_PAY: lambda rng, _: f"1{rng.randint(0, 5)}{_digits(rng, 16)}",
    Code.ALIPAY: lambda rng, _: f"{rng.randint(25, 30)}{_digits(rng, 16)}",
    Code.UNIONPAY: lambda rng, _: f"62{_digits(rng, 17)}",
    Code.HEALTH_CARD: lambda rng, _: f"{rng.randbytes(32).hex().upper()}:1",
    Code.INSURANCE: lambda rng, _: _digits(rng, 28),
    Code.ID_NUMBER: lambda _, person: People(person).person().number,
    Code.APPOINTMENT: lambda rng, _: f"YY{_digits(rng, 10)}",
}
_MODELS: Mapping[str, Callable[[], QrScannerCore]] = {
    "newland-fm530": lambda: QrScannerCore(Speech.NEWLAND),
    "honeywell-1950g": lambda: QrScannerCore(Speech.HONEYWELL),
    "honeywell-1470g": lambda: QrScannerCore(Speech.HONEYWELL),
    "honeywell-n3680": lambda: QrScannerCore(Speech.FRAMED),
    "zebra-se4500": lambda: QrScannerCore(Speech.SSI),
    "lab-ssi_scanner": lambda: QrScannerCore(Speech.SSI, revision=SERIES["lab-ssi_scanner"].first),
    "generic-cdc_scanner": lambda: QrScannerCore(Speech.PLAIN, suffix=b""),
}


class Scan(Arguments):
    """Which code is held before the scanner, and for how long."""

    kind: Code = labelled(Code.WECHAT_PAY, "哪种码", "Kind of code")
    text: str = labelled("", "内容（填写后以此为准）", "Content (this, when given)", max_length=4_000)
    person: int = labelled(1, "人物编号", "Person number", ge=0, le=10**9)
    patience_s: float = labelled(30.0, "灯不亮时等多久（秒）", "Patience while it is dark (s)", ge=0, le=600)


class ScannerScript(Arguments):
    """A fault of the next codes or commands."""

    fault: ScannerFault = labelled(..., "故障", "Fault")
    after: int = labelled(0, "先正常几次", "Good ones before", ge=0, le=10_000)
    times: int = labelled(1, "多少次", "Times", ge=1, le=100_000)


class QrScanner(FlashableDevice):
    """A scanner of one of five dialects."""

    kind = Kind.QR_SCANNER
    zh, en = "扫码器", "Code scanner"
    models = tuple(_MODELS)
    facts = (
        Fact("lit", "亮灯", "Lit", Tone.LIGHT),
        Fact("held", "患者举着码等待", "A code is held out"),
        Fact("shown", "已读码", "Codes read"),
        *FACTS,
    )

    def __init__(self, component: str, model: str, line: PtyServer | TcpServer) -> None:
        super().__init__(component, model, line)
        self._hand = Hand()
        line.core = self.make_core(model)

    def make_core(self, model: str, /) -> BootLoader:
        """See `ByteDevice`."""
        core = self.core = _MODELS[model]()
        return self.booted(core, model, lambda version: setattr(core, "revision", version))

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        core = self.core
        told = core.revision if core.speech is Speech.SSI else None
        return {"lit": core.is_lit, "held": self._hand.is_waiting, "shown": core.shown, **self.boot_state(told)}

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        return (*super().armed(), *(fault.value for fault in self.core.scripted))

    def tick(self, now_s: float, /) -> None:
        """See `Device`."""
        self._hand.tick(now_s)

    async def scan(self, arguments: Scan) -> None:
        """Hold a code before the scanner until it is read."""
        made = _MAKERS.get(arguments.kind)
        text = arguments.text
        if not text and made is not None:
            text = made(random.Random(arguments.person), arguments.person)
        if not text:
            raise ActionRefused("码里没有内容 · there is nothing in the code")
        self._hand.hold(lambda: self.core.show(text), arguments.patience_s)

    async def put_away(self, _: NoArguments) -> None:
        """Take the code away again."""
        self._hand.drop()

    async def script(self, arguments: ScannerScript) -> None:
        """Let something go wrong."""
        self.core.script(arguments.fault, after=arguments.after, times=arguments.times)

    async def repair(self, _: NoArguments) -> None:
        """Forget scripted faults."""
        self.core.repair()
        self.boot.repair()

    actions = table(
        (
            action("scan", "出示码", "Show a code", Group.PATIENT, Scan, scan),
            action("put_away", "收起手机", "Put the phone away", Group.PATIENT, NoArguments, put_away),
            action("script", "扫码出错", "Faulty scans", Group.WEAR, ScannerScript, script),
            action("repair", "清除故障", "Clear faults", Group.STAFF, NoArguments, repair),
            *ACTIONS,
        ),
        WIRED,
    )
