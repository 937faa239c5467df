"""A cable pulled out is silent, plugged in again it works; without root the tool says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.netns import NetLab, NoNamespacesError
from support.processes import Child
from support.waiting import wait_for

ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000)); print("up", flush=True)
while True:
    peer, _ = server.accept()
    while data := peer.recv(65536):
        peer.sendall(data)
"""

ASK = """
import socket, sys, time
peer = socket.create_connection((sys.argv[1], 7000), timeout=0.3)
size = int(sys.argv[2]); started = time.monotonic(); peer.settimeout(5)
peer.sendall(bytes(size)); got = 0
while got < size:
    got += len(peer.recv(65536))
print(time.monotonic() - started)
"""


def may_make_namespaces() -> bool:
    return os.getuid() == 0


def ask(lab: NetLab, address: str, size: int = 1) -> float | None:
    """Seconds an echo of `size` bytes took, None when nobody answered."""
    argv = lab.inside("kiosk", [sys.executable, "-I", "-S", "-c", ASK, address, str(size)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None


async def test_a_pulled_cable_is_silent_and_a_slow_one_slow(tmp_path: Path) -> None:
    if not may_make_namespaces():
        with pytest.raises(NoNamespacesError, match="need root"):
            NetLab().__enter__()
        return
    with NetLab() as lab:
        names = [lab.namespace("kiosk"), lab.namespace("server")]
        cable = lab.cable("kiosk", "server")
        argv = lab.inside("server", [sys.executable, "-I", "-S", "-c", ECHO, cable.address_b])
        with Child("echo", argv, tmp_path / "log") as echo:
            await echo.logged("up")
            assert await wait_for(lambda: ask(lab, cable.address_b) is not None)
            cable.pull_out()
            started = time.monotonic()
            assert ask(lab, cable.address_b) is None
            assert time.monotonic() - started >= 0.3
            cable.plug_in()
            assert await wait_for(lambda: ask(lab, cable.address_b) is not None)
            cable.limit_rate(kbit_per_s=800)
            slow_s = ask(lab, cable.address_b, 100_000)
            assert slow_s is not None
            assert slow_s > 0.5
            with pytest.raises(NoNamespacesError, match="tbf"):
                cable.limit_rate(kbit_per_s=800)
    assert not any(Path("/run/netns", name).exists() for name in names)


def test_without_iproute_the_tool_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoNamespacesError, match="apt-get install"):
        NetLab().__enter__()
