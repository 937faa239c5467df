"""Wear of disks: what each kind says, when it is an alarm, and the root's half of it with a stand-in for smartctl."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.health.disk_wear import DiskWatch, read_disks
from agent.health.smart import DiskWear, wear_of, wear_of_emmc
from agent.settings import DiskSettings
from kit.clock import ManualClock
from support.reporter import SilentReporter
from support.tree import ROOT
from wire.envelope import Scalar
from wire.faults import Fault, Severity

GOLDEN = ROOT / "tests/golden/smart"
SCRIPT = ROOT / "ansible/roles/agent/files/kiosk-disk-wear"
START = datetime(2026, 11, 23, 8, tzinfo=UTC)


def said(name: str) -> dict[str, object]:
    document: dict[str, object] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize(
    ("name", "used", "errors", "heat", "warnings"),
    [
        ("nvme_healthy", 3.0, 0, 41.0, ()),
        ("nvme_worn", 96.0, 0, 45.0, ()),
        ("nvme_read_only", 104.0, 27, 50.0, ("critical_warning_09", "spare_low")),
        ("nvme_hot", 12.0, 0, 84.0, ()),
        ("ata_wear_leveling", 7.0, 0, 35.0, ()),
        ("ata_life_left", 92.0, 0, 35.0, ()),
        ("ata_wearout", 38.0, 0, 35.0, ()),
        ("ata_lifetime_remain", 0.0, 14, 35.0, ()),
        ("ata_endurance_used", 91.0, 0, 35.0, ()),
        ("hdd_same_numbers", None, 0, 35.0, ()),
        ("ata_failed", 60.0, 0, 35.0, ("failed",)),
    ],
)
def test_what_each_kind_of_disk_says(
    name: str, used: float | None, errors: int, heat: float, warnings: tuple[str, ...]
) -> None:
    found = wear_of("d", said(name))
    assert found is not None
    assert (found.used_percent, found.media_errors, found.temperature_c, found.warnings) == (
        used,
        errors,
        heat,
        warnings,
    )


@pytest.mark.parametrize("name", ["virtual", "no_right"])
def test_what_says_nothing_is_not_healthy_but_unknown(name: str) -> None:
    assert wear_of("d", said(name)) is None


@pytest.mark.parametrize(
    ("life_time", "pre_eol", "used", "warnings"),
    [
        ("0x01 0x01", "0x01", 10.0, ()),
        ("0x02 0x0a", "0x01", 100.0, ()),
        ("0x0b 0x01", "0x02", 110.0, ("pre_eol",)),
        ("0x00 0x00", "0x03", None, ("pre_eol",)),
    ],
)
def test_what_emmc_says(life_time: str, pre_eol: str, used: float | None, warnings: tuple[str, ...]) -> None:
    found = wear_of_emmc("mmcblk0", life_time, pre_eol)
    assert found is not None
    assert (found.used_percent, found.warnings) == (used, warnings)


@pytest.mark.parametrize(("life_time", "pre_eol"), [("", ""), ("0x00 0x00", "0x00"), ("0xff", "x"), ("1 2", "1")])
def test_emmc_that_says_nothing(life_time: str, pre_eol: str) -> None:
    assert wear_of_emmc("mmcblk0", life_time, pre_eol) is None


KEYS = {
    "nvme_smart_health_information_log", "critical_warning", "percentage_used", "media_errors", "available_spare",
    "available_spare_threshold", "ata_smart_attributes", "table", "id", "name", "value", "raw", "smart_status",
    "passed", "temperature", "current", "endurance_used", "current_percent", "model_name",
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(KEYS)), inner, max_size=4),
    max_leaves=20,
)


ROWS = st.lists(st.fixed_dictionaries({"id": JSON, "name": JSON, "value": JSON, "raw": JSON}), max_size=3)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), JSON, max_size=6), ROWS)
@settings(max_examples=300)
def test_anything_may_stand_in_a_file(document: dict[str, object], rows: list[dict[str, object]]) -> None:
    found = wear_of("d", {"ata_smart_attributes": {"table": rows}, **document})
    if found is not None:
        assert found.used_percent is None or 0.0 <= found.used_percent <= 255.0
        assert found.media_errors >= 0


# --- the alarm -------------------------------------------------------------------------------------------------


@dataclass
class Fleet(SilentReporter):
    up: bool = False
    severity: Severity | None = None
    detail: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    async def alarm(
        self,
        component: str,
        fault: Fault,
        *,
        is_up: bool,
        severity: Severity | None = None,
        detail: Mapping[str, Scalar] | None = None,
    ) -> bool:
        assert (component, fault) == ("host", Fault.DISK_WEARING)
        self.up, self.severity, self.detail = is_up, severity, str((detail or {}).get("disks", ""))
        return True

    async def telemetry(self, values: Mapping[str, float], *, component: str = "host") -> None:
        self.figures = values


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.block = folder / "block"
        self.folder.mkdir()
        self.block.mkdir()
        self.clock, self.fleet = ManualClock(START), Fleet()
        self.watch = DiskWatch(self.fleet, DiskSettings(folder=self.folder), self.clock, block=self.block)

    def put(self, name: str, document: object, *, age_s: float = 60.0) -> None:
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        at_s = self.clock.utc().timestamp() - age_s
        os.utime(file, (at_s, at_s))

    def emmc(self, life_time: str) -> None:
        device = self.block / "mmcblk0" / "device"
        device.mkdir(parents=True, exist_ok=True)
        (device / "life_time").write_text(f"{life_time}\n", encoding="ascii")
        (device / "pre_eol_info").write_text("0x01\n", encoding="ascii")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def nvme(used: int, *, errors: int = 0) -> dict[str, object]:
    document = said("nvme_healthy")
    log = document["nvme_smart_health_information_log"]
    assert isinstance(log, dict)
    log.update(percentage_used=used, media_errors=errors)
    return document


async def test_raised_above_one_mark_and_cleared_below_another(bench: Bench) -> None:
    for used, is_up in ((80, False), (89, False), (90, True), (86, True), (84, False), (89, False)):
        bench.put("nvme0n1", nvme(used))
        await bench.watch.look()
        assert bench.fleet.up is is_up, used
        assert bench.fleet.figures == {"disk_wear_percent": used, "disk_temperature_c": 41.0}


async def test_the_alarm_names_the_disk_and_why(bench: Bench) -> None:
    bench.put("nvme0n1", said("nvme_healthy"))
    bench.put("sda", said("ata_life_left"))
    await bench.watch.look()
    assert bench.fleet.detail == "sda Example SSD A400: used 92 %"
    assert bench.fleet.severity is None
    bench.put("sda", said("ata_failed"))
    await bench.watch.look()
    assert bench.fleet.detail == "sda Example SSD 860: failed, used 60 %"
    assert bench.fleet.severity is Severity.MAJOR


async def test_errors_that_could_not_be_corrected(bench: Bench) -> None:
    bench.put("nvme0n1", nvme(1, errors=9))
    await bench.watch.look()
    assert not bench.fleet.up
    bench.put("nvme0n1", nvme(1, errors=10))
    await bench.watch.look()
    assert bench.fleet.up
    assert "media errors 10" in bench.fleet.detail


async def test_old_words_broken_files_and_silence_change_nothing(bench: Bench) -> None:
    bench.put("nvme0n1", nvme(95))
    await bench.watch.look()
    assert bench.fleet.up
    bench.put("nvme0n1", nvme(1), age_s=100_000.0)
    for name, text in (("a", b""), ("b", b"{"), ("c", b"[1]"), ("d", b"[" * 100_000), ("e", b"{}" + b" " * 1_100_000)):
        (bench.folder / f"{name}.json").write_bytes(text)
    bench.put("vda", said("virtual"))
    await bench.watch.look()
    assert bench.watch.disks == ()
    assert bench.fleet.up


async def test_emmc_needs_no_timer(bench: Bench) -> None:
    bench.emmc("0x03 0x0a")
    await bench.watch.look()
    assert bench.fleet.up
    assert bench.watch.disks == (DiskWear("mmcblk0", "eMMC", 100.0),)


# --- root's half -----------------------------------------------------------------------------------------------


def _stand_in(folder: Path, answers: Mapping[str, str]) -> Path:
    """A program called smartctl that says of each disk what it is given, with the exit code of a worn one."""
    folder.mkdir()
    lines = [f"/dev/{name}) cat {GOLDEN / said}.json; exit 8;;" for name, said in answers.items()]
    program = folder / "smartctl"
    program.write_text("#!/bin/sh\ncase $3 in\n" + "\n".join(lines) + "\n*) exit 2;;\nesac\n", encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def test_the_program_of_the_timer(tmp_path: Path) -> None:
    folder, block = tmp_path / "run", tmp_path / "block"
    folder.mkdir()
    for name in ("sda", "sdb", "nvme0n1", "mmcblk0", "loop0"):
        (block / name).mkdir(parents=True)
    (folder / "sdz.json").write_text("{}", encoding="ascii")
    path = f"{_stand_in(tmp_path / 'bin', {'sda': 'ata_wear_leveling', 'nvme0n1': 'nvme_worn'})}:/usr/bin:/bin"
    done = subprocess.run(
        ["/bin/sh", SCRIPT, folder, block], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert sorted(one.name for one in folder.iterdir()) == ["nvme0n1.json", "sda.json"], (
        "a disk that is gone stays gone"
    )
    now_s = (folder / "sda.json").stat().st_mtime
    found = read_disks(folder, tmp_path / "none", now_s, 3_600.0)
    assert [(one.name, one.used_percent) for one in found] == [("nvme0n1", 96.0), ("sda", 7.0)]


def test_without_smartctl_the_program_says_so_and_is_content(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", SCRIPT, tmp_path, tmp_path], env={"PATH": "/none"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "smartmontools" in done.stderr) == (0, True)
