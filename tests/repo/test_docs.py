"""The documents hold together: links, decisions, words, dependencies, and two READMEs that say the same."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.tree import ROOT, files, text_files

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_ADR_HEADINGS = ["Context", "Choice", "Consequences"]
_GLOSSARY_ROWS = 40


def _documents() -> list[tuple[Path, str]]:
    return [(path, text) for path, text in text_files() if path.suffix == ".md"]


def _anchor(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return words.strip().replace(" ", "-")


def _anchors(text: str) -> set[str]:
    return {_anchor(heading) for heading in _HEADING.findall(_FENCE.sub("", text))}


def test_links_lead_somewhere() -> None:
    broken = []
    for path, text in _documents():
        for target in _LINK.findall(_FENCE.sub("", text)):
            if re.match(r"[a-z]+:", target):
                continue
            place, _, anchor = target.partition("#")
            file = (ROOT / path.parent / place).resolve() if place else ROOT / path
            has_anchors = bool(anchor) and file.suffix == ".md" and file.exists()
            if not file.exists() or (has_anchors and anchor not in _anchors(file.read_text(encoding="utf-8"))):
                broken.append(f"{path}: {target}")
    assert broken == []


def _decisions() -> list[Path]:
    return [path for path in files() if path.parent == Path("docs/adr") and path.name != "README.md"]


def test_decisions_are_numbered_and_complete() -> None:
    decisions = _decisions()
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]} "), path
        assert re.search(r"^Status: (accepted|proposed|superseded by \d{4})$", text, re.MULTILINE), path
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == _ADR_HEADINGS, path
        consequences = text.partition("## Consequences")[2]
        assert re.search(r"\b(give up|cost|costs|lose|loses)\b", consequences), f"{path} does not say what it costs"


def test_the_index_lists_every_decision() -> None:
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    assert [path.name for path in _decisions() if f"({path.name})" not in index] == []


def _cells(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not set(row) <= set("|- :")]


def test_glossary_words_exist_in_the_tree() -> None:
    rows = [row for row in _cells((ROOT / "docs/glossary.md").read_text(encoding="utf-8")) if row[0] != "中文"]
    assert len(rows) >= _GLOSSARY_ROWS
    code = "\n".join(text for path, text in text_files() if path.suffix in {".py", ".ts", ".vue"})
    words = set(re.findall(r"\w+", code))
    for row in rows:
        assert re.search(r"[\u4e00-\u9fff]|\d×\d", row[0]), row
        identifier = re.fullmatch(r"`(\w+)`", row[2])
        assert identifier is not None, row
        assert identifier[1] in words, f"{identifier[1]} is nowhere in the code"


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    names: set[str] = {canonicalize_name(Requirement(line).name) for line in lines}
    for path in files():
        if path.name == "package.json":
            package = json.loads((ROOT / path).read_text(encoding="utf-8"))
            for kind in ("dependencies", "devDependencies"):
                names |= {name for name in package.get(kind, {}) if not name.startswith("@kiosk/")}
    return names


def test_every_dependency_has_its_line() -> None:
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").partition("## Debian packages")[0]
    rows = [row for row in _cells(text) if row[0] != "package"]
    listed = {row[0] if "/" in row[0] else canonicalize_name(row[0]) for row in rows}
    assert _declared() - listed == set(), "add a line to docs/dependencies.md"
    assert listed - _declared() == set(), "this is no dependency any more"
    assert [row[0] for row in rows if not row[3]] == [], "a dependency without a licence"


def _commands(text: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


def test_both_readmes_say_the_same() -> None:
    english = (ROOT / "README.md").read_text(encoding="utf-8")
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    assert _commands(english) == _commands(chinese)
    assert len(re.findall(r"^#+ ", english, re.MULTILINE)) == len(re.findall(r"^#+ ", chinese, re.MULTILINE))
    links = [
        sorted(target.replace(".zh-CN.", ".") for target in _LINK.findall(text) if "README" not in target)
        for text in (english, chinese)
    ]
    assert links[0] == links[1]


def test_the_first_screen_has_both_commands() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "make demo" in first_screen
    assert "make test" in first_screen
