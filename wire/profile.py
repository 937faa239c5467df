"""Schema of `firmware_profiles/`: our own files, so an unknown key is a mistake and is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from wire.consumables import ConsumableUnit, PartName
from wire.envelope import Code, ComponentName, Scalar, ShortText, Text
from wire.faults import Fault
from wire.firmware import FirmwareProfile
from wire.functions import Lack, PatientFunction


class ProfileModel(BaseModel):
    """A part of a profile file."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Capability(StrEnum):
    """What a device is to the patient."""

    CARD_READER = "card_reader"
    ID_CARD_READER = "id_card_reader"
    QR_SCANNER = "qr_scanner"
    RECEIPT_PRINTER = "receipt_printer"
    REPORT_PRINTER = "report_printer"
    FACE_CAMERA = "face_camera"
    PAPER_SENSOR = "paper_sensor"
    PIN_PAD = "pin_pad"
    UPS = "ups"
    HOST = "host"


class LinkKind(StrEnum):
    """How bytes reach the device."""

    SERIAL = "serial"
    USB = "usb"
    HID = "hid"
    KEYBOARD = "keyboard"
    """A scanner that pretends to be one, taken away from the screen."""
    PCSC = "pcsc"
    IPP = "ipp"
    TCP = "tcp"
    CAMERA = "camera"
    NUT = "nut"
    PROGRAM = "program"
    """A vendor's library in a program of its own, which answers JSON lines."""
    NONE = "none"


class LinkProfile(ProfileModel):
    """The link and its numbers."""

    kind: LinkKind
    baud: int | None = Field(default=None, ge=300, le=4_000_000)
    options: dict[ShortText, Scalar] = Field(default_factory=dict)


class ConsumableProfile(ProfileModel):
    """What a device uses up, and from when on there is little of it."""

    unit: ConsumableUnit
    capacity: float = Field(gt=0.0)
    low: float = Field(ge=0.0, description="low from here down; where a sensor says low, what is left then")
    part: PartName | None = None

    @field_validator("low")
    @classmethod
    def _is_below(cls, low: float, info: ValidationInfo) -> float:
        if low >= info.data.get("capacity", float("inf")):
            raise PydanticCustomError("low_mark", "must be below the capacity")
        return low


class DeviceProfile(ProfileModel):
    """`devices/<vendor>-<model>.yaml`."""

    vendor: ShortText
    model: ShortText
    capability: Capability
    match: dict[ShortText, ShortText] = Field(default_factory=dict)
    link: LinkProfile
    dialect: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,63}$")]
    capabilities: dict[ShortText, Scalar] = Field(default_factory=dict)
    quirks: dict[ShortText, Scalar] = Field(default_factory=dict)
    consumables: dict[Code, ConsumableProfile] = Field(default_factory=dict, max_length=8)
    firmware: FirmwareProfile = Field(default_factory=FirmwareProfile)
    notes: Text | None = None


class KioskDevice(ProfileModel):
    """A device in its place inside a kiosk model."""

    component: ComponentName
    device: ShortText
    port: Text | None = None
    silent_after_s: float | None = Field(default=None, gt=0.0)


class Condition(StrEnum):
    """What a function needs of a component; `works` where nothing is said."""

    WORKS = "works"
    """It is in use, and no fault is up that stops it."""
    ANSWERS = "answers"
    """It is in use, whatever it lacks."""
    PAPER = "paper"
    """It is in use and has paper."""
    TONER = "toner"
    """It is in use and has toner."""


_NAME = r"[a-z][a-z0-9_.-]{0,63}"
Need = Annotated[str, Field(pattern=rf"^{_NAME}(:({'|'.join(Condition)}))?$", description="component[:condition]")]
Guard = Annotated[str, Field(pattern=rf"^{_NAME}:[a-z][a-z0-9_]+$", description="component:fault")]
Way = Annotated[list[Need], Field(max_length=8)]


class Fallback(ProfileModel):
    """A way that goes without something."""

    needs: Way
    lacks: Lack


class FunctionProfile(ProfileModel):
    """What a patient function needs: one whole way is enough."""

    ways: list[Way] = Field(min_length=1, max_length=32)
    degraded: list[Fallback] = Field(default_factory=list, max_length=16)
    stopped_by: list[Guard] = Field(default_factory=list, max_length=16)
    """It is lost while one of these faults is up; the silence of these components changes nothing."""


class KioskProfile(ProfileModel):
    """`kiosks/<model>.yaml`: which devices on which port, and what patients can do with them."""

    model: ShortText
    title_zh: ShortText
    title_en: ShortText
    devices: list[KioskDevice] = Field(default_factory=list, max_length=64)
    functions: dict[PatientFunction, FunctionProfile | None] = Field(default_factory=dict)
    """Takes the place of what the devices would mean by default; None: this kiosk does not offer it."""

    @field_validator("functions")
    @classmethod
    def _names_what_there_is(
        cls, functions: dict[PatientFunction, FunctionProfile | None], info: ValidationInfo
    ) -> dict[PatientFunction, FunctionProfile | None]:
        known = {place.component for place in info.data.get("devices", ())}
        faults = {fault.value for fault in Fault}
        for function, profile in functions.items():
            for key, name in _names(profile):
                component, _, tail = name.partition(":")
                if component not in known:
                    raise _mistake(function, key, f"no component {component!r} in devices")
                if key.startswith("stopped_by") and tail not in faults:
                    raise _mistake(function, key, f"no fault {tail!r}")
        return functions


def _names(profile: FunctionProfile | None) -> list[tuple[str, str]]:
    """Everything that a function names, with the key where it does."""
    if profile is None:
        return []
    ways = {f"ways.{place}": way for place, way in enumerate(profile.ways)}
    ways |= {f"degraded.{place}.needs": fallback.needs for place, fallback in enumerate(profile.degraded)}
    ways |= {"stopped_by": profile.stopped_by}
    return [(f"{key}.{place}", name) for key, way in ways.items() for place, name in enumerate(way)]


def _mistake(function: PatientFunction, key: str, what: str) -> PydanticCustomError:
    return PydanticCustomError("profile", "{where}: {what}", {"where": f"{function}.{key}", "what": what})
