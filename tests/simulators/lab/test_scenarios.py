"""Scenarios: the examples play to their end, and mistakes are named with their lines before anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from kit.clock import SystemClock
from simulators.lab.device import FactValue
from simulators.lab.kiosk import DEVICES
from simulators.lab.play import StepFailed, play
from simulators.lab.scenario import Planned, ScenarioError, read
from support.lab_bench import Engineer
from support.tree import ROOT

EXAMPLES = sorted((ROOT / "simulators/lab/scenarios").glob("*.yaml"))
HEAD = "title: {zh: 试, en: Try}\nsteps:\n"
KINDS = {("kiosk-1", kind.kind.value): kind for kind in DEVICES}


class Bench:
    """The lab of a tester, over its control API."""

    def __init__(self, tester: Engineer) -> None:
        self._tester = tester

    async def act(self, step: Planned) -> None:
        status, said = await self._tester.try_to(step.device, step.action or "", step.arguments)
        if status != 200:
            raise StepFailed(said["title"])

    async def facts(self, kiosk: str, device: str) -> Mapping[str, FactValue]:
        row = (await self._tester.ask("GET", f"/api/v1/kiosks/{kiosk}/devices/{device}"))[1]
        return {**row["state"], "plugged": row["plugged"]}


async def _play(tester: Engineer, file: Path) -> list[Planned]:
    script = await asyncio.to_thread(read, file)
    steps = script.planned("kiosk-1")
    kiosk = tester.lab.kiosks["kiosk-1"]
    script.check(steps, {("kiosk-1", name): type(device) for name, device in kiosk.devices.items()})
    done: list[Planned] = []
    await play(steps, Bench(tester), SystemClock(), speed=10_000.0, tell=done.append)
    return done


def _written(folder: Path, *steps: str) -> Path:
    file = folder / "try.yaml"
    file.write_text(HEAD + "".join(f"  - {step}\n" for step in steps), encoding="utf-8")
    return file


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
async def test_an_example_plays_to_its_end(tester: Engineer, file: Path) -> None:
    done = await _play(tester, file)
    assert len(done) == len((await asyncio.to_thread(read, file)).scenario.steps)


async def test_what_does_not_come_true_stops_the_scenario(tester: Engineer, tmp_path: Path) -> None:
    file = _written(
        tmp_path,
        "{device: receipt_printer, expect: {paper_out: true}, within: 0.01}",
        "{device: receipt_printer, action: paper_out}",
    )
    with pytest.raises(StepFailed, match="paper_out"):
        await _play(tester, file)
    assert (await tester.state("receipt_printer"))["paper_out"] is False


async def test_a_refused_step_stops_the_scenario(tester: Engineer, tmp_path: Path) -> None:
    file = _written(tmp_path, "{device: id_reader, action: remove_card}", "{device: id_reader, action: insert_card}")
    with pytest.raises(StepFailed, match="no card lies there"):
        await _play(tester, file)
    assert (await tester.state("id_reader"))["card"] is None


def test_a_seed_draws_the_same_again(tmp_path: Path) -> None:
    script = read(
        _written(
            tmp_path,
            "{after: [1, 90], device: id_card_reader, action: insert_card, arguments: {person: {between: [1, 999]}}}",
            "{after: [1, 90], device: id_card_reader, action: script, arguments: {fault: {one_of: [silence, status]}}}",
        )
    )
    assert script.planned("kiosk-1", 5) == script.planned("kiosk-1", 5)
    assert script.planned("kiosk-1", 5) != script.planned("kiosk-1", 6)
    first, second = script.planned("kiosk-1", 5)
    assert 1 <= first.at_s <= 90
    assert first.at_s + 1 <= second.at_s


@pytest.mark.parametrize(
    ("step", "line", "told"),
    [
        ("{device: ups}", 4, "action"),
        ("{device: ups, action: low, expect: {charge: 1}}", 4, "action"),
        ("{device: ups, action: low, at: 1, after: 1}", 4, "at"),
        ("{device: ups, action: low, after: -1}", 4, "after"),
        ("{device: ups, action: low, after: [3, 1]}", 4, "smaller"),
        ("{device: ups, action: low, sometimes: 1}", 4, "sometimes"),
        ("{device: ups, action: [", 5, ""),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, step: str, line: int, told: str) -> None:
    with pytest.raises(ScenarioError, match=rf"try\.yaml:{line}: .*{told}"):
        read(_written(tmp_path, "{device: ups, action: mains}", step))


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{device: upss, action: low}", "upss"),
        ("{device: ups, kiosk: kiosk-2, action: low}", "kiosk-2"),
        ("{device: ups, action: lower}", "lower"),
        ("{device: ups, action: low, arguments: {now: true}}", "now"),
        ("{device: ups, action: battery, arguments: {charge: 101}}", "charge"),
        ("{device: ups, expect: {tired: true}}", "tired"),
    ],
)
def test_what_no_device_can_do_is_named_with_its_line(tmp_path: Path, step: str, told: str) -> None:
    script = read(_written(tmp_path, "{device: ups, action: mains}", step))
    with pytest.raises(ScenarioError, match=rf"try\.yaml:4: .*{told}"):
        script.check(script.planned("kiosk-1"), KINDS)


def test_no_file_and_no_scenario_are_said(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="nothing"):
        read(tmp_path / "nothing.yaml")
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"list\.yaml:1"):
        read(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="UTF-8"):
        read(file)
