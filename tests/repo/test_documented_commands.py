"""Every command line of ours in a document is one the program takes: names, options, number of arguments."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from fleet_server.__main__ import cli as fleet_server
from fleet_server.kioskctl.__main__ import cli as kioskctl
from support.tree import text_files

PROGRAMS = {"fleet-server": typer.main.get_command(fleet_server), "kioskctl": typer.main.get_command(kioskctl)}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:fleet-server|kioskctl) [a-z][^`]*)`")
_ENDS = {"|", ";", "&&", "||", ">", ">>", "<"}


def _commands() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for path, text in text_files():
        if path.suffix == ".md":
            shell = [block for language, block in _FENCE.findall(text) if language in {"", "sh", "console"}]
            blocks = "\n".join(shell).replace("\\\n", " ").splitlines()
            found += [(str(path), line) for line in [*blocks, *_INLINE.findall(_FENCE.sub("", text))]]
    return [(path, line) for path, line in found if _arguments(line) is not None]


def _arguments(line: str) -> tuple[str, list[str]] | None:
    """The program and what it is given; None when the line calls none of ours."""
    if "…" in line and "01J…" not in line:
        return None
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        words = list(lexer)
    except ValueError:
        return None
    for place, word in enumerate(words):
        name = word.rpartition("/")[2]
        is_called = place == 0 or "/bin/" in word or words[place - 1] in _ENDS
        if name in PROGRAMS and is_called:
            rest = words[place + 1 :]
            ends = [number for number, part in enumerate(rest) if part in _ENDS]
            return name, rest[: ends[0]] if ends else rest
    return None


COMMANDS = _commands()
_INLINE_LINES = {line for path, text in text_files() if path.suffix == ".md" for line in _INLINE.findall(text)}
"""Mentions in running text may name a command without its arguments."""


def test_there_are_commands_of_both() -> None:
    assert len(COMMANDS) >= 40
    assert {(_arguments(line) or ("",))[0] for _, line in COMMANDS} == set(PROGRAMS)


@pytest.mark.parametrize(("path", "line"), COMMANDS, ids=lambda text: text[:60])
def test_a_documented_command_is_taken(path: str, line: str) -> None:
    given = _arguments(line)
    assert given is not None
    program, rest = given
    commands: Any = PROGRAMS[program]  # Any: typer brings a copy of click of its own, with the same classes
    context = commands.context_class(commands, info_name=program)
    rest = [word for word in rest if word not in {"COMMAND", "--help"}]
    while hasattr(commands, "get_command") and rest:
        found = commands.get_command(context, rest[0])
        assert found is not None, f"{path}: {line}: there is no {rest[0]}"
        commands, rest = found, rest[1:]
    is_mentioned = not rest and line in _INLINE_LINES
    if not hasattr(commands, "get_command") and not is_mentioned:
        commands.make_context(program, rest)
