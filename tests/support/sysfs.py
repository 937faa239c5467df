"""A sysfs with USB devices, made of real folders and links, and nodes that a simulator stands behind."""

from __future__ import annotations

import shutil
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

    def serial(self, dev: Path, place: str, name: str, *, by_id: str = "") -> None:
        """A serial port of the device at a place, with the names that udev gives it."""
        self.node(place, "tty", name, below=name)
        self.name_port(dev, name, by_id=by_id, by_path=f"pci-0000:00:14.0-usb-0:{place.partition('-')[2]}:1.0-port0")

    def uart(self, dev: Path, name: str, kind: int) -> None:
        """A port on the board; kind 0 is a place without one."""
        folder = self.root / "devices" / "platform" / "serial8250" / "tty" / name
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{kind}\n", encoding="ascii")
        (self.root / "class" / "tty").mkdir(parents=True, exist_ok=True)
        (self.root / "class" / "tty" / name).symlink_to(folder)
        self.name_port(dev, name)

    def name_port(self, dev: Path, name: str, *, by_id: str = "", by_path: str = "") -> None:
        """Links as udev makes them: the last one of a name wins."""
        dev.mkdir(exist_ok=True)
        (dev / name).touch()
        for folder, link in (("by-id", by_id), ("by-path", by_path)):
            if link:
                (dev / "serial" / folder).mkdir(parents=True, exist_ok=True)
                (dev / "serial" / folder / link).unlink(missing_ok=True)
                (dev / "serial" / folder / link).symlink_to(dev / name)

    def unplug(self, place: str) -> None:
        """Take a device and its nodes away; udev's links stay, dangling, until they are made anew."""
        folder = (self.devices / place).resolve()
        for links in (self.devices, *(self.root / "class").iterdir()):
            for link in links.iterdir():
                if link.resolve().is_relative_to(folder):
                    link.unlink()
        shutil.rmtree(folder)


class SimulatedNodes:
    """A `NodePort`: what would be opened is an end of a simulator's pipe. The kernel's own part is not in it."""

    def __init__(self, usb_id: str, host_end: Callable[[], int]) -> None:
        self.ids = usb_id
        self._host_end = host_end
        self.opened: list[str] = []

    def open(self, path: str) -> int:
        self.opened.append(path)
        return self._host_end()

    def usb_id(self, fd: int) -> str:
        return self.ids
