"""`make demo` as a newcomer starts it, small: everything comes up, scripts can bind to it, nothing is left behind."""

from __future__ import annotations

import json
import signal
import socket
from functools import partial
from pathlib import Path

import pytest

from support.ports import free_port
from support.processes import Child, http_get
from support.waiting import WaitTimeout, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]

KIOSKS = 3


def is_alive(pid: int) -> bool:
    """Whether that process still runs; one that nobody has waited for yet counts as ended."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False


def has_ended(child: Child) -> bool:
    """Whether the process is gone."""
    return not child.is_running


def is_up_or_gone(child: Child, file: Path) -> bool:
    """Whether there is nothing more to wait for."""
    return file.is_file() or not child.is_running


async def test_a_demo_comes_up_and_goes_away_whole(service_dir: Path) -> None:
    folder = service_dir / "demo"
    environ = {
        "DEMO_DIR": str(folder),
        "DEMO_KIOSKS": str(KIOSKS),
        "DEMO_FULL": "1",
        "DEMO_PORT": str(free_port()),
        "COLUMNS": "200",
    }
    started: list[int] = []
    for attempt in range(2):
        demo = Child.of_module("simulators", "demo", log_dir=service_dir, env=environ, name=f"demo-{attempt}")
        with demo:
            file = folder / "demo.json"
            try:
                await wait_for(partial(is_up_or_gone, demo, file), timeout_s=180.0, what="demo.json")
                facts = json.loads(file.read_bytes())
            except (WaitTimeout, OSError) as error:
                raise demo.failed("no demo.json") from error
            started = list(facts["pids"].values())
            assert [kiosk["kind"] for kiosk in facts["kiosks"]] == ["full", "light", "light"]
            page = await http_get(facts["dashboard_url"].rstrip("/") + "/api/v1/health")
            assert page.status == 200
            full = facts["kiosks"][0]
            token = Path(full["token_file"]).read_text(encoding="ascii")
            state = await http_get(
                f"{full['local_api_url']}/api/v1/state", headers={"Authorization": f"Bearer {token}"}
            )
            assert state.json()["uplink"]["state"] == "connected"
            bench = await http_get(facts["lab"]["bench_url"].partition("#")[0])
            assert bench.status == 200
            devices = {part["name"] for part in state.json()["components"]}
            assert {"id_reader", "scanner", "receipt_printer", "report_printer", "io_board", "ups"} <= devices
            with socket.create_connection((facts["mqtt"]["host"], facts["mqtt"]["port"]), timeout=5.0):
                pass
            assert file.stat().st_mode & 0o077 == 0
            assert all(is_alive(pid) for pid in started)
            demo.send(signal.SIGINT)
            await wait_for(partial(has_ended, demo), timeout_s=30.0, what="the demo ends")
            assert demo.exit_code == 0, demo.log()
        assert not any(is_alive(pid) for pid in started)
        assert not file.exists()
