"""Schema of `firmware_profiles/`: our own files, so an unknown key is a mistake and is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wire.envelope import ComponentName, Scalar, ShortText, Text


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
    PCSC = "pcsc"
    IPP = "ipp"
    TCP = "tcp"
    CAMERA = "camera"
    NUT = "nut"
    NONE = "none"


class LinkProfile(ProfileModel):
    """The link and its numbers."""

    kind: LinkKind
    baud: int | None = Field(default=None, ge=300, le=4_000_000)
    options: dict[ShortText, Scalar] = Field(default_factory=dict)


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
    consumables: dict[ShortText, dict[ShortText, Scalar]] = Field(default_factory=dict)
    firmware: dict[ShortText, Any] = Field(default_factory=dict)
    notes: Text | None = None


class KioskDevice(ProfileModel):
    """A device in its place inside a kiosk model."""

    component: ComponentName
    device: ShortText
    port: ShortText | None = None
    silent_after_s: float | None = Field(default=None, gt=0.0)


class KioskProfile(ProfileModel):
    """`kiosks/<model>.yaml`: which devices on which port."""

    model: ShortText
    title_zh: ShortText
    title_en: ShortText
    devices: list[KioskDevice] = Field(default_factory=list, max_length=64)
