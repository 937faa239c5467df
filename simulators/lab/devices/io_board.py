"""The board of doors, paper sensors and lights of a lab."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from simulators.devices.io_board import BoardFault, IoBoardCore
from simulators.devices.transports import PtyServer, TcpServer
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, ByteDevice, Fact, FactValue, Kind, Tone


class Input(StrEnum):
    """What the inputs are wired to; the order is that of the board."""

    PAPER_LOW = "paper_low"
    PAPER_OUT = "paper_out"
    DOOR_OPEN = "door_open"
    TAMPERED = "tampered"
    OUTPUT_FULL = "output_full"
    PERSON_NEAR = "person_near"


_ORDER = tuple(Input)
_WIRED_CLOSED = frozenset({Input.DOOR_OPEN, Input.TAMPERED})
"""Switches that are closed while all is well."""
_LIGHTS: Mapping[str, tuple[str, ...]] = {
    "generic-modbus_tcp_io16": ("receipt_printer", "card_reader"),
    "waveshare-modbus_rtu_io8": ("receipt_printer", "card_reader", "id_card_reader", "report_printer"),
}


class SetInput(Arguments):
    """Which input and what it says."""

    input: Input = labelled(..., "输入", "Input")
    on: bool = labelled(default=True, zh="成立", en="It is so")


class Switch(Arguments):
    """Whether it is so."""

    on: bool = labelled(default=True, zh="是", en="It is so")


class Bounce(Arguments):
    """A switch that chatters."""

    input: Input = labelled(Input.DOOR_OPEN, "输入", "Input")
    reads: int = labelled(5, "抖动多少次读数", "Reads that chatter", ge=1, le=1_000)


class BoardScript(Arguments):
    """A fault of the next answers."""

    fault: BoardFault = labelled(..., "故障", "Fault")
    times: int = labelled(1, "多少次应答", "Answers", ge=1, le=100_000)


class IoBoard(ByteDevice):
    """A Modbus board, over TCP in the demonstration kiosk, over a serial line in others."""

    kind = Kind.IO_BOARD
    zh, en = "传感器与灯板", "Sensors and lights"
    models = tuple(_LIGHTS)
    facts = (
        Fact("door_open", "机门打开", "Door open", Tone.ALARM),
        Fact("tampered", "被撬动", "Tampered with", Tone.ALARM),
        Fact("paper_low", "纸将尽", "Paper low", Tone.ALARM),
        Fact("paper_out", "缺纸", "Paper out", Tone.ALARM),
        Fact("output_full", "出纸口满", "Output full", Tone.ALARM),
        Fact("person_near", "有人靠近", "Somebody is near"),
        Fact("light_receipt_printer", "凭条口灯", "Light of the receipt slot", Tone.LIGHT),
        Fact("light_card_reader", "读卡口灯", "Light of the card slot", Tone.LIGHT),
        Fact("light_id_card_reader", "身份证灯", "Light of the ID reader", Tone.LIGHT),
        Fact("light_report_printer", "报告口灯", "Light of the report slot", Tone.LIGHT),
        Fact("answers", "应答次数", "Answers"),
    )

    def __init__(self, component: str, model: str, line: PtyServer | TcpServer) -> None:
        super().__init__(component, model, line)
        self._framing = "tcp" if isinstance(line, TcpServer) else "rtu"
        self.core = line.core = self.make_core(model)

    def make_core(self, _: str, /) -> IoBoardCore:
        """See `ByteDevice`."""
        self.core = IoBoardCore(framing=self._framing)
        for which in _WIRED_CLOSED:
            self._set(which, is_so=False)
        return self.core

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        inputs = {which.value: self.core.inputs[at] ^ (which in _WIRED_CLOSED) for at, which in enumerate(_ORDER)}
        lights = {f"light_{name}": self.core.lights[at] for at, name in enumerate(_LIGHTS[self.model])}
        return {**inputs, **lights, "answers": self.core.answers}

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        return tuple(fault.value for fault in self.core.scripted)

    def _set(self, which: Input, *, is_so: bool) -> None:
        self.core.inputs[_ORDER.index(which)] = is_so ^ (which in _WIRED_CLOSED)

    async def set_input(self, arguments: SetInput) -> None:
        """Let an input say so."""
        self._set(arguments.input, is_so=arguments.on)

    async def open_door(self, _: NoArguments) -> None:
        """Open the door of the kiosk."""
        self._set(Input.DOOR_OPEN, is_so=True)

    async def close_door(self, _: NoArguments) -> None:
        """Close it."""
        self._set(Input.DOOR_OPEN, is_so=False)

    async def person_near(self, arguments: Switch) -> None:
        """Somebody comes or goes."""
        self._set(Input.PERSON_NEAR, is_so=arguments.on)

    async def bounce(self, arguments: Bounce) -> None:
        """Let a switch chatter."""
        self.core.bounce(_ORDER.index(arguments.input), reads=arguments.reads)

    async def script(self, arguments: BoardScript) -> None:
        """Let answers go wrong."""
        self.core.script(arguments.fault, times=arguments.times)

    async def repair(self, _: NoArguments) -> None:
        """Good answers, paper in, doors closed."""
        self.core.repair()
        for which in _ORDER:
            self._set(which, is_so=False)

    actions = table(
        (
            action("person_near", "有人靠近/离开", "Somebody comes or goes", Group.PATIENT, Switch, person_near),
            action("door_open", "打开机门", "Open the door", Group.STAFF, NoArguments, open_door),
            action("door_close", "关上机门", "Close the door", Group.STAFF, NoArguments, close_door),
            action("set_input", "设定传感器", "Set a sensor", Group.WEAR, SetInput, set_input),
            action("bounce", "触点抖动", "A switch chatters", Group.WEAR, Bounce, bounce),
            action("script", "应答出错", "Faulty answers", Group.WEAR, BoardScript, script),
            action("repair", "一切正常", "All is well", Group.STAFF, NoArguments, repair),
        ),
        WIRED,
    )
