"""The table of bad cases in `docs/patient-platform.md` names tests that are there, and no numbered test is left out."""

from __future__ import annotations

import re

from support.tree import ROOT

DOCUMENT = ROOT / "docs" / "patient-platform.md"
TESTS = ROOT / "tests" / "patient_platform"
_ROW = re.compile(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
_FILE = re.compile(r"`([a-z_/]+\.py)`")
_TEST = re.compile(r"^(?:async )?def test_((?:\d+_)+)", re.MULTILINE)


def _tested() -> dict[str, set[int]]:
    """The numbers of each file's tests."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        names = _TEST.findall(path.read_text(encoding="utf-8"))
        found[str(path.relative_to(TESTS))] = {int(number) for name in names for number in name.split("_") if number}
    return found


def test_every_case_has_the_tests_it_names() -> None:
    tested = _tested()
    rows = {int(number): _FILE.findall(cell) for number, cell in _ROW.findall(DOCUMENT.read_text(encoding="utf-8"))}
    assert len(rows) >= 30
    wrong = [(number, file) for number, cell in rows.items() for file in cell if number not in tested.get(file, set())]
    assert not wrong
    named = {(number, file) for number, cell in rows.items() for file in cell}
    left_out = [(number, file) for file, numbers in tested.items() for number in numbers if (number, file) not in named]
    assert not left_out
