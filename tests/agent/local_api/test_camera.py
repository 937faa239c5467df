"""Portrait and preview through a whole agent: over its WebSocket and its HTTP port."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulators.devices.face_camera import FaceCameraCore, Scene
from simulators.devices.transports import TcpServer
from support.broker import free_port
from support.device_page import Page, open_page
from support.processes import Child
from support.tree import ROOT
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(90)
CONSENT = "consent-0001"


@dataclass
class Kiosk:
    page: Page
    core: FaceCameraCore
    url: str
    folder: Path
    server: TcpServer
    lease: str = ""

    async def begin(self) -> None:
        self.lease = (await self.page.ask("Session.Begin"))["payload"]["lease"]

    async def take(self, **payload: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return await self.page.ask("Camera.TakePicture", {"consent_reference": CONSENT, **payload})


@pytest.fixture
async def kiosk(tmp_path: Path) -> AsyncIterator[Kiosk]:
    async with _kiosk(tmp_path) as made:
        yield made


@asynccontextmanager
async def _kiosk(folder: Path) -> AsyncIterator[Kiosk]:
    core = FaceCameraCore()
    (folder / "kiosks").mkdir()
    (folder / "devices").symlink_to(ROOT / "firmware_profiles" / "devices")
    async with TcpServer(core) as camera:
        core.is_heard = lambda: camera.is_connected
        profile = folder / "kiosks" / "one.yaml"
        where = f"http://{camera.host}:{camera.port}/video"
        place = f"{{component: camera, device: generic-mjpeg_camera, port: '{where}'}}"
        profile.write_text(f"model: one\ntitle_zh: 测试\ntitle_en: one\ndevices:\n  - {place}\n", encoding="utf-8")
        port = free_port()
        settings = {
            "KIOSK_DATA_DIR": str(folder / "agent"),
            "KIOSK_SERIAL": "SN-1",
            "KIOSK_LOCAL_API__PORT": str(port),
            "KIOSK_DEVICES__KIOSK_PROFILE": str(profile),
        }
        with Child("agent", [sys.executable, "-m", "agent", "run"], folder / "agent.log", env=settings) as child:
            await wait_for(lambda: child.listens_on(port), timeout_s=20.0, what="the agent's local API")
            token = (folder / "agent" / "token").read_text(encoding="ascii").strip()
            async with open_page(port, token) as page:
                await page.until(lambda said: said.get("payload", {}).get("device") == "online")
                yield Kiosk(page, core, f"http://127.0.0.1:{port}", folder, camera)
        core.close()


def code(answer: dict[str, Any]) -> tuple[str, str | None]:
    return answer["header"]["completionCode"], answer["payload"].get("errorCode")


async def test_without_a_session_there_is_no_picture_and_no_preview(kiosk: Kiosk) -> None:
    assert code(await kiosk.take()) == ("sequenceError", "noSession")
    assert code(await kiosk.page.ask("Camera.StartPreview")) == ("sequenceError", "noSession")
    assert kiosk.core.streams == 1, "only the look at the start"


@pytest.mark.parametrize("payload", [{}, {"consent_reference": ""}, {"consent_reference": "a b c d e f"}])
async def test_without_consent_there_is_no_picture(kiosk: Kiosk, payload: dict[str, Any]) -> None:
    await kiosk.begin()
    answer = await kiosk.page.ask("Camera.TakePicture", payload)
    assert answer["header"]["completionCode"] == "invalidData"
    assert kiosk.core.streams == 1


async def test_a_portrait_with_guidance_and_nothing_of_it_stays(kiosk: Kiosk) -> None:
    await kiosk.begin()
    kiosk.core.scene = Scene.NOBODY
    number = await kiosk.page.send("Camera.TakePicture", {"consent_reference": CONSENT})
    hint = await kiosk.page.until(lambda said: said["header"]["name"] == "Camera.GuidanceEvent")
    assert hint["payload"]["zh"] == "请正对摄像头"
    kiosk.core.scene = Scene.PATIENT
    answer = await kiosk.page.end(number)
    assert code(answer) == ("success", None)
    picture = base64.b64decode(answer["payload"]["picture"])
    assert picture[:3] == b"\xff\xd8\xff"
    assert answer["payload"]["consent_reference"] == CONSENT
    kept = [file for file in kiosk.folder.rglob("*") if file.is_file() and not file.is_symlink()]
    assert kept
    probe = picture[200:260]
    for file in kept:
        content = file.read_bytes()
        assert probe not in content, file
        assert base64.b64encode(probe)[:60] not in content, file


async def test_time_over_says_what_was_missing_and_the_camera_goes_on(kiosk: Kiosk) -> None:
    await kiosk.begin()
    kiosk.core.scene = Scene.TWO
    answer = await kiosk.take(time_limit_s=3.0)
    assert code(answer) == ("timeOut", "noPicture")
    assert answer["payload"]["gate"] == "several_faces"
    kiosk.core.scene = Scene.PATIENT
    assert code(await kiosk.take()) == ("success", None)


async def test_a_cancelled_capture(kiosk: Kiosk) -> None:
    await kiosk.begin()
    kiosk.core.scene = Scene.NOBODY
    number = await kiosk.page.send("Camera.TakePicture", {"consent_reference": CONSENT})
    await kiosk.page.until(lambda said: said["header"]["name"] == "Camera.GuidanceEvent")
    cancelling = await kiosk.page.send("Common.Cancel", {"requestIds": [number]})
    ended = await kiosk.page.end(number)
    assert ended["header"]["completionCode"] == "canceled"
    assert cancelling > number


async def test_a_preview_opens_with_its_ticket_alone_and_ends_with_the_session(kiosk: Kiosk) -> None:
    await kiosk.begin()
    answer = await kiosk.page.ask("Camera.StartPreview")
    url = kiosk.url + answer["payload"]["url"]
    async with aiohttp.ClientSession() as http:
        async with http.get(kiosk.url + "/api/v1/camera/preview?ticket=guessed") as refused:
            assert refused.status == 404
        async with http.get(url, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}) as hostile:
            assert hostile.status == 403
        async with http.get(url, headers={"Host": "evil.example"}) as rebound:
            assert rebound.status in {400, 403, 421}
        async with http.get(url) as stream:
            assert stream.status == 200
            assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
            assert stream.headers["Cache-Control"] == "no-store"
            data = b""
            while data.count(b"\xff\xd8\xff") < 3:
                data += await stream.content.readany()
            assert code(await kiosk.take()) == ("success", None)
            await kiosk.page.ask("Session.End", {"lease": kiosk.lease})
            async with asyncio.timeout(15.0):
                while await stream.content.readany():
                    pass
        async with http.get(url) as over:
            assert over.status == 404
    await wait_for(lambda: not kiosk.core.is_watched, what="the stream to end")


async def test_stopping_the_preview(kiosk: Kiosk) -> None:
    await kiosk.begin()
    assert (await kiosk.page.ask("Camera.StopPreview"))["payload"] == {"was_open": False}
    first = (await kiosk.page.ask("Camera.StartPreview"))["payload"]["url"]
    second = (await kiosk.page.ask("Camera.StartPreview"))["payload"]["url"]
    assert first != second
    async with aiohttp.ClientSession() as http, http.get(kiosk.url + first) as old:
        assert old.status == 404
    assert (await kiosk.page.ask("Camera.StopPreview"))["payload"] == {"was_open": True}
    async with aiohttp.ClientSession() as http, http.get(kiosk.url + second) as over:
        assert over.status == 404
