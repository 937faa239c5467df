"""What a command prints: tables for people, JSON for scripts, failures on standard error.

Names of kiosks and machines come from outside: control characters in them never reach the terminal.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet_server.kioskctl.errors import Failure


def clean(value: object) -> str:
    """Text that moves no cursor and rings no bell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float):
        return f"{value:.1f}"
    return "".join("·" if unicodedata.category(character) in {"Cc", "Cf"} else character for character in str(value))


def moment(text: object) -> str:
    """A time of the API in this machine's zone."""
    if not isinstance(text, str):
        return "-"
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return clean(text)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    shown = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(clean(cell)) for cell in row))
    _console().print(shown)


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows:
        shown.add_row(name, Text(clean(value)))
    _console().print(shown)


def say(text: str) -> None:
    """Print one line for a person."""
    sys.stdout.write("\n".join(clean(line) for line in text.split("\n")) + "\n")


def warn(text: str) -> None:
    """Print one line beside the result."""
    sys.stderr.write("\n".join(clean(line) for line in text.split("\n")) + "\n")


def dump(document: Any) -> None:  # noqa: ANN401 - a JSON document
    """Print a JSON document."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def complain(failure: Failure, *, as_json: bool) -> None:
    """Say why a command ends."""
    if as_json:
        document = {"code": failure.code, "message": failure.message, "exit_code": int(failure.exit_code)}
        sys.stderr.write(json.dumps(document, ensure_ascii=False) + "\n")
    else:
        warn(failure.message)


def _console() -> Console:
    width = None if sys.stdout.isatty() else 240
    return Console(highlight=False, markup=False, soft_wrap=False, width=width)
