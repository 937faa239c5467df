"""One device alone from the command line."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from simulators.lab.kiosk import DEVICES
from simulators.lab.single import add_to
from support.processes import Child
from support.waiting import wait_for

app = typer.Typer()
add_to(app)


@pytest.mark.system
@pytest.mark.timeout(30)
async def test_a_printer_alone_says_what_is_wrong_and_ends_clean(service_dir: Path) -> None:
    port = service_dir / "printer"
    words = f"device run receipt_printer --pty {port} --profile epson-tm-t88vi --fault paper_out"
    with Child.of_module("simulators", *words.split(), log_dir=service_dir, env=dict(os.environ)) as child:
        await child.logged("epson-tm-t88vi", timeout_s=20.0)
        line = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        os.write(line, bytes.fromhex("100404"))
        said = bytearray()

        def answered() -> bool:
            try:
                said.extend(os.read(line, 16))
            except BlockingIOError:
                return False
            return bool(said)

        await wait_for(answered, what="its status")
        os.close(line)
        assert said[0] & 0x60 == 0x60, "no paper"
        child.send(signal.SIGINT)
        assert await child.exited() == 0
    assert not port.is_symlink()


def test_every_device_is_listed() -> None:
    shown = CliRunner().invoke(app, ["list"]).output
    listed = {line.split()[0] for line in shown.splitlines() if not line.startswith(" ")}
    assert listed == {kind.kind.value for kind in DEVICES} - {"card_reader"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["card_reader", "--tcp", "0"], "lab run"),
        (["ups"], "--pty"),
        (["face_camera", "--pty", "x"], "--tcp"),
        (["ups", "--tcp", "0", "--profile", "apc-none"], "apc-bx650"),
        (["ups", "--tcp", "0", "--fault", "paper_out"], "on_battery"),
        (["ups", "--tcp", "0", "--fault", "battery:charge=101"], "charge"),
    ],
)
def test_what_cannot_run_is_said(words: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["run", *words], env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert told in result.output


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(app, ["run", "ups", "--tcp", str(taken.getsockname()[1])])
    assert result.exit_code == 2, result.output
    assert "错误" in result.output
