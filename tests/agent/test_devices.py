"""The whole agent with a device on a real pseudo-terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.app import Agent, prepare
from agent.settings import DevicesSettings, LocalApiSettings, Settings
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.id_card_reader import IdCardReaderCore
from simulators.devices.transports import PtyServer
from support.tree import ROOT
from support.waiting import wait_for
from wire.device_api import ComponentHealth, DeviceMessage

KIOSK = "model: K\ntitle_zh: 一\ntitle_en: One\ndevices: [{component: id_reader, device: generic-sdt-serial}]\n"


def _agent(folder: Path) -> Agent:
    for name in ("devices", "kiosks", "data"):
        (folder / name).mkdir()
    source = ROOT / "firmware_profiles/devices/generic-sdt-serial.yaml"
    (folder / "devices" / source.name).write_bytes(source.read_bytes())
    (folder / "kiosks" / "k.yaml").write_text(KIOSK, encoding="utf-8")
    prepare(folder / "data")
    settings = Settings(
        data_dir=folder / "data",
        local_api=LocalApiSettings(port=0),
        devices=DevicesSettings(
            kiosk_profile=folder / "kiosks" / "k.yaml", ports={"id_reader": str(folder / "tty")}, retry_cap_s=0.05
        ),
    )
    return Agent(settings, SystemClock(), "boot")


async def test_a_device_is_born_fails_and_comes_back(tmp_path: Path) -> None:
    agent, stop = await asyncio.to_thread(_agent, tmp_path), asyncio.Event()
    heard: list[DeviceMessage] = []
    agent.feed.join(heard.append)

    def codes() -> set[str]:
        return {alarm.code for alarm in agent.reporter.open_alarms() if alarm.component == "id_reader"}

    def reader() -> ComponentHealth:
        return next(part.health for part in agent.view.state().components if part.name == "id_reader")

    async with PtyServer(IdCardReaderCore(), tmp_path / "tty") as port, asyncio.TaskGroup() as group:
        serving = spawn(group, agent.run(stop=stop), "agent")
        await wait_for(lambda: reader() is ComponentHealth.OK, what="a reader that works")
        (born,) = [part for part in agent.description.components() if part.name == "id_reader"]
        assert (born.kind, born.serial) == ("id_card_reader", "05.01-20151239-0123456789-42")
        port.unplug()
        await wait_for(lambda: codes() == {"unplugged"}, what="the alarm")
        assert reader() is ComponentHealth.FAULTED
        await port.plug()
        await wait_for(lambda: not codes(), what="the alarm's end")
        states = [message.payload["device"] for message in heard if "device" in message.payload]
        assert [state for state in states if state != "starting"] == ["online", "noDevice", "online"]
        stop.set()
        await serving
    await asyncio.to_thread(agent.shelf.settle, 5.0)
    kept = await asyncio.to_thread(agent.shelf.all)
    assert [(recording.component, recording.fault) for recording in kept] == [("id_reader", "unplugged")]
