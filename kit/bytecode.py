"""Bytecode without docstrings, column positions and annotations nobody reads, which a process would hold in memory.

`python -X no_debug_ranges -m kit.bytecode FOLDER` compiles the standard library and all installed packages into
FOLDER; a process started with PYTHONPYCACHEPREFIX=FOLDER loads them from there. Assertions stay, and so do the line
numbers in tracebacks (`python -OO` would take the assertions too). A module whose source changed since is compiled
by the interpreter as ever: each file carries time and size of its source (PEP 3147, PEP 552).
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import marshal
import os
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

_LEFT_OUT: Final = frozenset(
    {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pip", "setuptools", "dist-packages"}
)
_FUNCTIONS_UNREAD: Final = frozenset(
    {"aiohttp", "attr", "multidict", "paho", "propcache", "psutil", "structlog", "yarl"}
)
"""Packages that whose functions' annotations nobody looks at; those of our own web handlers are read."""
_FIELDS_UNREAD: Final = frozenset({("pydantic_core", "core_schema.py")})
"""Modules whose typed dictionaries are for type checkers; each of their fields would be an object."""
_MASK: Final = 0xFFFFFFFF
_WORD: Final = 4


def compile_file(source: Path) -> bytes:
    """The file's bytecode, in the form in which the interpreter caches it.

    Raises:
        SyntaxError: it is not for this interpreter.
        ValueError: it is not text.
    """
    state = source.stat()
    tree = _without_docstrings(ast.parse(source.read_bytes(), str(source)))
    if not _FUNCTIONS_UNREAD.isdisjoint(source.parts):
        _drop_from_functions(tree)
    if source.parts[-2:] in _FIELDS_UNREAD:
        _drop_from_typed_dicts(tree)
    code = compile(tree, str(source), "exec", dont_inherit=True, optimize=0)
    head = (0, int(state.st_mtime) & _MASK, state.st_size & _MASK)
    return importlib.util.MAGIC_NUMBER + b"".join(word.to_bytes(_WORD, "little") for word in head) + marshal.dumps(code)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                rest = node.body[1:]
                node.body = rest if rest or isinstance(node, ast.Module) else [ast.copy_location(ast.Pass(), first)]
    return tree


def _drop_from_functions(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None


def _drop_from_typed_dicts(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "TypedDict" for b in node.bases):
            kept = [one for one in node.body if not isinstance(one, ast.AnnAssign)]
            node.body = kept or [ast.copy_location(ast.Pass(), node)]


def sources(folders: Iterable[Path]) -> Iterator[Path]:
    """Every module below the folders that a service may load, each once."""
    found = (file for folder in folders for file in sorted(folder.rglob("*.py")))
    return (file for file in dict.fromkeys(found) if _LEFT_OUT.isdisjoint(file.parts))


def store(source: Path, prefix: Path) -> bool:
    """Put a module's bytecode where a process with this prefix looks for it; False when it cannot be compiled."""
    try:
        content = compile_file(source)
    except (SyntaxError, ValueError):
        return False
    name = Path(importlib.util.cache_from_source(source.name)).name
    target = prefix.joinpath(*source.absolute().parent.parts[1:]) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="kit.bytecode", description="编译不含文档字符串的字节码 (lean bytecode)")
    parser.add_argument("folder", type=Path, help="目标目录, 即 PYTHONPYCACHEPREFIX (where to)")
    parser.add_argument("packages", type=Path, nargs="*", help="未安装的其他包目录 (folders that are not installed)")
    given = parser.parse_args(arguments)
    prefix = given.folder.absolute()
    places = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    outcomes = [store(file, prefix) for file in sources([*places, *(one.absolute() for one in given.packages)])]
    os.sync()
    done = sum(outcomes)
    print(  # noqa: T201 - a command says what it did
        f"{prefix}: {done} 个模块已编译, {len(outcomes) - done} 个跳过 (modules compiled, skipped)"
    )


if __name__ == "__main__":
    main()
