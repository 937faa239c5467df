"""One kiosk of a lab: which devices it has and where each is plugged in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from simulators.devices.transports import Core, LinkFaults, PtyServer, TcpServer
from simulators.lab.card_service import CardService, why_not
from simulators.lab.device import ByteDevice, Device, Kind
from simulators.lab.devices.card_reader import CardReader
from simulators.lab.devices.face_camera import FaceCamera
from simulators.lab.devices.id_card_reader import IdCardReader
from simulators.lab.devices.io_board import IoBoard
from simulators.lab.devices.pin_pad import PinPad
from simulators.lab.devices.qr_scanner import QrScanner
from simulators.lab.devices.receipt_printer import ReceiptPrinter
from simulators.lab.devices.report_printer import ReportPrinter
from simulators.lab.devices.ups import Ups
from simulators.lab.errors import LabError


class Via(StrEnum):
    """How the host reaches a device."""

    PTY = "pty"
    TCP = "tcp"
    IPP = "ipp"
    PCSC = "pcsc"


@dataclass(frozen=True, slots=True)
class Place:
    """One device in its place. `path` is a pseudo-terminal's name, `port` a TCP port (0: a free one)."""

    component: str
    kind: Kind
    model: str
    via: Via
    path: Path | None = None
    port: int = 0


DEMO_FULL: tuple[Place, ...] = (
    Place("id_reader", Kind.ID_CARD_READER, "generic-sdt-serial", Via.PTY),
    Place("card_reader", Kind.CARD_READER, "generic-pcsc", Via.PCSC),
    Place("scanner", Kind.QR_SCANNER, "newland-fm530", Via.PTY),
    Place("receipt_printer", Kind.RECEIPT_PRINTER, "custom-kpm150h", Via.PTY),
    Place("report_printer", Kind.REPORT_PRINTER, "generic-ipp_everywhere", Via.IPP),
    Place("pin_pad", Kind.PIN_PAD, "generic-gz_b_epp", Via.PTY),
    Place("io_board", Kind.IO_BOARD, "generic-modbus_tcp_io16", Via.TCP),
    Place("ups", Kind.UPS, "apc-bx650", Via.TCP),
    Place("camera", Kind.FACE_CAMERA, "generic-mjpeg_camera", Via.TCP),
)
"""The devices of `firmware_profiles/kiosks/demo_full.yaml`."""
_FLASHED = {"scanner": "lab-ssi_scanner", "receipt_printer": "lab-escpos_printer"}
DEMO_FIRMWARE: tuple[Place, ...] = tuple(
    replace(place, model=_FLASHED.get(place.component, place.model)) for place in DEMO_FULL
)
"""The devices of `firmware_profiles/kiosks/demo_firmware.yaml`."""

BYTE_DEVICES: Mapping[Kind, type[ByteDevice]] = {
    Kind.ID_CARD_READER: IdCardReader,
    Kind.QR_SCANNER: QrScanner,
    Kind.RECEIPT_PRINTER: ReceiptPrinter,
    Kind.PIN_PAD: PinPad,
    Kind.IO_BOARD: IoBoard,
    Kind.UPS: Ups,
    Kind.FACE_CAMERA: FaceCamera,
}
DEVICES: tuple[type[Device], ...] = (*BYTE_DEVICES.values(), ReportPrinter, CardReader)


class _Nothing:
    """What is on a line until its device is."""

    def connected(self, send: Callable[[bytes], None]) -> None:
        """See `Core`."""

    def received(self, data: bytes) -> None:
        """See `Core`."""


class LabKiosk:
    """`async with kiosk:` plugs all its devices in."""

    def __init__(self, name: str, profile: str, devices: Mapping[str, Device]) -> None:
        self.name = name
        self.profile = profile
        self.devices = dict(devices)
        self._stack = AsyncExitStack()

    @property
    def ports(self) -> dict[str, str]:
        """Where an agent finds each component; one whose service is absent has no port."""
        return {name: device.port for name, device in self.devices.items()}

    @property
    def environment(self) -> dict[str, str]:
        """Variables an agent of this kiosk needs."""
        return {key: value for device in self.devices.values() for key, value in device.environment.items()}

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        for device in self.devices.values():
            await self._stack.enter_async_context(device)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.__aexit__(None, None, None)


def build(place: Place, folder: Path, now_s: Callable[[], float], seed: int) -> Device:
    """The device of a place; files of its own are below `folder`, which must exist.

    Raises:
        LabError: it cannot be reached that way.
    """
    kind = BYTE_DEVICES.get(place.kind)
    core: Core = _Nothing()
    if kind is not None and place.via is Via.PTY:
        line = PtyServer(core, place.path or folder / place.component, LinkFaults(seed))
        return kind(place.component, place.model, line)
    if kind is not None and place.via is Via.TCP:
        return kind(place.component, place.model, TcpServer(core, place.port, LinkFaults(seed)))
    if place.kind is Kind.REPORT_PRINTER and place.via is Via.IPP:
        return ReportPrinter(place.component, place.model, now_s, place.port)
    if place.kind is Kind.CARD_READER and place.via is Via.PCSC:
        return _card_reader(place, folder)
    raise LabError(f"{place.kind}: {place.via} 不支持 · is no way to reach it")


def _card_reader(place: Place, folder: Path) -> CardReader:
    absent = why_not()
    if absent is not None:
        return CardReader(place.component, place.model, None, absent)
    service = CardService(folder / "pcscd", folder.name)
    service.prepare()
    return CardReader(place.component, place.model, service)
