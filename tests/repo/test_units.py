"""The systemd units: understood by systemd without a word of complaint, and hardened."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "ansible").rglob("*.service"))
ONCE = {"kiosk-disk-wear": "CAP_SYS_RAWIO CAP_SYS_ADMIN"}
"""Units that do something and end, and the rights they keep for it."""
DAEMONS = [unit for unit in UNITS if unit.stem not in ONCE]
TIMERS = sorted((ROOT / "ansible").rglob("*.timer"))
EXPOSURE_LIMIT = 30
"""Tenths of systemd's exposure level; 0 is sealed, 100 is open."""


def test_there_are_units() -> None:
    assert {unit.stem for unit in UNITS} >= {"kiosk-agent", "fleet-server"}


@pytest.mark.parametrize("unit", DAEMONS, ids=lambda unit: unit.stem)
def test_a_unit_restarts_watches_and_keeps_no_privilege(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    for line in (
        "Type=notify",
        "Restart=always",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
    ):
        assert f"\n{line}\n" in text, line
    assert "WatchdogSec=" in text


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.stem in ONCE], ids=lambda unit: unit.stem)
def test_a_unit_of_a_timer_ends_and_keeps_only_what_it_needs(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    rights = f"CapabilityBoundingSet={ONCE[unit.stem]}"
    for line in ("Type=oneshot", rights, "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateNetwork=yes"):
        assert f"\n{line}\n" in text, line
    assert "TimeoutStartSec=" in text
    assert unit.with_suffix(".timer") in TIMERS


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_a_unit(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None, "systemd-analyze is missing: apt-get install --no-install-recommends systemd"
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    copy = tmp_path / unit.name
    lines = [
        f"ExecStart={program}" if line.startswith("ExecStart=") else line
        for line in unit.read_text(encoding="utf-8").splitlines()
        if not line.startswith(("User=", "Group=", "SupplementaryGroups=", "After=mosquitto"))
    ]
    copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if copy.name in line and "not-found" not in line]
    assert complaints == []
    argv = [analyze, "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", "--no-pager", str(unit)]
    judged = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout[-400:] + judged.stderr
