"""What every device of a lab has in common: a plug, faults of its link, a table of actions, facts to show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self

from simulators.devices.transports import Core, LinkFault, LinkFaults, PtyServer, Tap, TcpServer
from simulators.lab.actions import Action, Arguments, Group, NoArguments, action, labelled
from simulators.lab.errors import ActionRefused, UnknownAction

FactValue = str | int | float | bool | None
_FOR_EVER = 10**9


class Kind(StrEnum):
    """Which device it is; the word of `kiosk-sim device run`."""

    ID_CARD_READER = "id_card_reader"
    CARD_READER = "card_reader"
    QR_SCANNER = "qr_scanner"
    RECEIPT_PRINTER = "receipt_printer"
    REPORT_PRINTER = "report_printer"
    PIN_PAD = "pin_pad"
    IO_BOARD = "io_board"
    UPS = "ups"
    FACE_CAMERA = "face_camera"


class Tone(StrEnum):
    """How a fact looks on the page while it is true or not empty."""

    PLAIN = "plain"
    ALARM = "alarm"
    LIGHT = "light"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to show of a device."""

    name: str
    zh: str
    en: str
    tone: Tone = Tone.PLAIN


class Plug(Protocol):
    """Where a device is plugged in."""

    faults: LinkFaults
    tap: Tap | None

    @property
    def is_plugged(self) -> bool:
        """Whether a host can reach it."""

    async def plug(self) -> None:
        """Plug it in, at the same place as before."""

    def unplug(self) -> None:
        """Pull the plug."""

    async def __aenter__(self) -> Self:
        """Plug it in."""

    async def __aexit__(self, *_: object) -> None:
        """Pull the plug and leave nothing behind."""


class Slow(Arguments):
    """How late answers come."""

    delay_s: float = labelled(1.0, "延迟（秒）", "Delay (s)", gt=0, le=30)


class Dropping(Arguments):
    """How much is lost."""

    count: int = labelled(1, "每次丢几个字节", "Bytes each time", ge=1, le=4_096)
    times: int = labelled(1, "多少次应答", "Answers", ge=1, le=100_000)


class Garbling(Arguments):
    """How much is changed."""

    count: int = labelled(3, "每次错几个字节", "Bytes each time", ge=1, le=4_096)
    times: int = labelled(1, "多少次应答", "Answers", ge=1, le=100_000)


class Cutting(Arguments):
    """Where in an answer the plug is pulled."""

    count: int = labelled(8, "在第几个字节", "After how many bytes", ge=0, le=4_096)


class Swap(Arguments):
    """Another model in the same place."""

    model: str = labelled(..., "型号（设备档案名）", "Model (name of its profile)", min_length=1, max_length=64)


class Device(ABC):
    """One device. `async with device:` plugs it in."""

    kind: ClassVar[Kind]
    zh: ClassVar[str]
    en: ClassVar[str]
    actions: ClassVar[Mapping[str, Action[Any]]]  # Any: each row takes its own kind of device
    facts: ClassVar[tuple[Fact, ...]] = ()
    models: ClassVar[tuple[str, ...]] = ()

    def __init__(self, component: str, model: str) -> None:
        self.component = component
        self.model = model

    @property
    @abstractmethod
    def port(self) -> str:
        """What an agent's settings say of where it is."""

    @property
    @abstractmethod
    def is_plugged(self) -> bool:
        """Whether the host can reach it."""

    @abstractmethod
    def state(self) -> dict[str, FactValue]:
        """The facts now."""

    @abstractmethod
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with its link, or waits to go wrong."""

    def armed(self) -> tuple[str, ...]:
        """Faults of its own that a tester has set and that no fact shows."""
        return ()

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Plug it in."""

    @abstractmethod
    async def __aexit__(self, *_: object) -> None:
        """Pull the plug and leave nothing behind."""

    @property
    def reader_name(self) -> str | None:
        """The PC/SC reader, for a card reader."""
        return None

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the agent of this kiosk needs."""
        return {}

    def tick(self, now_s: float, /) -> None:  # noqa: B027 - most devices need no clock
        """Time passes."""

    async def perform(self, name: str, given: Mapping[str, object]) -> None:
        """Do one of its actions.

        Raises:
            UnknownAction: it has none of that name.
            BadArguments: they are not what the action takes.
            ActionRefused: it makes no sense now.
        """
        row = self.actions.get(name)
        if row is None:
            raise UnknownAction(f"没有这个操作 · no such action; {', '.join(sorted(self.actions))}")
        await row.perform(self, given)

    # --- faults of the link --------------------------------------------------------------------------------

    @abstractmethod
    async def lose(self, _: NoArguments) -> None:
        """The link is lost."""

    @abstractmethod
    async def back(self, _: NoArguments) -> None:
        """The link is back."""

    @abstractmethod
    async def silent(self, _: NoArguments) -> None:
        """No answer comes through."""

    @abstractmethod
    async def slow(self, arguments: Slow) -> None:
        """Answers come late."""

    @abstractmethod
    async def drop_bytes(self, arguments: Dropping) -> None:
        """The first bytes of answers are lost."""

    @abstractmethod
    async def garbage(self, arguments: Garbling) -> None:
        """Bytes of answers are changed."""

    @abstractmethod
    async def normal(self, _: NoArguments) -> None:
        """The link is good again."""

    @abstractmethod
    async def swap(self, arguments: Swap) -> None:
        """Another model stands here from now on."""

    def known_model(self, name: str) -> str:
        """The name when this place takes that model.

        Raises:
            ActionRefused: it does not.
        """
        if name not in self.models:
            raise ActionRefused(f"这个位置只能换成 · this place takes {', '.join(self.models)}")
        return name


LINK: tuple[Action[Any], ...] = (  # Any: rows of all devices
    action("lose", "拔掉线", "Pull the plug", Group.LINK, NoArguments, lambda device, given: device.lose(given)),
    action("back", "插回去", "Plug it back in", Group.LINK, NoArguments, lambda device, given: device.back(given)),
    action("silent", "不应答", "No answers", Group.LINK, NoArguments, lambda device, given: device.silent(given)),
    action("slow", "应答很慢", "Slow answers", Group.LINK, Slow, lambda device, given: device.slow(given)),
    action("drop_bytes", "丢字节", "Drop bytes", Group.LINK, Dropping, lambda device, given: device.drop_bytes(given)),
    action("garbage", "乱码", "Garbage", Group.LINK, Garbling, lambda device, given: device.garbage(given)),
    action(
        "normal",
        "线路恢复正常",
        "Link is good again",
        Group.LINK,
        NoArguments,
        lambda device, given: device.normal(given),
    ),
    action("swap", "换另一型号", "Swap the model", Group.LINK, Swap, lambda device, given: device.swap(given)),
)


class WiredDevice(Device):
    """A device whose faults of the link are those of one plug."""

    def __init__(self, component: str, model: str, plug: Plug, port: Callable[[], str]) -> None:
        super().__init__(component, model)
        self.plug = plug
        self._port = port

    @property
    def port(self) -> str:
        """See `Device`."""
        return self._port()

    @property
    def is_plugged(self) -> bool:
        """See `Device`."""
        return self.plug.is_plugged

    def troubles(self) -> tuple[str, ...]:
        """See `Device`."""
        return tuple(f"{fault} {value:g}" for fault, value in self.plug.faults.scripted)

    async def __aenter__(self) -> Self:
        await self.plug.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.plug.__aexit__(None, None, None)

    async def lose(self, _: NoArguments) -> None:
        """See `Device`."""
        self.plug.unplug()

    async def back(self, _: NoArguments) -> None:
        """See `Device`."""
        await self.plug.plug()

    async def silent(self, _: NoArguments) -> None:
        """See `Device`."""
        self.plug.faults.script(LinkFault.SILENCE, times=_FOR_EVER)

    async def slow(self, arguments: Slow) -> None:
        """See `Device`."""
        self.plug.faults.script(LinkFault.DELAY, value=arguments.delay_s, times=_FOR_EVER)

    async def drop_bytes(self, arguments: Dropping) -> None:
        """See `Device`."""
        self.plug.faults.script(LinkFault.DROP, value=arguments.count, times=arguments.times)

    async def garbage(self, arguments: Garbling) -> None:
        """See `Device`."""
        self.plug.faults.script(LinkFault.CORRUPT, value=arguments.count, times=arguments.times)

    async def lose_at(self, arguments: Cutting) -> None:
        """The plug is pulled within the next answer."""
        self.plug.faults.script(LinkFault.UNPLUG, value=arguments.count)

    async def normal(self, _: NoArguments) -> None:
        """See `Device`."""
        self.plug.faults.clear()


WIRED: tuple[Action[Any], ...] = (  # Any: rows of two classes
    *LINK,
    action("lose_at", "应答到一半时断线", "Pull the plug within an answer", Group.LINK, Cutting, WiredDevice.lose_at),
)


class ByteDevice(WiredDevice):
    """A device that is a core on a pseudo-terminal or a TCP port."""

    def __init__(self, component: str, model: str, line: PtyServer | TcpServer) -> None:
        super().__init__(component, model, line, lambda: _address(line))
        self._line = line

    @abstractmethod
    def make_core(self, model: str, /) -> Core:
        """A new device of this model."""

    async def swap(self, arguments: Swap) -> None:
        """See `Device`."""
        self.model = self.known_model(arguments.model)
        self._line.unplug()
        self._line.core = self.make_core(self.model)
        await self._line.plug()


def _address(line: PtyServer | TcpServer) -> str:
    return str(line.path) if isinstance(line, PtyServer) else f"{line.host}:{line.port}"


class Hand:
    """A patient who holds something out until the device takes it, or gives up."""

    def __init__(self) -> None:
        self._offer: Callable[[], bool] | None = None
        self._left_s = 0.0
        self._last_s: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether something is held out."""
        return self._offer is not None

    def hold(self, offer: Callable[[], bool], patience_s: float) -> None:
        """Try now and then at each tick; `offer` says whether it was taken.

        Raises:
            ActionRefused: it was not taken and there is no patience; what was held out before still is.
        """
        if offer():
            self._offer = None
            return
        if patience_s <= 0:
            raise ActionRefused("设备此刻不在等待 · the device does not wait for that now")
        self._offer, self._left_s, self._last_s = offer, patience_s, None

    def drop(self) -> None:
        """Give up."""
        self._offer = None

    def tick(self, now_s: float, /) -> None:
        """Time passes."""
        if self._offer is None:
            return
        self._left_s -= 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        if self._offer() or self._left_s <= 0:
            self._offer = None
