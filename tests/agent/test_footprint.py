"""What the agent must not load, and that systemd sees a living one. Memory itself is measured by the benchmarks."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import Child
from support.waiting import wait_for

FORBIDDEN = (
    "sqlmodel",
    "sqlalchemy",
    "alembic",
    "cryptography",
    "escpos",
    "PIL",
    "qrcode",
    "httpx",
    "typer",
    "rich",
    "numpy",
    "prometheus_client",
    "orjson",
    "multiprocessing",
    "unittest",
)

MODULES = 542
"""About as many as there are now; a library costs some 80 KiB a module, so a new one is a decision."""

# The bundle of a kiosk has no rich; where it is installed structlog would take it, so it is hidden here.
LOADED = """
import asyncio, json, sys
sys.modules["rich"] = None
from pathlib import Path
from agent.app import Agent, prepare
from agent.settings import Settings, LocalApiSettings
from kit.clock import SystemClock
from kit.logs import configure
configure("test", level="error")

async def main():
    folder = Path(sys.argv[1])
    prepare(folder)
    agent = Agent(Settings(data_dir=folder, local_api=LocalApiSettings(port=0)), SystemClock(), "boot")
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run(stop=stop))
        await agent.local_api.started()
        await agent.health.look()
        stop.set()
    print(json.dumps(sorted(name for name, module in sys.modules.items() if module is not None)))

asyncio.run(main())
"""


@pytest.mark.timeout(30)
def test_the_agent_loads_nothing_heavy(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", LOADED, str(tmp_path / "agent")]
    done = subprocess.run(argv, capture_output=True, timeout=25, check=True, env=os.environ.copy())
    modules = json.loads(done.stdout.splitlines()[-1])
    loaded = {name.partition(".")[0] for name in modules}
    assert "aiohttp" in loaded
    assert loaded.isdisjoint(FORBIDDEN), loaded.intersection(FORBIDDEN)
    assert len(modules) <= MODULES


@pytest.mark.timeout(30)
async def test_systemd_hears_ready_and_the_watchdog(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(address))
        notify.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        environ = {
            "KIOSK_DATA_DIR": str(tmp_path / "agent"),
            "KIOSK_LOCAL_API__PORT": "0",
            "NOTIFY_SOCKET": str(address),
            "WATCHDOG_USEC": "300000",
        }
        with Child.of_module("agent", "run", log_dir=tmp_path, env=environ) as agent:
            loop = asyncio.get_running_loop()
            heard: list[bytes] = []
            loop.add_reader(notify, lambda: heard.append(notify.recv(256)))
            try:
                await wait_for(lambda: heard.count(b"WATCHDOG=1") >= 3, timeout_s=20.0, what="the watchdog")
                agent.terminate(timeout_s=10.0)
                await wait_for(lambda: b"STOPPING=1" in heard, timeout_s=5.0, what="the goodbye")
            finally:
                loop.remove_reader(notify)
    assert heard.index(b"READY=1") < heard.index(b"STOPPING=1")
