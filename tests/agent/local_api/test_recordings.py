"""The resources of the flight recorder over a real socket."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agent.local_api.auth import LocalToken
from agent.local_api.recordings import recording_routes
from agent.recorder.recorder import About, Limits, Recorder
from agent.recorder.shelf import Shelf
from kit.clock import ManualClock
from kit.web import Api, Hooks
from support.web import Serve, serve
from wire.recording import RecordingList, Way, decode_recording

__all__ = ["serve"]
TOKEN = {"Authorization": "Bearer this-boot"}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path / "recordings")
    recorder = Recorder(ManualClock(), Limits(), made.put)
    for component, fault in (("scanner", "unplugged"), ("receipt_printer", "paper_out")):
        recorder.tap(About(component, component)).passed(Way.SENT, b"something")
        assert recorder.freeze(component, fault)
    made.settle(5.0)
    return made


@pytest.fixture
async def url(serve: Serve, shelf: Shelf) -> str:
    app = web.Application()
    hooks = Hooks(authenticate=LocalToken("this-boot").authenticate)
    Api("kiosk-agent", "1", [recording_routes(shelf)], hooks).mount(app)
    server = await serve(app)
    return f"http://127.0.0.1:{server.port}/api/v1/recordings"


def _own(url: str) -> dict[str, str]:
    """What a page of the same server sends."""
    return {"Origin": url.removesuffix("/api/v1/recordings")}


async def test_recordings_are_listed_downloaded_and_thrown_away(url: str) -> None:
    async with aiohttp.ClientSession(headers=TOKEN) as http:
        listed = RecordingList.model_validate(await (await http.get(url)).json())
        assert {(item.component, item.fault) for item in listed.recordings} == {
            ("scanner", "unplugged"),
            ("receipt_printer", "paper_out"),
        }
        name = listed.recordings[0].name
        answer = await http.get(f"{url}/{name}")
        assert "attachment" in answer.headers["Content-Disposition"]
        assert decode_recording(await answer.read()).head.component == listed.recordings[0].component
        assert (await http.delete(f"{url}/{name}", headers=_own(url))).status == 204
        assert (await http.delete(f"{url}/{name}", headers=_own(url))).status == 404
        assert (await http.get(f"{url}/{name}")).status == 404
        assert len((await (await http.get(url)).json())["recordings"]) == 1


@pytest.mark.parametrize("name", ["..%2Ftoken", "%2E%2E%2Ftoken", "token", "a.kfr", "%00"])
async def test_nothing_else_can_be_had(url: str, shelf: Shelf, name: str) -> None:
    (shelf.folder.parent / "token").write_text("secret")
    async with aiohttp.ClientSession(headers=TOKEN) as http:
        answer = await http.get(f"{url}/{name}")
        assert answer.status in {400, 404}
        assert "secret" not in await answer.text()


async def test_without_this_boots_token_there_is_nothing(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        assert (await http.get(url)).status == 401
        assert (await http.delete(f"{url}/x", headers=_own(url))).status == 401
        assert (await http.delete(f"{url}/x", headers={"Origin": "http://evil.example"})).status == 403
