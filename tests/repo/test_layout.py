"""Where things are, and what may not be anywhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml

from support.tree import DATA_FOLDERS, PACKAGES, ROOT, files, python_files, text_files

KIT_MODULES_LIMIT = 12
_DEVICE_FILES = {"types.py", "frames.py", "driver.py", "quality.yaml"}
_EMPTY_WORDS = re.compile(r"(^|_)(util|utils|misc|helper|helpers|common|stuff|data|info|manager\d)(_|$)")
_BROAD = {"Exception", "BaseException"}
_BROAD_ALLOWED = {
    "kit/supervise.py": "restarts a failing component, whatever failed",
    "kit/web/api.py": "an unhandled error becomes a 500 with an incident id",
    "kit/web/guard.py": "the same for what is no route of ours",
    "kit/blocking.py": "carries the thread's exception to the caller",
    "kit/mqtt/network.py": "the same",
}
_MAY_SKIP = {
    "tests/conftest.py": "what a machine cannot do: mounts, namespaces, devices of the kernel; the reason in one line",
    "tests/support/stores.py": "PostgreSQL half of a store test, only when the caller asked for it, and printed",
    "tests/kit/test_store_fixture.py": "the test of that",
    "tests/repo/test_layout.py": "this list",
}
# Written in parts, because these words must not stand in the tree.
_POSTPONED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")


def test_every_package_is_typed_and_says_what_it_is_for() -> None:
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file(), package
        docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")))
        assert docstring, f"{package}/__init__.py has no docstring"


def test_data_folders_are_no_packages() -> None:
    # An editable install puts the root on sys.path, so a package called `tests` or `docs` would hide others.
    found = [str(path) for path in files() if path.name == "__init__.py" and path.parts[0] in DATA_FOLDERS]
    assert found == []


def test_kit_stays_small() -> None:
    modules = {path.parts[1].removesuffix(".py") for path in files() if path.parts[0] == "kit" and path.suffix == ".py"}
    assert len(modules - {"__init__"}) <= KIT_MODULES_LIMIT


def test_kit_does_not_know_the_hospital() -> None:
    words = re.compile(r"kiosk|hospital|patient|clinic|fleet", re.IGNORECASE)
    found = [
        f"{path}:{number}"
        for path in files()
        if path.parts[0] == "kit" and path.suffix == ".py"
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    found = [
        str(path)
        for path, _ in python_files(*PACKAGES)
        if _EMPTY_WORDS.search(path.stem) and "versions" not in path.parts
    ]
    assert found == []


def _exempt(folder: Path) -> set[str]:
    """A device without bytes of its own has no codec, and says so."""
    rules = yaml.safe_load((ROOT / folder / "quality.yaml").read_text(encoding="utf-8"))
    return {"frames.py"} if rules["codec_golden"]["state"] == "exempt" else set()


def test_device_folders_are_alike() -> None:
    folders: dict[Path, set[str]] = {}
    for path in files():
        if path.parts[:2] == ("agent", "devices") and len(path.parts) > len(("agent", "devices", "folder")):
            folders.setdefault(Path(*path.parts[:3]), set()).add(path.name)
    missing = {str(folder): sorted(_DEVICE_FILES - names - _exempt(folder)) for folder, names in folders.items()}
    assert {folder: names for folder, names in missing.items() if names} == {}


def _broad_handlers(tree: ast.Module) -> list[int]:
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            cleans_up = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            is_broad = any(item is None or (isinstance(item, ast.Name) and item.id in _BROAD) for item in caught)
            if is_broad and not cleans_up:
                lines.append(node.lineno)
    return lines


def test_only_the_outermost_layers_catch_everything() -> None:
    found = [
        f"{path}:{line}"
        for path, text in python_files(*PACKAGES, "tools")
        if str(path) not in _BROAD_ALLOWED
        for line in _broad_handlers(ast.parse(text))
    ]
    assert found == []


def test_nothing_is_left_for_later_in_a_comment() -> None:
    found = [
        f"{path}:{number}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        if _POSTPONED.search(line)
    ]
    assert found == []


def test_no_test_is_switched_off() -> None:
    switched_off = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b")
    found = [str(path) for path, text in python_files("tests") if switched_off.search(text)]
    assert set(found) - _MAY_SKIP.keys() == set()


def test_groups_of_tasks_are_those_of_kit() -> None:
    """That of asyncio leaves a task without working timeouts after a failure, on Debian 12's Python."""
    found = [
        str(path)
        for path, _ in python_files(*PACKAGES)
        if path != Path("kit/supervise.py") and "asyncio.TaskGroup()" in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert found == []
