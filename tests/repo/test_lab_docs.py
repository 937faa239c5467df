"""Each device's page names what its simulator can be made to do, as the lab's table of actions has it."""

from __future__ import annotations

import re

import pytest

from simulators.lab.actions import describe
from simulators.lab.device import WIRED, Device
from simulators.lab.kiosk import DEMO_FULL, DEVICES, Place
from support.tree import ROOT

PAGES = {"io_board": "paper_sensor"}
COMMON = {row.name for row in WIRED}


def told(kind: type[Device]) -> str:
    """What the page must say, on one line."""
    own = [name for name in kind.actions if name not in COMMON]
    faults = next(row for name, row in kind.actions.items() if name == "script")
    choices = next(argument.choices for argument in describe(faults).arguments if argument.name == "fault")
    assert choices
    return (
        f"In the [lab](../lab.md) these can be done to it: {_listed(own)}. Faults of its `script`: {_listed(choices)}. "
        f"Models: {_listed(kind.models)}."
    )


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


@pytest.mark.parametrize("kind", DEVICES, ids=lambda kind: kind.kind.value)
def test_the_page_of_a_device_names_the_actions_of_its_simulator(kind: type[Device]) -> None:
    name = PAGES.get(kind.kind.value, kind.kind.value)
    page = (ROOT / f"docs/devices/{name}.md").read_text(encoding="utf-8")
    assert told(kind) in " ".join(page.split())


@pytest.mark.parametrize("place", DEMO_FULL, ids=lambda place: place.component)
def test_the_page_of_the_lab_names_what_can_be_done_to_each_device(place: Place) -> None:
    kind = next(device for device in DEVICES if device.kind == place.kind)
    page = (ROOT / "docs/lab.md").read_text(encoding="utf-8")
    table = page.split("## What can be done")[1].split("##")[0]
    (row,) = re.findall(rf"^\| `{place.component}` \|(.*)\|$", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == kind.actions.keys() - COMMON - {"script", "repair"}
