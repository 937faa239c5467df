"""Each deployable runs with its own extra alone, and every dependency is pinned by hash."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from support.tree import PACKAGES, ROOT, modules

_EXTRA_OF = {"agent": "agent", "fleet_server": "fleet", "patient_platform": "patient", "simulators": "sim"}
_SHARED = ("wire", "kit")

_IMPORT_ALONE = """
import importlib, importlib.abc, sys

class Stranger(importlib.abc.MetaPathFinder):
    def __init__(self, refused):
        self.refused = refused

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.refused:
            raise ModuleNotFoundError(f"{name} is no part of this bundle", name=name)
        return None

sys.meta_path.insert(0, Stranger(set(sys.argv[1].split(","))))
for name in sys.argv[2].split(","):
    importlib.import_module(name)
"""


@cache
def _project() -> dict[str, list[Requirement]]:
    """The requirements of the base distribution (under "") and of every extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in parts.items()}


def _closure(requirements: list[Requirement]) -> set[str]:
    """The canonical names of all distributions that `requirements` bring, extras of extras included."""
    found: set[str] = set()
    waiting = [(requirement, frozenset(requirement.extras)) for requirement in requirements]
    seen = set()
    while waiting:
        requirement, extras = waiting.pop()
        key = (canonicalize_name(requirement.name), extras)
        if key in seen:
            continue
        seen.add(key)
        found.add(key[0])
        for line in metadata.requires(requirement.name) or ():
            needed = Requirement(line)
            environments = [{"extra": extra} for extra in (*extras, "")]
            if needed.marker is None or any(needed.marker.evaluate(environment) for environment in environments):
                waiting.append((needed, frozenset(needed.extras)))
    return found


def _strangers(extra: str, deployable: str) -> set[str]:
    """Top-level modules that a machine with only this bundle does not have."""
    own = _closure(_project()[""] + _project()[extra])
    installed = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if not {canonicalize_name(name) for name in distributions} & own
    }
    others = set(PACKAGES) - {deployable, *_SHARED}
    return (installed - set(PACKAGES) - set(sys.stdlib_module_names)) | others


def _import_alone(names: list[str], refused: set[str]) -> str:
    """Import `names` in a fresh interpreter that has none of `refused`; the end of its errors, empty when it worked."""
    ended = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALONE, ",".join(sorted(refused)), ",".join(names)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    return "" if ended.returncode == 0 else ended.stderr[-2_000:]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("deployable", "extra"), list(_EXTRA_OF.items()))
def test_a_deployable_imports_with_its_extra_alone(deployable: str, extra: str) -> None:
    names = [name for name in modules(deployable) if not name.endswith("__main__")]
    assert _import_alone(names, _strangers(extra, deployable)) == ""


@pytest.mark.timeout(60)
def test_wire_needs_only_the_base_requirements() -> None:
    assert _import_alone(modules("wire"), _strangers("", "wire")) == ""


def test_what_an_extra_does_not_bring_is_really_absent() -> None:
    said = _import_alone(["paho"], _strangers("patient", "patient_platform"))
    assert "paho is no part of this bundle" in said


def _locked(part: str) -> dict[NormalizedName, Version]:
    text = (ROOT / f"requirements-{part}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    found: dict[NormalizedName, Version] = {}
    for entry in filter(str.strip, entries):
        match = re.match(r"([\w.-]+)(?:\[[\w,]+\])?==([^\s;\\]+)", entry)
        assert match is not None, entry[:80]
        assert "--hash=sha256:" in entry, f"{match[1]} has no hash"
        found[canonicalize_name(match[1])] = Version(match[2])
    return found


@pytest.mark.parametrize("part", ["dev", "agent", "fleet", "sim"])
def test_every_requirement_is_locked_and_fits(part: str) -> None:
    locked = _locked(part)
    wanted = _project()[""] + (
        [item for extra in _project().values() for item in extra] if part == "dev" else _project()[part]
    )
    wrong = [
        str(requirement)
        for requirement in wanted
        if (version := locked.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(version, prereleases=True)
    ]
    assert wrong == [], "run `make lock`"


@pytest.mark.parametrize("part", ["agent", "fleet", "sim"])
def test_all_locks_hold_the_same_versions(part: str) -> None:
    everything = _locked("dev")
    assert {name: version for name, version in _locked(part).items() if everything.get(name) != version} == {}


def test_a_kiosk_never_gets_what_it_does_not_need() -> None:
    servers_only = {"sqlalchemy", "sqlmodel", "alembic", "psycopg", "argon2-cffi", "typer", "rich"}
    assert servers_only & _locked("agent").keys() == set()
