"""What is plugged into USB: storage is an alarm always, anything not on the list of this kiosk where there is a list.

Source: the kernel's sysfs, Documentation/ABI/testing/sysfs-bus-usb: `idVendor`, `idProduct`, `product` of a device,
`bInterfaceClass` of its interfaces (`1-1:1.0`). Classes by usb.org: 08 mass storage, 09 hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.reporter import Reporter
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from kit.logs import get_logger
from wire.faults import Fault

ROOT: Final = Path("/sys/bus/usb/devices")
LOOK_S: Final = 1.0
_TIMEOUT_S: Final = 5.0
_STORAGE, _HUB = "08", "09"
_DETAIL_MAX: Final = 200
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """One device; `where` is its place in the tree, such as 1-1.4, and stays the same for a socket."""

    where: str
    usb_id: str
    """vvvv:pppp, hexadecimal."""
    product: str
    classes: frozenset[str]

    @property
    def is_storage(self) -> bool:
        """Whether files can be carried in or out with it."""
        return _STORAGE in self.classes

    @property
    def is_hub(self) -> bool:
        """Whether it only passes others on."""
        return self.classes <= {_HUB} and bool(self.classes)


def read_tree(root: Path = ROOT) -> tuple[UsbDevice, ...]:
    """Every device that is plugged in; one that goes away meanwhile is left out, no USB at all is none."""
    try:
        folders = sorted(root.iterdir())
    except OSError:
        return ()
    found = (_device(folder, root) for folder in folders if ":" not in folder.name)
    return tuple(device for device in found if device is not None)


def _device(folder: Path, root: Path) -> UsbDevice | None:
    vendor, product_id = _word(folder / "idVendor"), _word(folder / "idProduct")
    if not vendor or not product_id:
        return None
    classes = {_word(folder / "bDeviceClass")}
    classes |= {_word(path / "bInterfaceClass") for path in root.glob(f"{folder.name}:*")}
    product = "".join(one for one in _word(folder / "product") if one.isprintable())
    return UsbDevice(folder.name, f"{vendor}:{product_id}".lower(), product[:64], frozenset(classes - {"", "00"}))


def _word(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


class UsbWatch:
    """Says how the two conditions stand, every second."""

    def __init__(self, reporter: Reporter, allowed: Collection[str] | None, root: Path = ROOT) -> None:
        """`allowed` are ids; None means that only storage is an alarm."""
        self._reporter = reporter
        self._allowed = None if allowed is None else frozenset(one.lower() for one in allowed)
        self._root = root
        self._thread = DeviceThread("usb-tree")
        self._seen: tuple[UsbDevice, ...] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_S)
        finally:
            self.close()

    def close(self) -> None:
        """Look no more."""
        self._thread.close(timeout_s=0.0)

    async def look(self) -> None:
        """One round; a tree that cannot be read in time changes nothing."""
        if not self._thread.is_usable:
            self._thread = DeviceThread("usb-tree")
        try:
            tree = await self._thread.call(read_tree, self._root, timeout_s=_TIMEOUT_S)
        except (CallTimeout, Abandoned):
            return
        if tree == self._seen:
            return
        self._log_changes(tree)
        self._seen = tree
        storage = [one for one in tree if one.is_storage]
        await self._say(Fault.USB_STORAGE, storage)
        if self._allowed is not None:
            known = self._allowed
            strange = [one for one in tree if not one.is_hub and one.usb_id not in known and one not in storage]
            await self._say(Fault.USB_UNKNOWN, strange)

    async def _say(self, fault: Fault, devices: Sequence[UsbDevice]) -> None:
        text = "; ".join(f"{one.where} {one.usb_id} {one.product}".strip() for one in devices)
        await self._reporter.alarm("host", fault, is_up=bool(devices), detail={"devices": text[:_DETAIL_MAX]})

    def _log_changes(self, tree: Sequence[UsbDevice]) -> None:
        before = set(self._seen or ())
        for device in tree:
            if self._seen is not None and device not in before:
                log.info("usb.plugged_in", where=device.where, usb_id=device.usb_id)
        for device in before - set(tree):
            log.info("usb.unplugged", where=device.where, usb_id=device.usb_id)
