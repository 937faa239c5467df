"""The PIN pad of a lab."""

from __future__ import annotations

from simulators.devices.pin_pad import PadFault, PinPadCore
from simulators.devices.transports import PtyServer, TcpServer
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, ByteDevice, Fact, FactValue, Hand, Kind, Tone


class Typing(Arguments):
    """Made-up digits and whether the confirm key follows."""

    digits: str = labelled("123456", "数字（编造的）", "Digits (made up)", pattern=r"^[0-9]{1,12}$")
    enter: bool = labelled(default=True, zh="按确认键", en="Press enter")
    patience_s: float = labelled(30.0, "未提示时等多久（秒）", "Patience until it asks (s)", ge=0, le=600)


class Patience(Arguments):
    """How long the patient waits until the pad asks."""

    patience_s: float = labelled(0.0, "未提示时等多久（秒）", "Patience until it asks (s)", ge=0, le=600)


class PadScript(Arguments):
    """A fault that lasts until `repair`."""

    fault: PadFault = labelled(..., "故障", "Fault")


class PinPad(ByteDevice):
    """An encrypting pad with a public test key."""

    kind = Kind.PIN_PAD
    zh, en = "密码键盘", "PIN pad"
    models = ("generic-gz_b_epp",)
    facts = (
        Fact("entering", "等待输入", "Waits for input", Tone.LIGHT),
        Fact("held", "患者在等提示", "The patient waits"),
        Fact("faults", "故障", "Faults", Tone.ALARM),
    )

    def __init__(self, component: str, model: str, line: PtyServer | TcpServer) -> None:
        super().__init__(component, model, line)
        self._hand = Hand()
        self.core = line.core = self.make_core(model)

    def make_core(self, _: str, /) -> PinPadCore:
        """See `ByteDevice`."""
        self.core = PinPadCore()
        return self.core

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        return {
            "entering": self.core.is_entering,
            "held": self._hand.is_waiting,
            "faults": ", ".join(sorted(self.core.up)) or None,
        }

    def tick(self, now_s: float, /) -> None:
        """See `Device`."""
        self._hand.tick(now_s)

    def _press(self, keys: str, patience_s: float) -> None:
        def offer() -> bool:
            is_asked = self.core.is_entering
            self.core.press(keys)
            return is_asked

        self._hand.hold(offer, patience_s)

    async def type_digits(self, arguments: Typing) -> None:
        """Type when the pad asks for it."""
        self._press(arguments.digits + ("E" if arguments.enter else ""), arguments.patience_s)

    async def erase(self, arguments: Patience) -> None:
        """Press the key that erases."""
        self._press("C", arguments.patience_s)

    async def cancel(self, arguments: Patience) -> None:
        """Press cancel."""
        self._press("X", arguments.patience_s)

    async def script(self, arguments: PadScript) -> None:
        """Let something be wrong with the pad."""
        self.core.up.add(arguments.fault)

    async def repair(self, _: NoArguments) -> None:
        """Nothing is wrong any more."""
        self.core.up.clear()

    actions = table(
        (
            action("type", "输入数字", "Type digits", Group.PATIENT, Typing, type_digits),
            action("erase", "按更正键", "Press erase", Group.PATIENT, Patience, erase),
            action("cancel", "按取消键", "Press cancel", Group.PATIENT, Patience, cancel),
            action("script", "键盘故障", "Fault of the pad", Group.WEAR, PadScript, script),
            action("repair", "清除故障", "Clear faults", Group.STAFF, NoArguments, repair),
        ),
        WIRED,
    )
