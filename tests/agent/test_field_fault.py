"""A fault of the hall on a desk: recorded by a kiosk, downloaded, and played by `kiosk-sim` to a fresh driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.lab_agent import LabAgent, agent_on_lab
from support.processes import Child
from support.recording_rig import Rig, managed
from support.waiting import wait_for
from wire.faults import Fault
from wire.recording import decode_recording

pytestmark = pytest.mark.timeout(60)


async def _downloaded(kiosk: LabAgent, component: str, fault: Fault, file: Path) -> None:
    """As from the kiosk's own API."""
    headers = {"Authorization": f"Bearer {kiosk.agent.token.value}"}
    url = f"{kiosk.agent_url}/api/v1/recordings"
    async with aiohttp.ClientSession(headers=headers) as http:

        async def named() -> str | None:
            listed: dict[str, Any] = await (await http.get(url)).json()
            found = [one for one in listed["recordings"] if (one["component"], one["fault"]) == (component, fault)]
            return found[0]["name"] if found else None

        name = await wait_for(named, timeout_s=15.0, what=f"a recording of {fault}")
        body = await (await http.get(f"{url}/{name}")).read()
    await asyncio.to_thread(file.write_bytes, body)


@asynccontextmanager
async def _played(file: Path, component: str) -> AsyncIterator[Rig]:
    """A fresh driver with the recording as its device."""
    port = file.with_suffix(".port")
    arguments = ("device", "replay", str(file), "--pty", str(port), "--component", component)
    with Child.of_module("simulators", *arguments, log_dir=file.parent) as playing:
        await playing.ready(port.is_symlink, what="the replay's port")
        async with managed({component: str(port)}, {"answer_s": 0.5}) as rig:
            yield rig


async def test_a_reader_that_fails_in_the_hall_fails_on_the_desk(tmp_path: Path) -> None:
    file = tmp_path / "fault.kfr"
    async with agent_on_lab(tmp_path / "kiosk") as kiosk:
        await wait_for(lambda: "id_reader" not in kiosk.unready, timeout_s=15.0)
        await kiosk.tester.do("id_reader", "script", fault="status", value=0x66, times=100_000)
        await _downloaded(kiosk, "id_reader", Fault.SAM_FAILED, file)
    recording = decode_recording(await asyncio.to_thread(file.read_bytes))
    assert (recording.head.component, recording.head.fault) == ("id_reader", Fault.SAM_FAILED)
    async with _played(file, "id_reader") as desk:
        await wait_for(
            lambda: any(kept.fault == Fault.SAM_FAILED for kept in desk.kept), timeout_s=15.0, what="the same fault"
        )
