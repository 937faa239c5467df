"""Facts about the machine that do not change while it runs, for the birth message."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

from wire.presence import HostFacts

_DMI = Path("/sys/class/dmi/id")
_DMI_FILES = ("product_uuid", "product_serial", "board_serial")
_USB = Path("/sys/bus/usb/devices")
_FINGERPRINT_LENGTH = 32
_TEXT_LIMIT = 64
_USB_LIMIT = 64


def host_facts() -> HostFacts:
    """What this machine is."""
    return HostFacts(
        hostname=socket.gethostname()[:_TEXT_LIMIT],
        fingerprint=fingerprint(),
        os=_os_name(),
        kernel=platform.release()[:_TEXT_LIMIT],
        cpu_model=_cpu_model(),
        cpu_count=psutil.cpu_count(),
        memory_bytes=psutil.virtual_memory().total,
        addresses=_addresses(),
        usb=usb_devices(),
    )


def fingerprint() -> str:
    """A digest of hardware ids: the same after a reinstall, another on a machine that got a copy of the disk."""
    parts = [_read(_DMI / name) for name in _DMI_FILES]
    parts += sorted(_mac_addresses())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_FINGERPRINT_LENGTH]


def usb_devices() -> list[str]:
    """The USB devices as `vendor:product name`, sorted; empty where the kernel has no USB."""
    if not _USB.is_dir():
        return []
    found = []
    for device in _USB.iterdir():
        vendor, product = _read(device / "idVendor"), _read(device / "idProduct")
        if vendor and product:
            found.append(f"{vendor}:{product} {_read(device / 'product')}".strip())
    return sorted(found)[:_USB_LIMIT]


def _mac_addresses() -> Iterable[str]:
    """Addresses of physical network cards: those that have a device behind them."""
    for card in Path("/sys/class/net").iterdir():
        if (card / "device").exists():
            yield _read(card / "address")


def _addresses() -> list[str]:
    found = [
        address.address
        for group in psutil.net_if_addrs().values()
        for address in group
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    return sorted(found)[:16]


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")[:_TEXT_LIMIT] or None
    except OSError:
        return None


def _cpu_model() -> str | None:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()[:128]
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
