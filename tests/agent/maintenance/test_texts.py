"""The maintenance page has words in both languages for everything the agent says to it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from agent.devices.machine import DeviceState
from agent.firmware.errors import NOTHING_BEGUN, Why
from agent.local_api import maintenance
from agent.local_api.device_news import DEVICE
from agent.maintenance.selftest import TESTS
from agent.maintenance.service import FIRMWARE, STATUS
from agent.maintenance.wizard import BY_PERSON, Step
from support.tree import ROOT
from wire.profile import Capability

PAGE = ROOT / "agent/local_api/page"
SAID = "".join(
    (ROOT / "agent/maintenance" / f"{name}.py").read_text(encoding="utf-8") for name in ("selftest", "service")
)
SCRIPT = "import(process.argv[1]).then(({TEXTS, WORDS}) => console.log(JSON.stringify({TEXTS, WORDS})))"


@pytest.fixture(scope="module")
def texts() -> Mapping[str, Any]:
    file = PAGE / "maintenance_texts.js"
    done = subprocess.run(
        [ROOT / ".venv/bin/node", "--input-type=module", "-e", SCRIPT, file.as_uri()],
        capture_output=True, check=True, timeout=9,
    )  # fmt: skip
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def test_both_languages_say_the_same_things(texts: Mapping[str, Any]) -> None:
    chinese, english = texts["TEXTS"]["zh"], texts["TEXTS"]["en"]
    assert chinese.keys() == english.keys()
    for table in texts["WORDS"].values():
        for both in table.values():
            assert len(both) == 2
            assert all(both)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("kinds", [kind.value for kind in Capability]),
        ("tests", [STATUS, FIRMWARE, *(test.name for tests in TESTS.values() for test in tests)]),
        ("steps", [step.value for step in Step]),
        ("events", [event.value for event in BY_PERSON]),
        ("states", [DEVICE[state] for state in DeviceState]),
        ("says", re.findall(r'say\("(\w+)"\)', SAID)),
        ("whys", re.findall(r'why="(\w+)"|FAILED, (?:\w+\.)*\w+, "(\w+)"', SAID)),
        ("whys", [why.value for why in Why]),
        ("refusals", [why.value for why in NOTHING_BEGUN]),
        ("refusals", ["sessionActive", "maintenanceOpen", "wrongCode", "notOpen", "busy", "canceled", "timeOut"]),
    ],
)
def test_nothing_is_shown_as_a_code(texts: Mapping[str, Any], table: str, words: list[str | tuple[str, ...]]) -> None:
    plain = {word if isinstance(word, str) else "".join(word) for word in words}
    assert plain
    assert plain - texts["WORDS"][table].keys() == set()


def test_the_page_uses_texts_that_there_are(texts: Mapping[str, Any]) -> None:
    script = (PAGE / "maintenance.js").read_text(encoding="utf-8")
    used = set(re.findall(r'[^\w]text\("(\w+)"\)', script))
    assert used - texts["TEXTS"]["zh"].keys() == set()
    assert set(re.findall(r'[^\w]word\("(\w+)"', script)) == texts["WORDS"].keys()


def test_every_refusal_is_one_the_page_was_told_of() -> None:
    told = {code for verb in maintenance.verbs(None, None).values() for code in verb.refusals}  # type: ignore[arg-type] # only described
    raised = set(re.findall(r'MaintenanceRefused\("(\w+)"\)', SAID))
    assert raised | set(NOTHING_BEGUN) == told
