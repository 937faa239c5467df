"""Forty people pay at five kiosks of the whole demo: who they are is in no file, message, figure or paper of ours."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from kit.supervise import TaskGroup, spawn
from support.kiosk_journey import Demo, desk, ready
from support.mqtt_tap import Tap, tapped
from support.ports import free_port
from support.processes import Child
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]
KIOSKS = 5
PEOPLE = range(60, 100)
OWN = frozenset({"his", "lab"})
"""Who people are is these simulators' own business."""


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    environ = {
        "DEMO_DIR": str(tmp_path / "demo"),
        "DEMO_KIOSKS": str(KIOSKS),
        "DEMO_FULL": str(KIOSKS),
        "DEMO_PORT": str(free_port()),
    }
    with Child.of_module("simulators", "demo", log_dir=tmp_path, env=environ, name="demo") as child:
        file = tmp_path / "demo" / "demo.json"
        await wait_for(lambda: file.is_file() or not child.is_running, timeout_s=120.0, what="the demo")
        assert child.is_running, child.log()
        async with aiohttp.ClientSession() as http:
            found = Demo(http, json.loads(file.read_bytes()))
            for number in range(1, KIOSKS + 1):
                await ready(found, number)
            yield found
        child.send(signal.SIGINT)
        await wait_for(lambda: not child.is_running, timeout_s=60.0, what="the demo ends")


async def test_forty_people_leave_nothing_behind(demo: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    answers: list[str] = []
    with tapped(folder / "fleet", demo.facts["mqtt"]["port"]) as tap:
        async with TaskGroup() as group:
            for number in range(1, KIOSKS + 1):
                _ = spawn(group, _serve(demo, number, answers), f"kiosk-{number}")
        outcomes = partial(_told, tap, len(PEOPLE))
        await wait_for(outcomes, timeout_s=30.0, what="the fleet hears of every transaction")
    papers = "\n".join([text for number in range(1, KIOSKS + 1) for text in await demo.receipts(f"kiosk-{number}")])
    assert papers.count("Payment receipt") == len(PEOPLE)
    figures = "".join([await _text(demo, url) for url in _metrics_of(demo)])
    assert "kiosk_agent_outbox_rows" in figures

    books = json.loads((folder / "his" / "his-books.json").read_text(encoding="utf-8"))
    people = [books["patients"][f"P{number:06d}"] for number in PEOPLE]
    secrets = [person[name] for person in people for name in ("id_card", "phone", "card_no")]
    names = [person["name"] for person in people]
    places = {"MQTT": bytes(tap.heard), "papers": papers.encode(), "metrics": figures.encode()}
    places["answers"] = "".join(answers).encode()
    for file in folder.rglob("*"):
        if file.is_file() and file.relative_to(folder).parts[0] not in OWN:
            places[str(file.relative_to(folder))] = file.read_bytes()
    found = [(place, secret) for place, content in places.items() for secret in secrets if secret.encode() in content]
    assert found == []
    of_names = ("MQTT", "metrics")  # a doctor on a paper may have the same name
    assert [
        (place, name) for place in of_names for name in names if len(name) > 1 and name.encode() in places[place]
    ] == []
    assert len(places) > 60


async def _serve(demo: Demo, number: int, answers: list[str]) -> None:
    async with desk(demo, number) as kiosk:
        for person in list(PEOPLE)[number - 1 :: KIOSKS]:
            await kiosk.pay_bill(person)
        answers += kiosk.answers


def _told(tap: Tap, count: int) -> bool:
    return tap.heard.count(b"transaction.ended") >= count


def _metrics_of(demo: Demo) -> list[str]:
    agents = [f"{kiosk['local_api_url']}/metrics" for kiosk in demo.facts["kiosks"]]
    return [demo.facts["metrics_url"], f"{demo.facts['platform']['notify_url']}/metrics", *agents]


async def _text(demo: Demo, url: str) -> str:
    async with demo.http.get(url) as response:
        assert response.ok, url
        return await response.text()
