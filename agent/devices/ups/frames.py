"""The line protocol of NUT's upsd: words, the last one often quoted (networkupstools.org, "Network protocol")."""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_BYTES_MAX = 2_048
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class NutError(ValueError):
    """The bytes are no answer of upsd; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an answer as words without their quotes."""

    words: tuple[str, ...]

    @property
    def verb(self) -> str:
        """The first word; empty on an empty line."""
        return self.words[0] if self.words else ""


def encode_list_variables(ups: str) -> bytes:
    """Ask for all variables of a UPS."""
    if not _NAME.fullmatch(ups):
        raise ValueError("no name of a UPS")
    return f"LIST VAR {ups}\n".encode()


def encode_logout() -> bytes:
    """Say goodbye."""
    return b"LOGOUT\n"


class Decoder:
    """Takes bytes as they come and gives whole lines; a line without an end is refused."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Line]:
        """The lines that are complete now.

        Raises:
            NutError: a line is too long or its quotes do not match; what came is dropped.
        """
        self._buffer += data
        *whole, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > LINE_BYTES_MAX or any(len(line) > LINE_BYTES_MAX for line in whole):
            self._buffer.clear()
            raise NutError("a line is too long")
        try:
            return [Line(_words(_legible(line))) for line in whole]
        except NutError:
            self._buffer.clear()
            raise


def _legible(line: bytes) -> str:
    """Its text; a control character becomes a mark, because words of a supply are shown and logged."""
    text = line.decode("utf-8", "replace").rstrip("\r").replace("\t", " ")
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _words(line: str) -> tuple[str, ...]:
    """Split at spaces outside quotes; a backslash takes the next character as it is."""
    words, word, is_quoted, is_word = list[str](), "", False, False
    characters = iter(line)
    for character in characters:
        if character == "\\":
            word, is_word = word + next(characters, ""), True
        elif character == '"':
            is_quoted, is_word = not is_quoted, True
        elif character == " " and not is_quoted:
            if is_word:
                words.append(word)
            word, is_word = "", False
        else:
            word, is_word = word + character, True
    if is_quoted:
        raise NutError("a quote does not end")
    return (*words, word) if is_word else tuple(words)
