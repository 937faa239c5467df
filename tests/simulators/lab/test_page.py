"""What the bench page asks for besides actions: the camera's picture, and words for everything that can be chosen."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from simulators.lab.actions import describe
from simulators.lab.device import Device
from simulators.lab.kiosk import DEVICES, Place
from support.lab_bench import QUICK, Engineer
from support.tree import ROOT

PAGE = ROOT / "simulators/lab/page"
FILES = {file.name: file.read_bytes() for file in PAGE.iterdir()}
DEVICE = "/api/v1/kiosks/kiosk-1/devices"
SCRIPT = "import(process.argv[1]).then(({WORDS}) => console.log(JSON.stringify(WORDS)))"


@pytest.fixture(scope="module")
def words() -> Mapping[str, Any]:
    done = subprocess.run(
        [ROOT / ".venv/bin/node", "--input-type=module", "-e", SCRIPT, (PAGE / "words.js").as_uri()],
        capture_output=True, check=True, timeout=9,
    )  # fmt: skip
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", DEVICES, ids=lambda kind: kind.kind.value)
def test_nothing_is_chosen_as_a_code(words: Mapping[str, Any], kind: type[Device]) -> None:
    rows = [argument for row in kind.actions.values() for argument in describe(row).arguments]
    choices = {choice for row in rows for choice in row.choices or ()}
    assert choices - words.keys() == set()


def test_each_word_is_said_in_both_languages(words: Mapping[str, Any]) -> None:
    assert all(len(both) == 2 and all(both) for both in words.values())
    names = re.findall(r'^  "?([^"\n]+?)"?: \[', (PAGE / "words.js").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(names) == sorted(words), "a word is there twice"


async def _row(tester: Engineer, component: str) -> dict[str, Any]:
    row: dict[str, Any] = (await tester.ask("GET", f"{DEVICE}/{component}"))[1]
    return row


@pytest.mark.parametrize("place", QUICK, ids=lambda place: place.component)
async def test_each_fault_that_is_set_is_shown_until_it_is_repaired(tester: Engineer, place: Place) -> None:
    component = place.component
    kind = type(tester.lab.device("kiosk-1", component))
    (argument,) = (one for one in describe(kind.actions["script"]).arguments if one.name == "fault")
    before = await _row(tester, component)
    assert before["armed"] == []
    for fault in argument.choices or ():
        await tester.do(component, "script", fault=fault)
        after = await _row(tester, component)
        assert after["armed"] == [fault] or after["state"] != before["state"], fault
        await tester.do(component, "repair")
        assert await _row(tester, component) == before, fault


async def test_a_click_holds_out_a_code_that_can_be_read(tester: Engineer) -> None:
    await tester.do("scanner", "scan")
    assert (await tester.state("scanner"))["held"]
    await tester.do("scanner", "put_away")
    status, answer = await tester.try_to("scanner", "scan", {"kind": "text"})
    assert (status, answer["title"]) == (409, "码里没有内容 · there is nothing in the code")
    assert not (await tester.state("scanner"))["held"]


async def test_faults_of_an_update_are_shown(tester: Engineer) -> None:
    await tester.do("scanner", "flash_fault", fault="nak")
    assert (await _row(tester, "scanner"))["armed"] == ["nak"]


async def _picture(tester: Engineer, component: str) -> tuple[int, str, bytes]:
    async with tester.http.get(f"{tester.url}{DEVICE}/{component}/picture.jpg") as response:
        return response.status, response.content_type, await response.read()


async def test_the_picture_is_what_the_camera_is_in_front_of(tester: Engineer) -> None:
    status, content_type, patient = await _picture(tester, "camera")
    assert (status, content_type, patient[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")
    await tester.do("camera", "scene", scene="nobody")
    assert (await _picture(tester, "camera"))[2] != patient
    assert (await tester.state("camera"))["pictures"] == 0, "nothing was taken from the host's stream"


async def test_who_has_no_camera_gets_no_picture(tester: Engineer) -> None:
    status, answer = await tester.ask("GET", f"{DEVICE}/scanner/picture.jpg")
    assert (status, answer["code"]) == (404, "no_camera")
    assert (await tester.ask("GET", f"{DEVICE}/none/picture.jpg"))[0] == 404
    async with aiohttp.ClientSession() as stranger, stranger.get(f"{tester.url}{DEVICE}/camera/picture.jpg") as answer:
        assert answer.status == 401


async def test_the_page_and_all_its_parts_are_served(tester: Engineer) -> None:
    for name, content in FILES.items():
        async with tester.http.get(f"{tester.url}/{name}") as response:
            assert (response.status, await response.read()) == (200, content), name
            assert "script-src 'self'; style-src 'self';" in response.headers["Content-Security-Policy"]
