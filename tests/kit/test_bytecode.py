"""Lean bytecode: it behaves as the source does, without docstrings, and never hides a change of the source."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.bytecode import compile_file, sources, store

MODULE = '''"""Of the module."""

from __future__ import annotations

text = "kept"


class Only:
    """Of a class with nothing else."""


class Holder:
    """Of a class."""

    def only(self) -> None:
        """Of a function with nothing else."""

    async def check(self, number: int) -> str:
        """Of a coroutine."""
        assert number > 0, "kept too"
        return f"{number}"
'''
ASSERTION_LINE = 1 + MODULE[: MODULE.index("assert")].count("\n")
LOOK = """
import asyncio, traceback, lean
print(lean.__doc__, lean.Only.__doc__, lean.Holder.__doc__, lean.Holder.only.__doc__, lean.Holder.check.__doc__)
print(lean.text, lean.Only().__class__.__name__, lean.Holder().only(), asyncio.run(lean.Holder().check(4)))
try:
    asyncio.run(lean.Holder().check(0))
except AssertionError as error:
    print(error, traceback.extract_tb(error.__traceback__)[-1].lineno)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    file = tmp_path / "code" / "lean.py"
    file.parent.mkdir()
    file.write_text(MODULE, encoding="utf-8")
    return file


def _run(code: str, module: Path, prefix: Path) -> list[str]:
    environ = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": str(prefix),
        "PYTHONPATH": str(module.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_process_loads_it_and_only_the_docstrings_are_gone(module: Path, tmp_path: Path) -> None:
    assert store(module, tmp_path / "bytecode")
    assert _run(LOOK, module, tmp_path / "bytecode") == [
        "None None None None None",
        "kept Only None 4",
        f"kept too {ASSERTION_LINE}",
    ]


def test_without_the_prefix_nothing_is_changed(module: Path, tmp_path: Path) -> None:
    store(module, tmp_path / "bytecode")
    docs = "Of the module. Of a class with nothing else. Of a class. Of a function with nothing else. Of a coroutine."
    assert _run(LOOK, module, tmp_path / "another")[0] == docs


def test_a_changed_source_wins_over_its_old_bytecode(module: Path, tmp_path: Path) -> None:
    store(module, tmp_path / "bytecode")
    module.write_text('"""Of the module."""\ntext = "repaired"\n', encoding="utf-8")
    assert _run("import lean; print(lean.text, lean.__doc__)", module, tmp_path / "bytecode") == [
        "repaired Of the module."
    ]


@pytest.mark.parametrize("content", [b"def half(:\n", b"text = '\xff\xfe'\n", b"\x00\x01"])
def test_what_cannot_be_compiled_is_left_to_the_interpreter(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_bytes(content)
    assert not store(file, tmp_path / "bytecode")
    assert not (tmp_path / "bytecode").exists()


def test_tests_and_installers_are_left_out_and_nothing_comes_twice(tmp_path: Path) -> None:
    for name in ("a/one.py", "a/tests/test_one.py", "a/pip/two.py", "a/b/three.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(file.relative_to(tmp_path)) for file in sources([tmp_path / "a", tmp_path / "a" / "b"])]
    assert found == ["a/b/three.py", "a/one.py"]


def test_the_same_source_gives_the_same_bytes(module: Path) -> None:
    assert compile_file(module) == compile_file(module)


UNREAD = """
from typing import TypedDict

class Shape(TypedDict, total=False):
    side: int

class Plain:
    side: int = 3

def area(of: Shape, *more: int, unit: str = "m", **rest: int) -> int:
    return of["side"] ** 2
"""
SHOWN = """
from {name} import Plain, Shape, area
print(*(sorted(one.__annotations__) for one in (Shape, area, Plain)), area({{"side": 2}}))
"""


@pytest.mark.parametrize(
    ("place", "fields", "arguments"),
    [
        ("ours/core_schema.py", ["side"], ["more", "of", "rest", "return", "unit"]),
        ("pydantic_core/core_schema.py", [], ["more", "of", "rest", "return", "unit"]),
        ("aiohttp/web.py", ["side"], []),
    ],
)
def test_annotations_go_only_where_nobody_reads_them(
    place: str, fields: list[str], arguments: list[str], tmp_path: Path
) -> None:
    file = tmp_path / place
    file.parent.mkdir()
    file.write_text(UNREAD, encoding="utf-8")
    store(file, tmp_path / "bytecode")
    assert _run(SHOWN.format(name=file.stem), file, tmp_path / "bytecode") == [f"{fields} {arguments} ['side'] 4"]
