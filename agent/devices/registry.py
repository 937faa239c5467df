"""Which driver speaks which dialect over which link; a driver and its libraries load with the first profile for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol, cast

from agent.devices.types import Driver, Owner
from agent.errors import ProfileError
from kit.clock import Clock
from wire.profile import Capability, DeviceProfile, LinkKind


class Link(Protocol):
    """What the manager does with any kind of link."""

    @property
    def name(self) -> str:
        """Where it leads."""

    async def open(self) -> None:
        """See `ByteLink`."""

    async def close(self) -> None:
        """See `ByteLink`."""


MakeLink = Callable[[], Link]
MakeDriver = Callable[[Link, Owner, Clock], Driver]
_C = Capability
DRIVERS: Mapping[tuple[Capability, str], tuple[str, str]] = MappingProxyType(
    {
        (_C.ID_CARD_READER, "sdt"): ("id_card_reader", "SdtIdCardReader"),
        (_C.ID_CARD_READER, "sdt_hid"): ("id_card_reader", "SdtIdCardReader"),
        (_C.ID_CARD_READER, "sdt_miaxis"): ("id_card_reader", "SdtIdCardReader"),
        (_C.CARD_READER, "pcsc"): ("card_reader", "PcscCardReader"),
        (_C.CARD_READER, "terminal"): ("card_reader.terminal", "ProgramCardReader"),
        (_C.RECEIPT_PRINTER, "escpos"): ("receipt_printer", "EscposReceiptPrinter"),
        (_C.RECEIPT_PRINTER, "escpos_custom"): ("receipt_printer", "EscposReceiptPrinter"),
        (_C.REPORT_PRINTER, "ipp"): ("report_printer", "IppReportPrinter"),
        (_C.QR_SCANNER, "plain"): ("qr_scanner", "SerialQrScanner"),
        (_C.QR_SCANNER, "honeywell"): ("qr_scanner", "SerialQrScanner"),
        (_C.QR_SCANNER, "newland"): ("qr_scanner", "SerialQrScanner"),
        (_C.QR_SCANNER, "framed"): ("qr_scanner", "SerialQrScanner"),
        (_C.QR_SCANNER, "ssi"): ("qr_scanner", "SerialQrScanner"),
        (_C.PIN_PAD, "gz_b"): ("pin_pad", "GzbPinPad"),
        (_C.PAPER_SENSOR, "modbus_tcp"): ("paper_sensor", "ModbusPaperSensor"),
        (_C.PAPER_SENSOR, "modbus_rtu"): ("paper_sensor", "ModbusPaperSensor"),
        (_C.UPS, "nut"): ("ups", "NutUps"),
        (_C.FACE_CAMERA, "gated"): ("face_camera", "GatedFaceCamera"),
    }
)


def driver_of(profile: DeviceProfile) -> MakeDriver:
    """What makes the driver of a profile; its module is loaded now.

    Raises:
        ProfileError: nothing speaks this dialect.
    """
    row = DRIVERS.get((profile.capability, profile.dialect))
    if row is None:
        raise ProfileError(f"{profile.vendor} {profile.model}: dialect: no {profile.capability} speaks it")
    where, name = row
    module = where if "." in where else f"{where}.driver"
    made = cast("Any", getattr(import_module(f"agent.devices.{module}"), name))  # each takes its own link
    return lambda link, owner, clock: made(link, profile, owner, clock)


def link_of(profile: DeviceProfile, port: str | None) -> MakeLink:
    """What makes the link of a device.

    Raises:
        ProfileError: this kind of link is not supported, or it needs a port and has none.
    """
    maker = _LINKS.get(profile.link.kind)
    if maker is None:
        raise ProfileError(f"{profile.vendor} {profile.model}: link.kind: {profile.link.kind} is not supported")
    try:
        return maker(profile, port)
    except ValueError as error:
        raise ProfileError(f"{profile.vendor} {profile.model}: {error}") from None


_PORTS: Mapping[LinkKind, str] = MappingProxyType(
    {
        LinkKind.SERIAL: "/dev/ttyS0",
        LinkKind.TCP: "127.0.0.1:1",
        LinkKind.NUT: "127.0.0.1:3493",
        LinkKind.IPP: "127.0.0.1",
        LinkKind.USB: "1-1",
        LinkKind.HID: "1-1",
        LinkKind.KEYBOARD: "1-1",
        LinkKind.CAMERA: "/dev/video0",
        LinkKind.PROGRAM: "/dev/ttyS0",
    }
)
"""A port of each kind, for a check of everything else."""


def check_link(profile: DeviceProfile, port: str | None) -> None:
    """Whether the link can be made; where no port is known, as if one were: the settings of a kiosk name it.

    Raises:
        ProfileError: an id, an option or the port is not what this kind of link takes.
    """
    kind = profile.link.kind
    if kind in _LINKS:
        _ = link_of(profile, _PORTS.get(kind) if port is None else port)


def _serial(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.serial_port import SerialLink, SerialSettings  # noqa: PLC0415 - loaded when needed

    if port is None:
        raise ProfileError("port: a serial device needs one")
    return lambda: SerialLink(port, SerialSettings.of(profile.link))


def _tcp(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.tcp import TcpLink  # noqa: PLC0415 - loaded when needed

    options = profile.link.options
    address, number = port or str(options.get("host") or ""), int(options.get("port") or 0)
    if not address:
        raise ProfileError("port: a device on the network needs an address")
    return lambda: TcpLink.of(address, number)


def _pcsc(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.pcsc import PcscLink  # noqa: PLC0415 - loaded when needed

    return lambda: PcscLink.of(profile.link, port)


def _ipp(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.ipp import IppAddress, IppLink  # noqa: PLC0415 - loaded when needed

    if port is None:
        raise ProfileError("port: a device on the network needs an address")
    try:
        address = IppAddress.of(port, profile.link)
    except ValueError as error:
        raise ProfileError(f"port: {error}") from None
    return lambda: IppLink(address)


def _camera(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.camera import CameraLink, Source  # noqa: PLC0415 - loaded when needed

    source = Source.of(profile.link, port)
    return lambda: CameraLink(source)


def _usb(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.usb_bulk import UsbBulkLink, UsbSettings  # noqa: PLC0415 - loaded when needed
    from agent.links.usb_nodes import UsbAddress  # noqa: PLC0415 - the same

    usb_id = profile.match.get("usb")
    settings, where = UsbSettings.of(profile.link), UsbAddress.of(usb_id, port)
    return lambda: UsbBulkLink(where, usb_id, settings)


def _hid(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.hidraw import HidrawLink, HidSettings  # noqa: PLC0415 - loaded when needed
    from agent.links.node import NodeAddress  # noqa: PLC0415 - the same

    settings, where = HidSettings.of(profile.link), NodeAddress.of(profile.match.get("usb"), port)
    return lambda: HidrawLink(where, settings)


def _keyboard(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.evdev_keyboard import KeyboardLink, KeyboardSettings  # noqa: PLC0415 - loaded when needed
    from agent.links.node import NodeAddress  # noqa: PLC0415 - the same

    settings, where = KeyboardSettings.of(profile.link), NodeAddress.of(profile.match.get("usb"), port)
    return lambda: KeyboardLink(where, settings)


def _program(profile: DeviceProfile, port: str | None) -> MakeLink:
    from agent.links.program import ProgramLink  # noqa: PLC0415 - loaded when needed

    _ = ProgramLink.of(profile.link, port)
    return lambda: ProgramLink.of(profile.link, port)


_LINKS: Mapping[LinkKind, Callable[[DeviceProfile, str | None], MakeLink]] = MappingProxyType(
    {
        LinkKind.SERIAL: _serial,
        LinkKind.TCP: _tcp,
        LinkKind.NUT: _tcp,
        LinkKind.PCSC: _pcsc,
        LinkKind.IPP: _ipp,
        LinkKind.USB: _usb,
        LinkKind.HID: _hid,
        LinkKind.KEYBOARD: _keyboard,
        LinkKind.CAMERA: _camera,
        LinkKind.PROGRAM: _program,
    }
)
