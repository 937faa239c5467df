"""A sysfs with USB devices, made of real folders and links, and nodes that a simulator stands behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Sysfs:
    """Plug devices in and out; `root` is what stands for /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.devices = root / "bus" / "usb" / "devices"
        self.devices.mkdir(parents=True)

    def plug(self, place: str, usb_id: str, *, product: str = "", serial: str = "", classes: str = "ff") -> Path:
        """A device with one interface for each class of `classes` ("03 03")."""
        folder = self.root / "devices" / "pci0000:00" / f"usb{place[0]}" / place
        folder.mkdir(parents=True)
        vendor, _, number = usb_id.partition(":")
        words = {"idVendor": vendor, "idProduct": number, "product": product, "serial": serial, "bDeviceClass": "00"}
        for name, word in words.items():
            if word:
                (folder / name).write_text(f"{word}\n", encoding="utf-8")
        (self.devices / place).symlink_to(folder)
        for index, one in enumerate(classes.split()):
            interface = folder / f"{place}:1.{index}"
            interface.mkdir()
            (interface / "bInterfaceClass").write_text(f"{one}\n", encoding="utf-8")
            (interface / "bInterfaceNumber").write_text(f"{index:02x}\n", encoding="utf-8")
            (self.devices / interface.name).symlink_to(interface)
        return folder

    def node(self, place: str, kind: str, name: str, *, interface: int = 0, below: str = "0003:0000:0000.0001") -> None:
        """A node of an interface, such as `hidraw0`."""
        folder = (self.devices / place).resolve() / f"{place}:1.{interface}" / below / kind / name
        folder.mkdir(parents=True)
        (self.root / "class" / kind).mkdir(parents=True, exist_ok=True)
        (self.root / "class" / kind / name).symlink_to(folder)


class SimulatedNodes:
    """A `NodePort`: what would be opened is an end of a simulator's pipe. The kernel's own part is not in it."""

    def __init__(self, usb_id: str, host_end: Callable[[], int]) -> None:
        self._usb_id = usb_id
        self._host_end = host_end
        self.opened: list[str] = []

    def open(self, path: str) -> int:
        self.opened.append(path)
        return self._host_end()

    def usb_id(self, fd: int) -> str:
        return self._usb_id
