"""Functions of at most 60 lines, files of at most 500; waivers have a reason and may only get fewer and smaller."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from support.tree import ROOT, files, python_files

FUNCTION_LIMIT = 60
FILE_LIMIT = 500
WAIVERS = Path("tests/repo/size_waivers.toml")
_WEB_SUFFIXES = {".ts", ".vue", ".mjs", ".css", ".sh"}


class Waiver(BaseModel):
    """One line of the waiver list; `where` is a path, or `path::function`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: str
    lines: Annotated[int, Field(gt=0)]
    reason: Annotated[str, Field(min_length=20)]


class WaiverFile(BaseModel):
    """The waiver list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    waiver: list[Waiver] = Field(default_factory=list)


_WAIVER_FILE = TypeAdapter(WaiverFile)


def _waivers(text: str) -> dict[str, Waiver]:
    listed = _WAIVER_FILE.validate_python(tomllib.loads(text)).waiver
    found = {waiver.where: waiver for waiver in listed}
    assert len(found) == len(listed), "a place is waived twice"
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    name = f"{prefix}{child.name}"
                    yield name, (child.end_lineno or child.lineno) - child.lineno + 1
                    yield from walk(child, f"{name}.")
                case ast.ClassDef():
                    yield from walk(child, f"{prefix}{child.name}.")
                case _:
                    yield from walk(child, prefix)

    return walk(tree, "")


def _too_large() -> Mapping[str, int]:
    found: dict[str, int] = {}
    for path, text in python_files():
        if "versions" in path.parts:
            continue  # a migration is a list of tables, frozen once released
        if (count := len(text.splitlines())) > FILE_LIMIT:
            found[str(path)] = count
        for name, lines in _functions(ast.parse(text)):
            if lines > FUNCTION_LIMIT:
                found[f"{path}::{name}"] = lines
    for path in files():
        if path.suffix in _WEB_SUFFIXES and not path.name.endswith(".d.ts"):
            count = len((ROOT / path).read_text(encoding="utf-8").splitlines())
            if count > FILE_LIMIT:
                found[str(path)] = count
    return found


def _at(revision: str) -> dict[str, Waiver] | None:
    shown = subprocess.run(
        ["git", "-c", "safe.directory=*", "show", f"{revision}:{WAIVERS}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return _waivers(shown.stdout) if shown.returncode == 0 else None


pytestmark = pytest.mark.timeout(60)


def test_nothing_is_larger_than_allowed() -> None:
    waived = _waivers((ROOT / WAIVERS).read_text(encoding="utf-8"))
    over = [
        f"{where} has {lines} lines"
        for where, lines in sorted(_too_large().items())
        if where not in waived or lines > waived[where].lines
    ]
    assert over == []


def test_every_waiver_is_still_needed() -> None:
    waived = _waivers((ROOT / WAIVERS).read_text(encoding="utf-8"))
    large = _too_large()
    stale = [where for where, waiver in waived.items() if large.get(where, 0) < waiver.lines]
    assert stale == [], "these are smaller now: lower the figure or delete the waiver"


def test_the_waiver_list_only_shrinks() -> None:
    now = _waivers((ROOT / WAIVERS).read_text(encoding="utf-8"))
    before = _at("HEAD")
    for older, newer in ((before, now), (_at("HEAD~1"), before)):
        if older is None or newer is None:
            continue  # no such commit here: a first commit or a shallow clone
        grown = [where for where, waiver in newer.items() if where not in older or waiver.lines > older[where].lines]
        assert grown == []
