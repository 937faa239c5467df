"""The lab from the command line: what is there, doing something to it, and clear words when that is wrong."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulators.lab.cli import app
from support.processes import Child
from support.tree import ROOT
from support.waiting import wait_for

SCENARIOS = ROOT / "simulators/lab/scenarios"
pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


async def _typed(folder: Path, *words: str) -> Result:
    """What a tester sees; in a thread, because the command waits for the lab."""
    command, *rest = words
    return await asyncio.to_thread(CliRunner().invoke, app, [command, "--dir", str(folder), *rest])


async def test_a_tester_types_at_the_lab(service_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    folder = service_dir / "lab"
    arguments = ("lab", "run", "--kiosks", "1", "--dir", str(folder), "--control-port", "0")
    with Child.of_module("simulators", *arguments, log_dir=service_dir, env=dict(os.environ)):
        await wait_for((folder / "lab.json").is_file, timeout_s=30.0, what="the lab")
        seen = await _typed(folder, "status")
        assert "receipt_printer" in seen.output
        done = await _typed(folder, "do", "kiosk-1", "id_reader", "insert_card", "person=5")
        assert (done.exit_code, done.output.strip()) == (0, "完成 · done")
        wrong = await _typed(folder, "do", "kiosk-1", "receipt_printer", "paper")
        assert wrong.exit_code == 3
        assert "paper_out" in wrong.output
        half = await _typed(folder, "do", "kiosk-1", "id_reader", "insert_card", "person")
        assert half.exit_code == 2
        refused = await _typed(folder, "do", "kiosk-1", "id_reader", "insert_card", "person=x")
        assert "arguments.person" in refused.output
        night = str(SCENARIOS / "bad_night.yaml")
        played = await _typed(folder, "play", night, "--speed", "10000")
        assert played.exit_code == 0, played.output
        assert "jam_at_line line=7" in played.output
        elsewhere = await _typed(folder, "play", night, "--kiosk", "kiosk-9")
        assert elsewhere.exit_code == 2
        assert "bad_night.yaml:5" in elsewhere.output


async def test_no_lab_is_said(tmp_path: Path) -> None:
    silent = await _typed(tmp_path, "status")
    assert silent.exit_code == 4
    assert "没有运行的实验室" in silent.output
