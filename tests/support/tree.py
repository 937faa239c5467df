"""The repository's own files, as git sees them: committed and new ones, nothing that is ignored."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("wire", "kit", "agent", "fleet_server", "patient_platform", "simulators")
DATA_FOLDERS = ("ansible", "dashboards", "docs", "firmware_profiles", "tests")

_TEXT_SUFFIXES = frozenset(
    [
        ".cfg",
        ".conf",
        ".css",
        ".csv",
        ".html",
        ".in",
        ".ini",
        ".j2",
        ".jinja",
        ".js",
        ".json",
        ".md",
        ".mjs",
        ".py",
        ".service",
        ".sh",
        ".sql",
        ".toml",
        ".ts",
        ".txt",
        ".vue",
        ".yaml",
        ".yml",
    ]
)
_TEXT_NAMES = frozenset({"Makefile", "run", ".editorconfig", ".gitignore", ".npmrc", "CODEOWNERS"})


@cache
def files() -> tuple[Path, ...]:
    """Every file of the tree, relative to the root.

    Raises:
        subprocess.CalledProcessError: this is no git checkout.
    """
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted(Path(name) for name in set(listed.split("\0")) if name and (ROOT / name).is_file()))


def text_files() -> Iterator[tuple[Path, str]]:
    """Every file that is read by people or programs as text, with its content."""
    for path in files():
        if path.suffix in _TEXT_SUFFIXES or path.name in _TEXT_NAMES:
            yield path, (ROOT / path).read_text(encoding="utf-8")


def python_files(*folders: str) -> Iterator[tuple[Path, str]]:
    """The Python files below `folders`, or all of them."""
    for path in files():
        if path.suffix == ".py" and (not folders or path.parts[0] in folders):
            yield path, (ROOT / path).read_text(encoding="utf-8")


def modules(package: str) -> list[str]:
    """The dotted names of all modules of `package`, without what only Alembic runs."""
    names = []
    for path in files():
        if path.suffix == ".py" and path.parts[0] == package and path.parts[1:2] != ("migrations",):
            parts = path.with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(names)
