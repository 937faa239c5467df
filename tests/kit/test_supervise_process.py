"""Signals and systemd, with real processes and a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kit.supervise import SdNotifier, serve, spawn
from support.processes import Child
from support.waiting import wait_for

STUBBORN = """
import asyncio, sys
from kit.supervise import serve

class Worker:
    name = "worker"

    async def run(self):
        print("began", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            print("ending", flush=True)
            await asyncio.sleep(float(sys.argv[1]))
            print("ended", flush=True)

asyncio.run(serve([Worker()]))
print("over", flush=True)
"""


def child(tmp_path: Path, goodbye_s: float) -> Child:
    return Child("worker", [sys.executable, "-c", STUBBORN, str(goodbye_s)], tmp_path / "worker.log")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_signal_ends_the_process_in_order(tmp_path: Path, number: signal.Signals) -> None:
    async with child(tmp_path, 0.0) as process:
        await process.logged("began")
        process.send(number)
        assert await process.exited() == 0
        lines = [line for line in process.log().splitlines() if "{" not in line and "process.stopping" not in line]
        assert lines == ["began", "ending", "ended", "over"]
        assert f"signal={number.name}" in process.log()


@pytest.mark.parametrize(
    ("first", "second", "exit_code"),
    [
        (signal.SIGTERM, signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT, -signal.SIGINT),
    ],
)
async def test_a_second_signal_of_either_kind_ends_it_at_once(
    tmp_path: Path, first: signal.Signals, second: signal.Signals, exit_code: int
) -> None:
    async with child(tmp_path, 3_600.0) as process:
        await process.logged("began")
        process.send(first)
        await process.logged("ending")
        process.send(second)
        assert await process.exited() == exit_code
        assert "ended" not in process.log()


async def test_signal_handlers_are_gone_afterwards() -> None:
    stop = asyncio.Event()
    before = signal.getsignal(signal.SIGTERM)
    async with asyncio.TaskGroup() as group:
        task = spawn(group, serve([], stop=stop), "serve")
        await wait_for(lambda: signal.getsignal(signal.SIGTERM) is not before)
        stop.set()
        await task
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_outside_the_main_thread_signals_are_left_to_the_owner() -> None:
    async def main() -> None:
        stop = asyncio.Event()
        stop.set()
        await asyncio.to_thread(asyncio.run, serve([], stop=stop))

    asyncio.run(main())


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        while True:
            try:
                self.heard.append(self.socket.recv(4_096).decode())
            except BlockingIOError:
                return self.heard


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(str(tmp_path / "notify"))
    with closing(made.socket):
        yield made


def environ(systemd: Systemd, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(systemd.socket.getsockname()), **more}


async def test_systemd_hears_readiness_status_and_the_end(systemd: Systemd) -> None:
    notifier = SdNotifier(environ(systemd))
    notifier.ready()
    notifier.status("100 kiosks\nREADY=0")
    notifier.stopping()
    assert systemd.listen() == ["READY=1", "STATUS=100 kiosks READY=0", "STOPPING=1"]


async def test_the_watchdog_is_petted_three_times_an_interval_while_all_is_well(systemd: Systemd) -> None:
    notifier = SdNotifier(environ(systemd, WATCHDOG_USEC="60000", WATCHDOG_PID=str(os.getpid())))
    is_alive = True
    notifier.watch(lambda: is_alive)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        began_s = loop.time()
        task = spawn(group, notifier.run(), notifier.name)
        await wait_for(lambda: systemd.listen().count("WATCHDOG=1") >= 4)
        assert loop.time() - began_s >= 0.06
        is_alive = False
        await asyncio.sleep(0.03)  # a pet that was on its way
        count = len(systemd.listen())
        await asyncio.sleep(0.1)  # there is no condition for silence
        assert len(systemd.listen()) == count
        task.cancel()


async def test_serve_tells_systemd_that_it_stops_before_services_end(systemd: Systemd) -> None:
    stop = asyncio.Event()
    heard_at_end: list[str] = []

    class Worker:
        name = "worker"

        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                heard_at_end.extend(systemd.listen())

    async with asyncio.TaskGroup() as group:
        task = spawn(group, serve([Worker()], notifier=SdNotifier(environ(systemd)), stop=stop), "serve")
        await asyncio.sleep(0)
        stop.set()
        await task
    assert heard_at_end == ["STOPPING=1"]


async def test_an_abstract_socket_is_reached_too() -> None:
    name = f"kit-test-{os.getpid()}-{id(object())}"
    systemd = Systemd(f"\0{name}")
    with closing(systemd.socket):
        SdNotifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert systemd.listen() == ["READY=1"]


@pytest.mark.parametrize("extra", [{}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
async def test_without_a_socket_or_a_watchdog_of_ours_nothing_happens(extra: dict[str, str]) -> None:
    notifier = SdNotifier(extra)
    notifier.ready()
    await notifier.run()


async def test_a_systemd_that_is_gone_or_does_not_read_is_logged_once_and_blocks_nobody(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    notifier = SdNotifier({"NOTIFY_SOCKET": address})
    with capture_logs() as lines:
        notifier.ready()
        notifier.status("again")
    assert [line["event"] for line in lines] == ["systemd.unreachable"]
    systemd = Systemd(address)
    with closing(systemd.socket), capture_logs() as lines:
        for _ in range(1_000):
            notifier.status("x" * 1_000)
    assert [line["error"] for line in lines] == ["BlockingIOError"]
