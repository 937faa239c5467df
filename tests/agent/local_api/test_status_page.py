"""The pages the agent serves, their files and the words they show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from agent.local_api.status_page import add_page
from support.tree import ROOT
from wire.faults import FACTS, Fault
from wire.functions import Lack, PatientFunction

FILES = {file.name: file.read_bytes() for file in (ROOT / "agent/local_api/page").iterdir()}
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    await asyncio.to_thread(add_page, app, "the-token")
    async with TestClient(TestServer(app)) as found:
        yield found


async def test_the_words_are_those_of_the_wire(client: Client) -> None:
    answer = await client.get("/page/words.json")
    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (
        200,
        "application/json",
        "no-store",
    )
    words = await answer.json()
    assert words["functions"].keys() == {function.value for function in PatientFunction}
    assert words["lacks"].keys() == {lack.value for lack in Lack}
    assert words["faults"].keys() == {fault.value for fault in Fault}
    paper_out = FACTS[Fault.PAPER_OUT]
    assert words["faults"]["paper_out"] == [paper_out.zh, paper_out.en]


async def test_pages_have_the_token_and_their_files_do_not(client: Client) -> None:
    for path in ("/", "/status", "/maintenance"):
        answer = await client.get(path)
        assert 'content="the-token"' in await answer.text()
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    for name, content in FILES.items():
        answer = await client.get(f"/page/{name}")
        if name.endswith(".html"):
            assert answer.status == 404
        else:
            assert (answer.status, await answer.read()) == (200, content), name


async def test_nothing_else_is_served(client: Client) -> None:
    for path in ("/page/none.js", "/page/..%2Fstatus_page.py", "/page/"):
        assert (await client.get(path)).status == 404, path


def _built(folder: Path) -> Path:
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<meta name="api-token" content="{{token}}" /><p>自助服务机')
    (folder / "assets" / "index-CqGarDZs.js").write_text('console.log("{{token}}")')
    (folder / ".secret").write_text("x")
    return folder


async def test_the_patients_page_is_the_first_where_there_is_one(tmp_path: Path) -> None:
    app = web.Application()
    folder = await asyncio.to_thread(_built, tmp_path / "dist")
    await asyncio.to_thread(add_page, app, "the-token", folder)
    async with TestClient(TestServer(app)) as client:
        for path in ("/", "/kiosk"):
            answer = await client.get(path, allow_redirects=False)
            assert (answer.status, answer.headers["Location"]) == (302, "/kiosk/")
        for path in ("/kiosk/", "/kiosk/index.html", "/kiosk/pay"):
            answer = await client.get(path, headers={"If-None-Match": "*"})
            assert await answer.text() == '<meta name="api-token" content="the-token" /><p>自助服务机'
            assert (answer.content_type, answer.headers["Cache-Control"]) == ("text/html", "no-store")
            assert "ETag" not in answer.headers
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        answer = await client.get("/kiosk/assets/index-CqGarDZs.js")
        assert (answer.content_type, await answer.text()) == ("text/javascript", 'console.log("{{token}}")')
        assert "immutable" in answer.headers["Cache-Control"]
        for path in ("/kiosk/.secret", "/kiosk/assets/none.js", "/kiosk/..%2F.secret"):
            assert (await client.get(path)).status == 404, path
        assert (await client.get("/status")).status == 200


async def test_a_folder_without_a_page_changes_nothing(tmp_path: Path) -> None:
    app = web.Application()
    await asyncio.to_thread(add_page, app, "the-token", tmp_path)
    async with TestClient(TestServer(app)) as client:
        assert 'content="the-token"' in await (await client.get("/", allow_redirects=False)).text()
        assert (await client.get("/kiosk/")).status == 404
