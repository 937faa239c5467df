"""The port to a certified component, with a real program at its other end."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.devices.card_reader.terminal import ProgramSocialCardTerminal
from agent.errors import DeviceFault
from agent.links.program import ProgramLink

_PROGRAM = """
import json, sys, threading
for line in sys.stdin:
    question = json.loads(line)
    assert question["op"] == "read_social_card"
    reply = {reply}
    if reply == "hang": threading.Event().wait()
    if reply == "die": sys.exit(3)
    print(reply if isinstance(reply, str) else json.dumps(dict(reply, id=question["id"])), flush=True)
"""
CARD = {
    "card_number": "A12345678",
    "colour": "green",
    "holder": {"id_number": "11010519491231002X", "name": "王䶮", "sex": "2"},
}

Make = Callable[[object], ProgramSocialCardTerminal]


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[ProgramSocialCardTerminal] = []

    def make(reply: object) -> ProgramSocialCardTerminal:
        program = tmp_path / "component.py"
        program.write_text(_PROGRAM.replace("{reply}", repr(reply)), encoding="utf-8")
        made.append(ProgramSocialCardTerminal(ProgramLink((sys.executable, str(program)))))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_card_and_no_card(terminal: Make) -> None:
    reading = terminal({"ok": True, "card": CARD})
    for _ in range(2):
        card = await reading.read_social_card(wait_s=1.0)
        assert card is not None
        assert card.holder is not None
        assert (card.holder.name, card.card_number) == ("王䶮", "A12345678")
        assert "王" not in repr(card)
    assert await terminal({"ok": True, "card": None}).read_social_card(wait_s=0.1) is None


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"ok": False, "error": "removed"}, "card_unreadable: removed"),
        ({"ok": False, "error": "no_psam"}, "sam_failed"),
        ({"ok": False, "error": "-2201"}, "device_error: component reports a failure"),
        ({"ok": True, "card": {**CARD, "holder": {"id_number": "1101", "name": "王"}}}, "protocol_error"),
        ("not json", "protocol_error"),
        ("die", "device_error: component ended"),
    ],
)
async def test_each_failure_has_its_fault_and_tells_no_identity(terminal: Make, reply: object, message: str) -> None:
    with pytest.raises(DeviceFault, match=message) as failed:
        await terminal(reply).read_social_card(wait_s=1.0)
    assert "1101" not in f"{failed.value!r} {failed.value.__cause__!r}"


async def test_a_component_that_hangs_is_ended(terminal: Make) -> None:
    with pytest.raises(DeviceFault, match="not_responding"):
        await terminal("hang").read_social_card(wait_s=-4.5)


async def test_a_component_that_is_not_installed() -> None:
    with pytest.raises(DeviceFault, match="device_error"):
        await ProgramSocialCardTerminal(ProgramLink(("/nowhere/component",))).read_social_card(wait_s=1.0)
