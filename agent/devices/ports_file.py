"""Writes what a scan found into the settings: the lines of `[devices.ports]` and no other.

A comment, the order and every other section stay. What would come out is read again before it takes the file's place.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

_HEADER = re.compile(r"^\s*\[\s*devices\s*\.\s*ports\s*\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"^\s*\[")
_KEY = re.compile(r"^\s*(?:\"([^\"]+)\"|([A-Za-z0-9_-]+))\s*=")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class PortsFileError(Exception):
    """The settings cannot be changed by a program; the text says why and nothing was written."""


def write_ports(file: Path, ports: Mapping[str, str]) -> None:
    """Set the ports of these components; the others keep theirs.

    Raises:
        PortsFileError: the file is no TOML, says its ports in another way, or cannot be written.
    """
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        wanted = _with_ports(tomllib.loads(before), ports)
        text = _changed(before, ports)
        if tomllib.loads(text) != wanted:
            raise PortsFileError(f"{file}: devices.ports is not a section of lines; set the ports there by hand")
        _replace(file, text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PortsFileError(f"{file}: {error}") from None
    except OSError as error:
        raise PortsFileError(f"{file}: {error.strerror}") from error


def _with_ports(document: dict[str, object], ports: Mapping[str, str]) -> dict[str, object]:
    devices = document.get("devices", {})
    devices = devices if isinstance(devices, dict) else {}
    known = devices.get("ports", {})
    known = known if isinstance(known, dict) else {}
    return {**document, "devices": {**devices, "ports": {**known, **ports}}}


def _changed(text: str, ports: Mapping[str, str]) -> str:
    lines = text.splitlines()
    begins = next((at for at, line in enumerate(lines) if _HEADER.match(line)), None)
    if begins is None:
        lines += [*([""] if lines else []), "[devices.ports]"]
        begins = len(lines) - 1
    ends = next((at for at in range(begins + 1, len(lines)) if _ANY_HEADER.match(lines[at])), len(lines))
    left = dict(ports)
    for at in range(begins + 1, ends):
        match = _KEY.match(lines[at])
        name = None if match is None else match[1] or match[2]
        if name in left:
            lines[at] = _line(name, left.pop(name))
    while ends > begins + 1 and not lines[ends - 1].strip():
        ends -= 1
    lines[ends:ends] = [_line(name, port) for name, port in left.items()]
    return "\n".join(lines) + "\n"


def _line(name: str, port: str) -> str:
    key = name if _BARE.fullmatch(name) else _quoted(name)
    return f"{key} = {_quoted(port)}"


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise PortsFileError("a name with characters that cannot be written")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _replace(file: Path, text: str) -> None:
    """As a whole, with the rights and the owner it had."""
    fresh = file.with_name(f".{file.name}.fresh")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            if file.exists():
                now = file.stat()
                os.fchmod(stream.fileno(), now.st_mode & 0o7777)
                if os.geteuid() == 0:
                    os.fchown(stream.fileno(), now.st_uid, now.st_gid)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
