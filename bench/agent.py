"""The real agent beside an idle thingsboard-gateway: memory, processor time, and how soon it answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from bench import FOLDER, ROOT
from bench.figures import CpuMeter, cpu_s, rss_mib
from bench.harness import ROUNDS, Better, Goal, Row, load_note, row, say
from bench.lab import Bench, lab
from bench.site import Site, folder, site
from simulators.demo.hospital import asset_csv, assets
from support.broker import BrokerProcess, free_port
from support.processes import Child, http_get
from support.waiting import wait_for

GATEWAY = "thingsboard-gateway==3.8.5"
IDLE_S = 20.0
PREPARE_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Idle:
    """One round."""

    agent_rss_mib: float
    agent_percent: float
    agent_ready_s: float
    agent_ready_cpu_s: float
    agent_connected_s: float
    full_rss_mib: float
    """With all devices of the full kiosk."""
    full_percent: float
    gateway_rss_mib: float
    gateway_percent: float


async def agent() -> list[Row]:
    """Both idle and connected at the same time, in three rounds."""
    gateway_python = await asyncio.to_thread(_environment, "thingsboard", [GATEWAY])
    requirements = ROOT / "requirements-agent.txt"
    name = f"agent-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    agent_python = await asyncio.to_thread(_environment, name, ["--require-hashes", "-r", str(requirements)])
    bytecode = FOLDER / "bytecode"
    packages = [str(ROOT / name) for name in ("agent", "wire", "kit")]
    compiling = [str(agent_python), "-X", "no_debug_ranges", "-m", "kit.bytecode", str(bytecode), *packages]
    await asyncio.to_thread(subprocess.run, compiling, cwd=ROOT, check=True, timeout=PREPARE_TIMEOUT_S)
    async with site() as place, folder() as lab_folder, lab(lab_folder) as devices:
        await place.start_server()
        kiosk = Kiosk(place, agent_python, bytecode, devices, free_port())
        await kiosk.enrol()
        rounds = []
        for number in range(ROUNDS):
            found = await _round(kiosk, gateway_python, number)
            say(f"round {number + 1}/{ROUNDS} {found}")
            rounds.append(found)
    middle = {name: statistics.median(getattr(item, name) for item in rounds) for name in Idle.__slots__}
    agent_percent, gateway_percent = middle["agent_percent"], middle["gateway_percent"]
    took_s, cpu_time_s = middle["agent_connected_s"], middle["agent_ready_cpu_s"]
    note = f"processor time {cpu_time_s:.2f} s; connected in {took_s:.2f} s{load_note()}"
    half, one = (Goal(Better.LESS, bound, absolute=True) for bound in (0.5, 1.0))
    return [
        row("agent.rss", "MiB", middle["agent_rss_mib"], middle["gateway_rss_mib"], Goal(Better.LESS, 0.85)),
        row("agent.rss_all_devices", "MiB", middle["full_rss_mib"], middle["gateway_rss_mib"], Goal(Better.LESS, 1.0)),
        row("agent.cpu_all_devices", "% of a core", middle["full_percent"], gateway_percent, one, load_note()[2:]),
        row("agent.cpu_idle", "% of a core", agent_percent, gateway_percent, half, load_note()[2:]),
        row("agent.ready", "s", middle["agent_ready_s"], None, Goal(Better.LESS, 1.0, absolute=True), note),
    ]


@dataclass(slots=True)
class Kiosk:
    """A kiosk machine with the agent installed."""

    place: Site
    python: Path
    """With what a kiosk's bundle holds and nothing else."""
    bytecode: Path
    """What install.sh makes of it."""
    devices: Bench
    port: int

    @property
    def url(self) -> str:
        """Its local API."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def process(self, extra: Mapping[str, str] | None = None) -> Child:
        """Start the agent as its unit does, with these settings too; the caller ends it."""
        site_of = self.place.hospital
        folder = site_of.folder / "agent"
        environ = {
            "KIOSK_DATA_DIR": str(folder),
            "KIOSK_SERIAL": assets(1)[0].serial,
            "KIOSK_LOCAL_API__PORT": str(self.port),
            "KIOSK_FLEET__ENROL_URL": f"https://localhost:{site_of.kiosk_port}",
            "KIOSK_FLEET__CA_FILE": str(site_of.fleet_dir / "pki" / "ca.pem"),
            "KIOSK_FLEET__POLL_S": "1.0",
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(self.bytecode),
            **(extra or {}),
        }
        command = [str(self.python), "-m", "agent", "run"]
        return Child("agent", command, site_of.folder / "agent.log", env=environ)

    async def answers(self) -> bool:
        """Whether the local API does."""
        try:
            return (await http_get(f"{self.url}/health", timeout_s=1.0)).status in {200, 503}
        except OSError:
            return False

    async def view(self, name: str) -> Any:  # noqa: ANN401 - a JSON document
        """A document of the local API."""
        token = (self.place.hospital.folder / "agent" / "token").read_text(encoding="ascii").strip()
        reply = await http_get(f"{self.url}/{name}", headers={"Authorization": f"Bearer {token}"})
        assert reply.status == 200, reply.text
        return reply.json()

    async def is_connected(self) -> bool:
        """Whether the broker has it."""
        state = await self.view("state")
        return bool(state["uplink"]["state"] == "connected")

    async def has_all(self) -> bool:
        """Whether every device is in use."""
        devices = [
            one for one in (await self.view("state"))["components"] if one["name"] in self.devices.place["ports"]
        ]
        return bool(devices) and all(one["health"] == "ok" for one in devices)

    async def enrol(self) -> None:
        """Import the asset and confirm the pairing code, as an engineer does."""
        site_of = self.place.hospital
        csv = site_of.folder / "assets.csv"
        csv.write_text(asset_csv(assets(1)), encoding="utf-8")
        site_of.run("fleet_server", "import-assets", str(csv))
        with self.process():
            await wait_for(self.answers, timeout_s=20.0, what="the agent's local API")
            code = await wait_for(self._pairing_code, timeout_s=20.0, what="a pairing code")
            requests = await asyncio.to_thread(_pending, site_of.environ())
            kid = assets(1)[0].kid
            site_of.run("fleet_server", "enrolments", "confirm", requests[-1]["id"], "--code", str(code), "--kid", kid)
            await wait_for(self.is_connected, timeout_s=30.0, what="the enrolled agent to connect")

    async def _pairing_code(self) -> str | None:
        code: str | None = (await self.view("enrolment")).get("pairing_code")
        return code


def _pending(environ: dict[str, str]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "fleet_server", "enrolments", "list", "--json"]
    done = subprocess.run(command, env={**environ, "PATH": "/usr/bin"}, capture_output=True, check=True, timeout=60.0)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


async def _round(kiosk: Kiosk, gateway_python: Path, number: int) -> Idle:
    started_s = monotonic()
    async with AsyncExitStack() as stack:
        with kiosk.process() as ours:
            await wait_for(kiosk.answers, timeout_s=20.0, what="the agent's local API", poll_s=0.002)
            ready_s, ready_cpu_s = monotonic() - started_s, cpu_s(ours.pid)
            await wait_for(kiosk.is_connected, timeout_s=30.0, what="the agent to connect")
            connected_s = monotonic() - started_s
            where = kiosk.place.hospital.folder / f"gateway-{number}"
            theirs = await stack.enter_async_context(_gateway(gateway_python, where))
            await asyncio.sleep(IDLE_S)
            meters = CpuMeter((ours.pid,)), CpuMeter((theirs.pid,))
            await asyncio.sleep(IDLE_S)
            rss, percents = (rss_mib(ours.pid), rss_mib(theirs.pid)), [meter.percent for meter in meters]
        with kiosk.process(kiosk.devices.settings) as full:
            await wait_for(kiosk.answers, timeout_s=20.0, what="the agent's local API")
            await wait_for(kiosk.is_connected, timeout_s=30.0, what="the agent to connect")
            await wait_for(kiosk.has_all, timeout_s=60.0, what="all devices to be in use")
            await asyncio.sleep(IDLE_S)
            meter = CpuMeter((full.pid,))
            await asyncio.sleep(IDLE_S)
            return Idle(
                agent_rss_mib=rss[0],
                agent_percent=percents[0],
                agent_ready_s=ready_s,
                agent_ready_cpu_s=ready_cpu_s,
                agent_connected_s=connected_s,
                full_rss_mib=rss_mib(full.pid),
                full_percent=meter.percent,
                gateway_rss_mib=rss[1],
                gateway_percent=percents[1],
            )


@asynccontextmanager
async def _gateway(python: Path, folder: Path) -> AsyncIterator[Child]:
    """A gateway without connectors, connected to a broker of its own."""
    folder.mkdir()  # noqa: ASYNC240 - nothing else runs while a bench prepares its files
    conf = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type all\nlog_dest stderr\n"
    async with BrokerProcess(conf=conf) as broker:
        shipped = next(python.parent.parent.glob("lib/*/site-packages/thingsboard_gateway/config"))
        shutil.copytree(shipped, folder / "config")
        file = folder / "config" / "tb_gateway.json"
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings["thingsboard"] |= {"host": "127.0.0.1", "port": broker.port, "remoteConfiguration": False}
        settings["thingsboard"]["security"]["accessToken"] = "bench"
        settings["connectors"] = []
        file.write_text(json.dumps(settings), encoding="utf-8")
        (folder / "logs").mkdir()
        environ = {"TB_GW_CONFIG_DIR": str(folder / "config"), "TB_GW_LOGS_PATH": str(folder / "logs")}
        command = [str(python), "-c", "from thingsboard_gateway.tb_gateway import daemon; daemon()"]
        async with Child("gateway", command, folder / "gateway.log", env=environ, cwd=folder) as child:
            await child.ready(lambda: "(p" in broker.log(), timeout_s=30.0, what="the gateway to connect")
            yield child


def _environment(name: str, what: Sequence[str]) -> Path:
    """The interpreter of a virtual environment with these packages, made when it is not there."""
    home = FOLDER / name
    python = home / "bin" / "python3"
    done = home / "complete"
    if not done.is_file():
        say(f"installing {' '.join(what)} into {home}")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=PREPARE_TIMEOUT_S)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
        subprocess.run(install, check=True, timeout=PREPARE_TIMEOUT_S)
        done.touch()
    return python
