"""The USB tree, on a tree of files as the kernel makes it: storage and strangers are alarms, and go with their plug."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.health.usb_tree import UsbWatch, read_tree
from agent.settings import DevicesSettings
from support.reporter import SilentReporter
from wire.envelope import Scalar
from wire.faults import Fault, Severity

READER, STICK, TOUCH = "0483:5740", "0781:5567", "222a:0001"


@dataclass
class Alarms(SilentReporter):
    """What is up, with its detail."""

    up: dict[Fault, str] = field(default_factory=dict)

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        if is_up:
            self.up[fault] = str((detail or {})["devices"])
        else:
            self.up.pop(fault, None)
        return True


def plug(root: Path, where: str, usb_id: str, *classes: str, product: str = "") -> None:
    """A device with an interface of each class."""
    vendor, _, product_id = usb_id.partition(":")
    folder = root / where
    folder.mkdir(parents=True)
    for name, text in (("idVendor", vendor), ("idProduct", product_id), ("bDeviceClass", "00"), ("product", product)):
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    for number, one in enumerate(classes):
        interface = root / f"{where}:1.{number}"
        interface.mkdir()
        (interface / "bInterfaceClass").write_text(f"{one}\n", encoding="utf-8")


def unplug(root: Path, where: str) -> None:
    """Take it out."""
    for folder in [root / where, *root.glob(f"{where}:*")]:
        shutil.rmtree(folder)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plug(tmp_path, "usb1", "1d6b:0002", "09", product="xHCI Host Controller")
    plug(tmp_path, "1-1", READER, "02", "0a", product="STM32 Virtual COM")
    return tmp_path


@contextmanager
def watching(alarms: Alarms, allowed: list[str] | None, tree: Path) -> Iterator[UsbWatch]:
    """A watch without its loop."""
    watch = UsbWatch(alarms, allowed, tree)
    yield watch
    watch.close()


def test_the_tree_is_read(tree: Path) -> None:
    hub, reader = sorted(read_tree(tree), key=lambda one: not one.is_hub)
    assert (hub.usb_id, hub.is_hub, reader.usb_id, reader.is_hub) == ("1d6b:0002", True, READER, False)
    assert not reader.is_storage
    assert read_tree(tree / "nowhere") == ()


async def test_storage_is_an_alarm_until_it_is_pulled_out(tree: Path) -> None:
    alarms = Alarms()
    with watching(alarms, None, tree) as watch:
        await watch.look()
        assert alarms.up == {}
        plug(tree, "1-2", STICK, "08", product="Cruzer\x1b[31m Blade")
        await watch.look()
        assert alarms.up == {Fault.USB_STORAGE: "1-2 0781:5567 Cruzer[31m Blade"}
        unplug(tree, "1-2")
        await watch.look()
        assert alarms.up == {}


async def test_a_stick_that_is_a_keyboard_too_is_storage(tree: Path) -> None:
    alarms = Alarms()
    plug(tree, "1-2", STICK, "03", "08")
    with watching(alarms, [READER, STICK], tree) as watch:
        await watch.look()
    assert set(alarms.up) == {Fault.USB_STORAGE}, "no list allows storage"


async def test_a_stranger_is_an_alarm_where_there_is_a_list(tree: Path) -> None:
    alarms = Alarms()
    plug(tree, "1-3", TOUCH, "03")
    with watching(alarms, [READER.upper(), TOUCH], tree) as watch:
        await watch.look()
        assert alarms.up == {}
        plug(tree, "1-4", "dead:beef", "03", product="Keyboard")
        await watch.look()
        assert alarms.up == {Fault.USB_UNKNOWN: "1-4 dead:beef Keyboard"}
        unplug(tree, "1-4")
        await watch.look()
        assert alarms.up == {}


def test_a_device_that_goes_while_it_is_read_is_left_out(tree: Path) -> None:
    (tree / "1-9").mkdir()
    (tree / "1-8").symlink_to(tree / "gone")
    assert len(read_tree(tree)) == 2


def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="usb_allowed"):
        DevicesSettings(usb_allowed=["keyboard"])
