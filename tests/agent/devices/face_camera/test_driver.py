"""The driver with the real process and OpenCV, on a simulated network camera or files."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from agent.devices.face_camera.driver import GatedFaceCamera
from agent.devices.face_camera.types import Gate, Portrait
from agent.devices.profiles import load
from agent.devices.registry import link_of
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkLost
from agent.links.camera import CameraLink, Source
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.face_camera import CameraFault, FaceCameraCore, Scene, draw
from simulators.devices.transports import LinkFault, TcpServer
from support.owner import RecordingOwner
from support.tree import ROOT
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import DeviceProfile, LinkKind, LinkProfile

pytestmark = pytest.mark.timeout(60)
PROFILE = load(ROOT / "firmware_profiles/devices/generic-mjpeg_camera.yaml", DeviceProfile)
QUICK = PROFILE.model_copy(
    update={
        "link": PROFILE.link.model_copy(update={"options": {"frames_per_s": 20}}),
        "quirks": {"first_frame_s": 10.0, "frame_s": 1.0, "frames": 2},
    }
)


@dataclass
class Bench:
    core: FaceCameraCore
    server: TcpServer
    driver: GatedFaceCamera
    owner: RecordingOwner
    told: list[Gate] = field(default_factory=list)
    ended_by: list[Exception] = field(default_factory=list)
    group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    outcome: asyncio.Future[Portrait | None] | None = None

    def taking(self, timeout_s: float = 30.0) -> asyncio.Task[None]:
        """Begin a capture; how it ends is in `outcome`."""
        self.outcome = outcome = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                outcome.set_result(await self.take(timeout_s))
            except (DeviceFault, LinkError) as error:
                outcome.set_exception(error)

        return spawn(self.group, work(), "capture")

    async def result(self) -> Portrait | None:
        assert self.outcome is not None
        return await self.outcome

    async def take(self, timeout_s: float = 10.0) -> Portrait | None:
        return await self.driver.take_picture(self.told.append, timeout_s=timeout_s)


Bencher = Callable[[], AbstractAsyncContextManager[Bench]]


@pytest.fixture
def bench() -> Bencher:
    @asynccontextmanager
    async def make() -> AsyncIterator[Bench]:
        core, owner = FaceCameraCore(), RecordingOwner()
        async with TcpServer(core) as server:
            core.is_heard = lambda: server.is_connected
            link = link_of(QUICK, f"http://{server.host}:{server.port}/video")()
            driver = GatedFaceCamera(cast("CameraLink", link), QUICK, owner, SystemClock())
            found = Bench(core, server, driver, owner)
            await driver.start()

            async def run() -> None:
                try:
                    await driver.run()
                except (LinkError, DeviceFault) as error:
                    found.ended_by.append(error)

            async with found.group as group:
                running = spawn(group, run(), "driver")
                yield found
                running.cancel()
            await driver.stop()
            core.close()

    return make


def _workers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # or a zombie, which is one
            if "agent.links.camera_worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def test_a_patient_who_looks_into_it_gets_a_portrait(bench: Bencher) -> None:
    async with bench() as camera:
        portrait = await camera.take()
        assert portrait is not None
        assert (portrait.width, portrait.height) == (640, 480)
        assert portrait.picture[:3] == b"\xff\xd8\xff"
        x, y, width, height = portrait.face
        assert abs(x + width / 2 - 0.5) < 0.1
        assert abs(y + height / 2 - 0.5) < 0.15
        assert camera.told[-1] is Gate.READY
        assert camera.owner.last.values == {"camera": "ok"}
        await wait_for(lambda: not _workers(), what="the camera's process to end")
        await wait_for(lambda: not camera.core.is_watched, what="the camera to see that nobody is there")


@pytest.mark.parametrize(
    ("scene", "gate"),
    [
        (Scene.NOBODY, Gate.NO_FACE),
        (Scene.TWO, Gate.SEVERAL_FACES),
        (Scene.FAR, Gate.TOO_FAR),
        (Scene.CLOSE, Gate.TOO_CLOSE),
        (Scene.ASIDE, Gate.OFF_CENTRE),
        (Scene.DARK, Gate.TOO_DARK),
        (Scene.GLARE, Gate.TOO_BRIGHT),
    ],
)
async def test_every_scene_gets_its_advice_and_no_picture(scene: Scene, gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "scene.jpg").write_bytes(draw(scene))
    driver, _ = await _on_file(tmp_path / "scene.jpg")
    told: list[Gate] = []
    assert await _capture(driver, told, until=gate) is None
    assert gate in told
    assert Gate.READY not in told


async def test_blur_and_movement_are_seen(bench: Bencher) -> None:
    async with bench() as camera:
        camera.core.scene = Scene.MOVING
        _ = camera.taking()
        await wait_for(lambda: Gate.MOVING in camera.told, what="advice to hold still")
        camera.core.scene = Scene.BLURRED
        await wait_for(lambda: camera.told[-1] in {Gate.BLURRED, Gate.NO_FACE}, what="advice about the blur")
        camera.core.scene = Scene.PATIENT
        assert await camera.result() is not None


async def _on_file(file: Path) -> tuple[GatedFaceCamera, RecordingOwner]:
    owner = RecordingOwner()
    profile = QUICK.model_copy(update={"link": LinkProfile(kind=LinkKind.CAMERA, options={"frames_per_s": 20})})
    link = link_of(profile, f"file:{file}")()
    return GatedFaceCamera(cast("CameraLink", link), profile, owner, SystemClock()), owner


async def _capture(driver: GatedFaceCamera, told: list[Gate], until: Gate) -> Portrait | None:
    seen = asyncio.Event()
    result: Portrait | None = None

    def tell(gate: Gate) -> None:
        told.append(gate)
        if gate is until:
            seen.set()

    async with asyncio.TaskGroup() as group:
        tasks = [
            spawn(group, driver.run(), "driver"),
            spawn(group, driver.take_picture(tell, timeout_s=15.0), "capture"),
            spawn(group, seen.wait(), "advice"),
        ]
        await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
        if tasks[1].done():
            result = cast("Portrait | None", tasks[1].result())
        for task in tasks:
            task.cancel()
    await driver.stop()
    return result


async def test_a_stream_that_freezes_is_a_fault_for_the_command_and_for_the_device(bench: Bencher) -> None:
    async with bench() as camera:
        camera.core.scene = Scene.NOBODY
        _ = camera.taking()
        await wait_for(lambda: camera.told, what="the first advice")
        camera.core.faults.add(CameraFault.FROZEN)
        with pytest.raises(DeviceFault) as raised:
            await camera.result()
        assert raised.value.fault is Fault.NO_PICTURE
        await wait_for(lambda: camera.ended_by, what="the driver to end")
        assert not _workers()


@pytest.mark.parametrize("fault", [CameraFault.REFUSED, CameraFault.GARBAGE, CameraFault.ENDED])
async def test_a_camera_without_a_picture_does_not_start(fault: CameraFault) -> None:
    core = FaceCameraCore()
    if fault is not CameraFault.ENDED:
        core.faults.add(fault)
    async with TcpServer(core) as server:
        slow = QUICK.model_copy(update={"quirks": {"first_frame_s": 1.5}})
        link = link_of(slow, f"http://{server.host}:{server.port}/video")()
        driver = GatedFaceCamera(cast("CameraLink", link), slow, RecordingOwner(), SystemClock())
        if fault is CameraFault.ENDED:
            server.unplug()
        with pytest.raises(DeviceFault) as raised:
            await driver.start()
        assert raised.value.fault is Fault.NO_PICTURE
        core.close()


async def test_wrong_lengths_cost_pictures_and_nothing_else(bench: Bencher) -> None:
    async with bench() as camera:
        camera.core.faults.add(CameraFault.WRONG_LENGTH)
        assert await camera.take() is not None


@pytest.mark.parametrize("after", [0, 60, 200, 5_000])
async def test_a_stream_cut_within_a_picture(bench: Bencher, after: int) -> None:
    async with bench() as camera:
        camera.core.scene = Scene.NOBODY
        _ = camera.taking()
        await wait_for(lambda: camera.told, what="the first advice")
        camera.server.faults.script(LinkFault.UNPLUG, value=after)
        with pytest.raises((DeviceFault, LinkError)):
            await camera.result()
        await wait_for(lambda: camera.ended_by, what="the driver to end")


@pytest.mark.parametrize("fault", [CameraFault.SAME_PICTURE, CameraFault.HUGE])
async def test_a_camera_that_hangs_on_a_picture_or_sends_monsters(bench: Bencher, fault: CameraFault) -> None:
    """The face it hangs on may be that of the patient before."""
    async with bench() as camera:
        camera.core.faults.add(fault)
        with suppress(DeviceFault, LinkError):
            assert await camera.take(timeout_s=3.0) is None
        assert Gate.READY not in camera.told
        assert camera.core.pictures > 5


async def test_its_process_killed_under_a_capture(bench: Bencher) -> None:
    async with bench() as camera:
        camera.core.scene = Scene.NOBODY
        _ = camera.taking()
        await wait_for(lambda: camera.told, what="the first advice")
        (worker,) = _workers()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(LinkLost):
            await camera.result()
        await wait_for(lambda: camera.ended_by, what="the driver to end")


async def test_a_preview_and_a_capture_share_one_process(bench: Bencher) -> None:
    async with bench() as camera:
        preview = await camera.driver.open_preview()
        first = await preview.next(timeout_s=10.0)
        assert first[:3] == b"\xff\xd8\xff"
        assert await camera.take() is not None
        assert await preview.next(timeout_s=10.0)
        assert len(_workers()) == 1
        await preview.close()
        await preview.close()
        await wait_for(lambda: not _workers(), what="the camera's process to end")
        with pytest.raises(LinkLost):
            await preview.next(timeout_s=0.1)


async def test_a_cancelled_capture_leaves_no_process(bench: Bencher) -> None:
    async with bench() as camera:
        camera.core.scene = Scene.NOBODY
        taking = camera.taking()
        await wait_for(lambda: camera.told, what="the first advice")
        taking.cancel()
        await wait_for(lambda: not _workers(), what="the camera's process to end")


async def test_a_cancellation_while_its_process_ends_leaves_none() -> None:
    core = FaceCameraCore()
    async with TcpServer(core) as server:
        link = cast("CameraLink", link_of(QUICK, f"http://{server.host}:{server.port}/video")())

        async def look() -> None:
            async with link.stream() as stream:
                await stream.next(timeout_s=10.0)

        async with asyncio.TaskGroup() as group:
            for turns in range(12):
                looking = spawn(group, look(), "look")
                await wait_for(_workers, what="the process to run")
                looking.cancel()
                for _ in range(turns):
                    await asyncio.sleep(0)
                looking.cancel()
                await asyncio.wait((looking,))
                await wait_for(lambda: not _workers(), what="the process to end")
        core.close()


async def test_time_over_is_no_picture_and_no_fault(bench: Bencher) -> None:
    async with bench() as camera:
        camera.core.scene = Scene.NOBODY
        preview = await camera.driver.open_preview()
        await preview.next(timeout_s=10.0)
        assert await camera.take(0.5) is None
        assert camera.ended_by == []
        await preview.close()


async def test_frames_cannot_reach_a_disk(bench: Bencher) -> None:
    async with bench() as camera:
        preview = await camera.driver.open_preview()
        await preview.next(timeout_s=10.0)
        (worker,) = _workers()
        limits = Path(f"/proc/{worker.pid}/limits").read_text(encoding="ascii")
        (size,) = (line.split()[3:5] for line in limits.splitlines() if line.startswith("Max file size"))
        assert size == ["0", "0"]
        assert [file.path for file in worker.open_files() if file.mode != "r"] == []
        rss_mib = worker.memory_info().rss / 2**20
        assert rss_mib < 120
        await preview.close()


async def test_a_camera_that_goes_while_nobody_looks_is_noticed(
    bench: Bencher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.devices.face_camera.driver._LOOK_S", 0.05)
    async with bench() as camera:
        camera.server.unplug()
        await wait_for(lambda: camera.ended_by, what="the driver to end")
        assert isinstance(camera.ended_by[0], LinkLost)
        await camera.server.plug()


async def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    link = CameraLink(Source.of(PROFILE.link, f"file:{tmp_path / 'none.jpg'}"))
    with pytest.raises(LinkLost):
        await link.open()
    assert str(tmp_path) in link.name


@pytest.mark.parametrize("port", ["video0", "ftp://camera/", "http:///x", "file:relative", "rtsp:"])
def test_a_port_that_is_no_camera_is_refused(port: str) -> None:
    with pytest.raises(ValueError, match="a camera is"):
        Source.of(PROFILE.link, port)


def test_a_password_is_never_shown() -> None:
    source = Source.of(PROFILE.link, "rtsp://admin:Secret-9@192.0.2.7:554/1")
    link: Any = CameraLink(source)
    assert "Secret" not in f"{source!r} {link.name} {source.name}"
    assert link.name == "rtsp://192.0.2.7"
