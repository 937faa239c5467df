"""Golden bytes of receipt printers, for the agent's codec and for the simulator alike."""

from __future__ import annotations

from support.tree import ROOT

FOLDER = ROOT / "tests" / "golden" / "escpos"


def rows(name: str) -> list[tuple[str, bytes, frozenset[str]]]:
    """What is asked for, the bytes, and the words they mean."""
    found = []
    for line in (FOLDER / f"{name}.hex").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            asked, data, *words = (part.strip() for part in line.split("|"))
            found.append((asked, bytes.fromhex(data), frozenset(words[0].split()) if words else frozenset()))
    return found
