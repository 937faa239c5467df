"""What a machine receives: its own packages, installable from the bundle alone."""

from __future__ import annotations

import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tools.bundle import PARTS, bundle, wheel


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_wheel_holds_the_parts_packages_and_no_other(name: str, tmp_path: Path) -> None:
    part = replace(PARTS[name], pages=None)
    with zipfile.ZipFile(wheel(part, tmp_path)) as archive:
        names = archive.namelist()
        metadata = archive.read(next(entry for entry in names if entry.endswith("/METADATA"))).decode()
    inside = {entry.partition("/")[0] for entry in names if ".dist-info/" not in entry}
    assert inside == set(part.packages)
    for package in set(part.packages) - {"firmware_profiles"}:
        assert {f"{package}/__init__.py", f"{package}/py.typed"} <= set(names)
    assert ("firmware_profiles/kiosks/demo_full.yaml" in names) == (name == "agent")
    assert "Requires-Dist: pydantic" in metadata


def test_the_same_tree_gives_the_same_wheel(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    part = replace(PARTS["agent"], pages=None)
    first, second = wheel(part, tmp_path / "a"), wheel(part, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_kiosk_bundle_installs_without_a_network_and_holds_no_server(tmp_path: Path) -> None:
    packed = bundle("agent", tmp_path)
    subprocess.run(["tar", "-xzf", str(packed), "-C", str(tmp_path)], check=True)
    folder = tmp_path / packed.name.removesuffix(".tar.gz")
    environment = tmp_path / "installed"
    offline = ["unshare", "--net", "--map-root-user"]
    subprocess.run([*offline, "sh", str(folder / "install.sh"), str(environment)], check=True, timeout=240)
    works = "import agent, kit, wire.uplink; from importlib.metadata import version; version('hospital-kiosk-platform')"
    python = str(environment / "bin/python")
    subprocess.run([python, "-c", works], cwd=tmp_path, check=True)
    profile = "from agent.devices.profiles import *; load_kiosk(find_kiosk(Path('wall_compact')))"
    subprocess.run([python, "-c", profile], cwd=tmp_path, check=True)
    refused = subprocess.run([python, "-c", "import fleet_server"], cwd=tmp_path, check=False, capture_output=True)
    assert b"No module named 'fleet_server'" in refused.stderr

    lean = "import agent.app, sys; print(agent.app.__doc__, agent.app.__cached__, asyncio.run.__doc__)"
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(environment / "bytecode")}
    said = subprocess.run(
        [python, "-c", f"import asyncio; {lean}"], cwd=tmp_path, env=environ, check=True, capture_output=True, text=True
    )
    assert said.stdout.startswith(f"None {environment / 'bytecode'}/")
    assert said.stdout.endswith(" None\n")

    (folder / "requirements.txt").write_text("tampered", encoding="utf-8")
    tampered = subprocess.run(
        ["sh", str(folder / "install.sh"), str(tmp_path / "other")], check=False, capture_output=True
    )
    assert tampered.returncode != 0
    assert not (tmp_path / "other").exists()
