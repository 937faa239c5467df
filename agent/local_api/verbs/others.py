"""Commands about every device, and for the ones that neither read nor print."""

from __future__ import annotations

from typing import Final, cast

from pydantic import Field

from agent.devices.manager import Seen
from agent.devices.paper_sensor.types import LightMode, PaperSensor
from agent.devices.pin_pad.types import PinEntry, PinPad, PinRequest
from agent.devices.types import Driver
from agent.local_api.device_news import DEVICE
from agent.local_api.dialogue import Progress, Refusal, Verb
from agent.local_api.payload import Nothing, Payload
from agent.local_api.verbs.bench import Bench, DeviceRequest
from wire.device_api import CompletionCode
from wire.envelope import ComponentName, Scalar
from wire.faults import FACTS
from wire.profile import Capability

PIN_LIMIT_S: Final = 90.0


class UpFault(Payload):
    """A condition that is up."""

    code: str
    severity: str
    detail: str = ""
    title_zh: str
    title_en: str
    remedy_zh: str
    remedy_en: str


class DeviceView(Payload):
    """A device, who it says it is and how it is."""

    component: ComponentName
    kind: Capability
    device: str = Field(description="online, deviceBusy, starting, hardwareError or noDevice, as CWA 17852 has it")
    model: str | None = None
    firmware: str | None = None
    serial: str | None = None
    values: dict[str, Scalar]
    faults: list[UpFault]


class DeviceList(Payload):
    """The devices of this kiosk, in the order of its profile."""

    devices: list[DeviceView]


class EnterPin(DeviceRequest):
    """Let the patient type a PIN; `account` are the twelve digits of the card number the block is bound to."""

    account: str = Field(pattern=r"^\d{12}$", repr=False)
    min_digits: int = Field(default=4, ge=4, le=12)
    max_digits: int = Field(default=6, ge=4, le=12)


class PinBlock(Payload):
    """The encrypted block, told once."""

    component: ComponentName
    block: str = Field(repr=False, description="hexadecimal")
    key_name: str


class SetLight(DeviceRequest):
    """Light the way to a slot."""

    place: str = Field(min_length=1, max_length=64)
    mode: LightMode


class Empty(Payload):
    """Nothing more to say."""


class Others:
    """Status, PIN pads and lights."""

    def __init__(self, bench: Bench) -> None:
        """Use the devices of this bench."""
        self._bench = bench

    def verbs(self) -> dict[str, Verb]:
        """The commands, by name."""
        device = ("noSuchComponent", "componentNeeded")
        return {
            "Common.Status": Verb(
                Nothing, self._status, 5.0, "全部设备状态 · How every device is and who it is", DeviceList
            ),
            "Keyboard.PinEntry": Verb(
                EnterPin, self._pin, PIN_LIMIT_S, "输入密码 · Let the patient type a PIN", PinBlock,
                refusals=(*device, "noEntry"),
            ),
            "Lights.SetLight": Verb(
                SetLight, self._light, 10.0, "指示灯 · Light the way to a slot", Empty,
                refusals=(*device, "noSuchLight"),
            ),
        }  # fmt: skip

    async def _status(self, _request: Nothing, _progress: Progress) -> DeviceList:
        return DeviceList(devices=[device_view(seen) for seen in self._bench.devices.seen()])

    async def _pin(self, request: EnterPin, _progress: Progress) -> PinBlock:
        wanted = PinRequest(request.account, request.min_digits, request.max_digits, PIN_LIMIT_S)

        async def work(driver: Driver) -> PinEntry | None:
            return await cast("PinPad", driver).enter(wanted)

        component = self._bench.find(Capability.PIN_PAD, request.component)
        entry = await self._bench.use(component, work)
        if entry is None:
            raise Refusal("noEntry", completion=CompletionCode.CANCELED)
        with entry.block.use() as block:
            return PinBlock(component=component, block=block.hex(), key_name=entry.block.key_name)

    async def _light(self, request: SetLight, _progress: Progress) -> Empty:
        async def work(driver: Driver) -> bool:
            try:
                await cast("PaperSensor", driver).set_light(request.place, request.mode)
            except KeyError:
                return False
            return True

        if not await self._bench.use(self._bench.find(Capability.PAPER_SENSOR, request.component), work):
            raise Refusal("noSuchLight", "the board has no light at this place")
        return Empty()


def device_view(seen: Seen) -> DeviceView:
    """A device as pages see it."""
    return DeviceView(
        component=seen.component,
        kind=seen.capability,
        device=DEVICE[seen.state],
        model=seen.facts.model,
        firmware=seen.facts.firmware,
        serial=seen.facts.serial,
        values=dict(seen.status.values),
        faults=[
            UpFault(
                code=fault.value,
                severity=FACTS[fault].severity.value,
                detail=detail,
                title_zh=FACTS[fault].zh,
                title_en=FACTS[fault].en,
                remedy_zh=FACTS[fault].remedy_zh,
                remedy_en=FACTS[fault].remedy_en,
            )
            for fault, detail in seen.faults.items()
        ],
    )
