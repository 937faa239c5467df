"""The tools for children: they wait for conditions, show logs, end by pid and find what is left over."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path

import pytest
from aiohttp import web

from support.ports import free_port
from support.processes import (
    Child,
    ChildFailed,
    assert_no_leftovers,
    descendants,
    http_get,
    listening_ports,
    session_members,
)
from support.waiting import WaitTimeout, wait_for, wait_until

PYTHON = [sys.executable, "-I", "-S", "-c"]
SLEEPER = "import signal; print('up', flush=True); signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
SERVER = "import signal, socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); signal.pause()"
PARENT = (
    "import subprocess, sys; p = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import signal; signal.pause()']);"
    "print('child', p.pid, flush=True); p.wait()"
)


async def test_a_child_is_ready_when_its_condition_is_true_and_ends_on_term(tmp_path: Path) -> None:
    child = Child("sleeper", [*PYTHON, SLEEPER], tmp_path / "log")
    async with child:
        await child.logged("up")
        assert child.pid in descendants()
        assert child.is_running
        assert child.terminate() == -signal.SIGTERM
    assert child.exit_code == -signal.SIGTERM
    assert child.pid not in descendants()


async def test_a_child_that_ends_early_fails_with_its_log(tmp_path: Path) -> None:
    child = Child("early", [*PYTHON, "raise SystemExit('no such broker')"], tmp_path / "log")
    with child, pytest.raises(ChildFailed, match=r"(?s)exit code 1.*no such broker"):
        await child.logged("up")


async def test_a_child_that_stays_silent_fails_with_the_condition(tmp_path: Path) -> None:
    with Child("mute", [*PYTHON, SLEEPER], tmp_path / "log") as child, pytest.raises(ChildFailed, match="'ready'"):
        await child.logged("ready", timeout_s=0.2)


async def test_a_child_deaf_to_term_is_killed_and_reported(tmp_path: Path) -> None:
    with Child("deaf", [*PYTHON, DEAF], tmp_path / "log") as child:
        await child.logged("up")
        with pytest.raises(ChildFailed, match="ignored SIGTERM"):
            child.terminate(timeout_s=0.1)
        assert not child.is_running


async def test_kill9_leaves_no_time_for_goodbye_and_restart_keeps_the_log(tmp_path: Path) -> None:
    child = Child("twice", [*PYTHON, SLEEPER], tmp_path / "log").start()
    await child.logged("up")
    child.kill9()
    assert child.exit_code == -signal.SIGKILL
    with child:
        await wait_for(lambda: child.log().count("up") == 2)


async def test_closing_a_child_ends_what_it_started_even_when_orphaned(tmp_path: Path) -> None:
    child = Child("parent", [*PYTHON, PARENT], tmp_path / "log").start()
    await child.logged("child")
    grandchild = int(child.log().split()[1])
    child.kill9()
    assert grandchild in session_members(child.pid)
    child.close()
    await wait_for(lambda: session_members(child.pid) == [])


async def test_a_child_dies_with_the_test_run(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path; from support.processes import Child; import signal\n"
        f"child = Child('inner', {[*PYTHON, SLEEPER]!r}, Path({str(tmp_path / 'inner')!r})).start()\n"
        "print('inner', child.pid, flush=True); signal.pause()"
    )
    outer = Child("outer", [sys.executable, "-c", script], tmp_path / "outer").start()
    await outer.logged("inner")
    inner = int(outer.log().split()[1])
    assert session_members(inner) == [inner]
    outer.kill9()
    await wait_for(lambda: session_members(inner) == [])


def test_leftover_children_are_named_and_killed() -> None:
    left = subprocess.Popen([*PYTHON, "import signal; signal.pause()"], stdout=subprocess.DEVNULL)
    assert_no_leftovers(known=[left.pid], timeout_s=0.1)
    with pytest.raises(AssertionError, match=rf"{left.pid} .*signal.pause"):
        assert_no_leftovers(timeout_s=0.1)
    assert left.wait(timeout=5) == -signal.SIGKILL


def test_a_shared_child_and_what_it_starts_are_spared(tmp_path: Path) -> None:
    with Child("shared", [*PYTHON, PARENT], tmp_path / "log", outlives_test=True) as shared:
        wait_until(lambda: "child" in shared.log())
        assert len(descendants(shared.pid)) == 1
        assert_no_leftovers(timeout_s=0.1)


async def test_wait_for_takes_plain_and_async_conditions_and_says_what_it_missed() -> None:
    answers = iter([0, "", None, "seven"])

    async def asked() -> str | int | None:
        return next(answers)

    assert await wait_for(asked) == "seven"
    countdown = iter(range(3, -1, -1))
    assert await wait_for(lambda: next(countdown) == 0)
    with pytest.raises(WaitTimeout, match=r"0\.05 s for the moon; last seen: 0"):
        await wait_for(lambda: 0, timeout_s=0.05, what="the moon")
    with pytest.raises(WaitTimeout, match="last seen: False"):
        wait_until(lambda: False, timeout_s=0.05)


async def test_a_hanging_async_condition_is_cut_at_the_deadline() -> None:
    async def hang() -> bool:
        await wait_for(lambda: False, timeout_s=60)
        return True

    condition: Awaitable[bool] = wait_for(hang, timeout_s=0.05, what="a hanging thing")
    with pytest.raises(WaitTimeout, match="hung"):
        await condition


async def test_http_get_reads_status_headers_and_body() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"q": request.query["q"], "cookie": request.headers.get("Cookie")}, status=418)

    app = web.Application()
    app.router.add_get("/tea", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        reply = await http_get(f"http://127.0.0.1:{port}/tea?q=1")
    finally:
        await runner.cleanup()
    assert (reply.status, reply.json()) == (418, {"q": "1", "cookie": None})
    assert reply.headers["Content-Type"].startswith("application/json")


def test_free_ports_differ_and_lie_below_the_outgoing_range() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert max(ports) < first_outgoing


async def test_root_runs_a_child_as_another_user(tmp_path: Path) -> None:
    user = "nobody" if os.getuid() == 0 else None
    with Child("id", ["/usr/bin/id", "-u"], tmp_path / "log", cwd=Path("/"), user=user) as child:
        assert await child.exited() == 0
    assert int(child.log()) == (pwd.getpwnam(user).pw_uid if user else os.getuid())


async def test_a_port_counts_only_for_the_process_that_listens_on_it(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert port in listening_ports(os.getpid())
        with Child("other", [*PYTHON, SLEEPER], tmp_path / "other") as other:
            await other.logged("up")
            assert not other.listens_on(port)
    with Child("server", [*PYTHON, SERVER, str(port)], tmp_path / "server") as server:
        await server.ready(lambda: server.listens_on(port))
    assert not server.listens_on(port)
