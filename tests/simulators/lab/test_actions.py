"""Every action of every device, over the control API: what it changes, and that wrong ones change nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from kit.clock import SystemClock
from simulators.devices.boot_loader import WAKE
from simulators.lab.actions import ActionRow, ArgumentKind, ArgumentRow, describe
from simulators.lab.card_service import CardService
from simulators.lab.device import Device
from simulators.lab.devices.card_reader import CardReader
from simulators.lab.firmware import SERIES, image, image_name
from simulators.lab.kiosk import DEMO_FIRMWARE, DEMO_FULL, DEVICES, Place
from simulators.lab.lab import Lab, one_kiosk
from support.card_service import socket_dir
from support.lab_bench import QUICK, Engineer, running
from support.tree import ROOT

Step = tuple[str, Mapping[str, object]]

PROFILES = ROOT / "firmware_profiles"
FIRST: Mapping[tuple[str, str], tuple[Step, ...]] = {
    ("*", "back"): (("lose", {}),),
    ("*", "normal"): (("silent", {}),),
    ("id_reader", "remove_card"): (("insert_card", {}),),
    ("id_reader", "repair"): (("script", {"fault": "bad_checksum"}),),
    ("scanner", "put_away"): (("scan", {"text": "8"}),),
    ("scanner", "repair"): (("script", {"fault": "twice"}),),
    ("receipt_printer", "taking"): (("taking", {"forgets": True}),),
    ("receipt_printer", "refill"): (("paper_out", {}),),
    ("receipt_printer", "cover_close"): (("cover_open", {}),),
    ("receipt_printer", "repair"): (("paper_out", {}),),
    ("report_printer", "refill"): (("media_empty", {}),),
    ("report_printer", "door_close"): (("door_open", {}),),
    ("report_printer", "new_toner"): (("toner_low", {}),),
    ("report_printer", "repair"): (("jam", {}),),
    ("io_board", "door_close"): (("door_open", {}),),
    ("io_board", "repair"): (("door_open", {}),),
    ("ups", "mains"): (("low", {}),),
    ("ups", "repair"): (("on_battery", {}),),
    ("camera", "scene"): (("scene", {"scene": "nobody"}),),
    ("camera", "swap"): (("scene", {"scene": "nobody"}),),
    ("camera", "repair"): (("scene", {"scene": "nobody"}),),
    ("card_reader", "remove"): (("insert", {}),),
    ("card_reader", "repair"): (("silent", {}),),
    ("card_reader", "script"): (("insert", {}),),
}
"""What must be done before an action so that it has something to change."""
NOT_NOW = frozenset({("receipt_printer", "take_receipt"), ("pin_pad", "erase"), ("pin_pad", "cancel")})
"""What makes no sense while no ticket hangs out and no input is asked for: refused, and nothing is changed."""

CLOCKS = frozenset({"_timer", "_now_s"})
"""What goes on by itself."""


def _inside(thing: object, depth: int = 0) -> object:
    """A simulator down to its plain values, so that two moments can be compared."""
    if isinstance(thing, (list, tuple)):
        return [_inside(one, depth) for one in thing]
    if isinstance(thing, str):
        return str(thing)
    if isinstance(thing, dict):
        return {str(key): _inside(one, depth) for key, one in thing.items()}
    if type(thing).__module__.startswith("simulators.") and depth < 6:
        names = [*getattr(thing, "__slots__", ()), *getattr(thing, "__dict__", ())]
        return {name: _inside(getattr(thing, name), depth + 1) for name in names if name not in CLOCKS}
    return repr(thing)


def _sight(tester: Engineer, component: str) -> object:
    return _inside(tester.lab.device("kiosk-1", component))


def _examples(kind: type[Device], row: ActionRow) -> Iterator[dict[str, object]]:
    """The defaults, and each choice of an argument that has no default."""
    needed = [argument for argument in row.arguments if argument.required]
    if not needed:
        yield {}
        return
    (argument,) = needed
    choices = [kind.models[-1]] if argument.name == "model" else argument.choices
    assert choices, f"{row.name}: no example for {argument.name}"
    for choice in choices:
        yield {argument.name: choice}


def _wrong(argument: ArgumentRow) -> Iterator[object]:
    """Values an argument must not take."""
    if argument.minimum is not None:
        yield argument.minimum - 1
    if argument.maximum is not None:
        yield argument.maximum + 1
    if argument.kind in (ArgumentKind.WHOLE, ArgumentKind.NUMBER):
        yield "many"
    if argument.kind is ArgumentKind.CHOICE:
        yield "no_such_choice"
    if argument.kind is ArgumentKind.SWITCH:
        yield "perhaps"
    if argument.kind is ArgumentKind.TEXT:
        yield "x" * 5_000


def _base(kind: type[Device], row: ActionRow) -> dict[str, object]:
    return next(_examples(kind, row))


async def _fresh(tester: Engineer, component: str, actions: Mapping[str, object]) -> None:
    for action in ("repair", "normal", "back"):
        if action in actions:
            await tester.do(component, action)


async def _sweep(tester: Engineer, component: str) -> None:
    kind = type(tester.lab.device("kiosk-1", component))
    for row in map(describe, kind.actions.values()):
        for given in _examples(kind, row):
            await _fresh(tester, component, kind.actions)
            for first, arguments in FIRST.get((component, row.name), FIRST.get(("*", row.name), ())):
                await tester.do(component, first, **arguments)
            before = _sight(tester, component)
            status, answer = await tester.try_to(component, row.name, given)
            is_refused = (component, row.name) in NOT_NOW
            assert (row.name, given, status) == (row.name, given, 409 if is_refused else 200), answer
            has_changed = _sight(tester, component) != before
            if has_changed and is_refused:  # the plug that was put back may only now have settled
                before = _sight(tester, component)
                await tester.try_to(component, row.name, given)
                has_changed = _sight(tester, component) != before
            assert has_changed is not is_refused, f"{component} {row.name} {given}"


async def _refusals(tester: Engineer, component: str) -> None:
    kind = type(tester.lab.device("kiosk-1", component))
    before = _sight(tester, component)
    status, answer = await tester.try_to(component, "no_such_action", {})
    assert (status, answer["code"]) == (404, "unknown_action")
    assert set(kind.actions) <= set(answer["title"].replace(",", " ").split())
    for row in map(describe, kind.actions.values()):
        base = _base(kind, row)
        tries = [({**base, "no_such_argument": 1}, "arguments.*")]
        for argument in row.arguments:
            where = f"arguments.{argument.name}"
            tries += [({**base, argument.name: value}, where) for value in _wrong(argument)]
        for given, where in tries:
            status, answer = await tester.try_to(component, row.name, given)
            assert (row.name, given, status) == (row.name, given, 422), answer
            assert where in {error["location"] for error in answer["errors"]}, (row.name, given, answer)
    status, answer = await tester.try_to(component, "swap", {"model": "no-such-model"})
    assert (status, answer["code"]) == (409, "refused")
    assert set(kind.models) <= set(answer["title"].replace(",", " ").split())
    assert _sight(tester, component) == before


@pytest.mark.parametrize("component", [place.component for place in QUICK])
async def test_every_action_changes_its_device(tester: Engineer, component: str) -> None:
    await _sweep(tester, component)


@pytest.mark.parametrize("component", [place.component for place in QUICK])
async def test_wrong_orders_are_refused_and_change_nothing(tester: Engineer, component: str) -> None:
    await _refusals(tester, component)


@asynccontextmanager
async def _with_card_service(folder: Path) -> AsyncIterator[Engineer]:
    clock = SystemClock()
    kiosk = await asyncio.to_thread(one_kiosk, "kiosk-1", "demo_full", QUICK[:1], folder / "kiosk-1", clock, 1)
    service = CardService(folder / "pcscd", "kiosk-1")
    await asyncio.to_thread(service.prepare, socket_dir())
    kiosk.devices["card_reader"] = CardReader("card_reader", "generic-pcsc", service)
    async with running(Lab([kiosk], clock), folder) as tester:
        yield tester


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_every_action_changes_the_smart_card_reader(tmp_path: Path) -> None:
    async with _with_card_service(tmp_path) as tester:
        await _sweep(tester, "card_reader")
        await _refusals(tester, "card_reader")


async def test_the_api_describes_itself(tester: Engineer) -> None:
    status, document = await tester.ask("GET", "/api/v1/openapi.json")
    assert status == 200
    assert "/api/v1/kiosks/{name}/devices/{component}/actions" in document["paths"]


@pytest.mark.parametrize(("name", "places"), [("demo_full", DEMO_FULL), ("demo_firmware", DEMO_FIRMWARE)])
def test_the_demonstration_has_the_devices_of_its_profile(name: str, places: tuple[Place, ...]) -> None:
    profile = yaml.safe_load((PROFILES / f"kiosks/{name}.yaml").read_text(encoding="utf-8"))
    there = {(one["component"], one["device"]) for one in profile["devices"]}
    assert {(place.component, place.model) for place in places} == there


@pytest.mark.parametrize("model", SERIES)
def test_profiles_of_the_lab_name_the_images_of_the_lab(model: str) -> None:
    firmware = yaml.safe_load((PROFILES / f"devices/{model}.yaml").read_text(encoding="utf-8"))["firmware"]
    series = SERIES[model]
    assert firmware["known"] == [series.first, *series.later]
    assert bytes.fromhex(firmware["flash"]["enter"]) == WAKE
    assert {update["version"]: (update["image"], update["sha256"]) for update in firmware["updates"]} == {
        version: (image_name(model, version), hashlib.sha256(image(model, version)).hexdigest())
        for version in series.later
    }


@pytest.mark.parametrize("kind", DEVICES, ids=lambda kind: kind.kind.value)
def test_models_of_the_lab_have_profiles_of_one_kind(kind: type[Device]) -> None:
    profiles = [
        yaml.safe_load((PROFILES / f"devices/{model}.yaml").read_text(encoding="utf-8")) for model in kind.models
    ]
    assert len({profile["capability"] for profile in profiles}) == 1
