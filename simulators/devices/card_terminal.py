"""A stand-in for a bureau's certified card component: `python -m simulators.devices.card_terminal FOLDER`.

Answers JSON lines on its standard input (docs/devices/card_reader.md). A card is in while FOLDER/card.json is there;
FOLDER/fault holds one word for what goes wrong with the next question: `die`, `hang`, `garbage`, `flood`, `other`,
`removed`, `no_psam`. People are made up; nothing of the agent is used.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from simulators.people import People

_LOOK_S = 0.02
_FLOOD_BYTES = 10_000_000
Json = dict[str, Any]  # Any: what a line holds


def card_of(seed: int) -> Json:
    """A card of a made-up person, as it lies in FOLDER/card.json."""
    person = People(seed).person()
    holder = {
        "id_number": person.number,
        "name": person.name,
        "sex": "1" if int(person.number[16]) % 2 else "2",
        "birth_date": person.number[6:14],
        "area": person.number[:6],
    }
    return {"card_number": f"LAB{seed:06d}", "identification": "156" + "0" * 29, "version": "2.00", "holder": holder}


class Terminal:
    """The component: one question, one answer."""

    def __init__(self, folder: Path) -> None:
        self._card = folder / "card.json"
        self._fault = folder / "fault"

    def answer(self, question: Json) -> Json:
        """What it says; `die` and `hang` never return."""
        fault = self._struck()
        if fault == "die":
            sys.exit(3)
        if fault == "hang":
            threading.Event().wait()
        number = question.get("id")
        if fault == "other":
            return {"id": -1, "ok": True}
        if fault in {"removed", "no_psam", "unreadable"}:
            return {"id": number, "ok": False, "error": fault}
        if question.get("op") == "about":
            return {"id": number, "ok": True, "model": "Stand-in terminal", "version": "1.0", "serial": "LAB1"}
        if question.get("op") == "read_social_card":
            return {"id": number, "ok": True, "card": self._within(float(question.get("wait_ms", 0)) / 1000)}
        return {"id": number, "ok": False, "error": "unknown_op"}

    def line(self, text: str) -> str:
        """The line for a line."""
        if self._fault.exists() and self._fault.read_text(encoding="ascii").strip() in {"garbage", "flood"}:
            return "x" * (_FLOOD_BYTES if self._struck() == "flood" else 40)
        return json.dumps(self.answer(json.loads(text)), ensure_ascii=False)

    def _struck(self) -> str | None:
        try:
            fault = self._fault.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        self._fault.unlink()
        return fault

    def _within(self, wait_s: float) -> Json | None:
        end_s = time.monotonic() + wait_s
        while True:
            if self._card.exists():
                card: Json = json.loads(self._card.read_bytes())
                return card
            if time.monotonic() >= end_s:
                return None
            threading.Event().wait(_LOOK_S)


def main() -> None:
    """Answer until standard input ends."""
    terminal = Terminal(Path(sys.argv[1]))
    for text in sys.stdin:
        sys.stdout.write(terminal.line(text) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
