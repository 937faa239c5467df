"""Server and broker under accounts of their own: who may read what, and how a revocation still gets through."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fleet_server.app import MIGRATIONS
from fleet_server.errors import SetupError
from fleet_server.registry.doctor import _files
from fleet_server.registry.installation import Installation
from fleet_server.registry.provisioning import initialise
from fleet_server.settings import Settings
from kit.clock import SystemClock
from support.broker import BROKER_USER, BrokerProcess
from support.ports import free_port
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(60)
ROOT = Path(__file__).resolve().parents[3]
CLOCK = SystemClock()
SERVER_USER = "daemon"
"""Stands for `fleet-server`: an account every Debian has, and that owns nothing."""
AS_SERVER = """
import asyncio, os, sys
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.installation import Installation
from fleet_server.settings import Settings
from kit.clock import SystemClock
if os.getuid() == 0:
    account = int(sys.argv[1])
    os.setgroups([]); os.setgid(account); os.setuid(account)
settings = Settings.model_validate_json(sys.stdin.read())
installation = Installation(settings)
control = BrokerControl(installation, installation.load_authority(), SystemClock())
asyncio.run(control.put_revocations_in_force([]))
print("in force")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a data directory that belongs to the server's account; to us when we are not root."""
    for above in (tmp_path, *tmp_path.parents):
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(above.stat().st_mode | stat.S_IXOTH)
    data = tmp_path / "fleet"
    data.mkdir(mode=0o711)
    if os.getuid() == 0:
        owner = pwd.getpwnam(SERVER_USER)
        os.chown(data, owner.pw_uid, owner.pw_gid)
    return data


def settings_of(folder: Path, command: tuple[str, ...]) -> Settings:
    broker = {"port": free_port(), "listen": "127.0.0.1", "reload_command": command}
    return Settings.model_validate({"data_dir": folder, "broker": broker})


def test_without_a_command_init_says_so_and_makes_nothing(folder: Path) -> None:
    if os.getuid() == 0:
        with pytest.raises(SetupError, match=r"set broker\.reload_command in .*fleet\.toml"):
            asyncio.run(initialise(settings_of(folder, ()), MIGRATIONS, CLOCK))
        assert list(folder.iterdir()) == []
    else:
        asyncio.run(initialise(settings_of(folder, ()), MIGRATIONS, CLOCK))
        assert not Installation(settings_of(folder, ())).is_shared()


async def test_each_account_reads_what_it_needs_and_a_revocation_gets_through(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "reload.sh"
    script.write_text(f"#!/bin/sh\necho >> {tmp_path}/asked\n")
    script.chmod(0o755)
    (tmp_path / "asked").touch()
    (tmp_path / "asked").chmod(0o666)
    settings = settings_of(folder, (str(script),))
    installation = Installation(settings)
    for _ in range(2):
        await initialise(settings, MIGRATIONS, CLOCK)
    assert "pid_file" not in installation.conf_file.read_text()
    if os.getuid() == 0:
        _owners_are_right(installation)
    findings = await asyncio.to_thread(_files, installation, CLOCK.utc())
    assert [item.check for item in findings if not item.ok] == ["吊销列表已生效 (CRL in force)"]
    async with BrokerProcess(conf_path=installation.conf_file, port=settings.broker.port) as broker:
        owner = folder.stat().st_uid
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            AS_SERVER,
            str(owner),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

        async def obey() -> None:
            """Do what the service manager does for whoever may ask it."""
            asked = tmp_path / "asked"
            while True:
                await wait_for(lambda: asked.stat().st_size > 0, timeout_s=30.0, what="somebody to ask")
                os.truncate(asked, 0)
                os.kill(broker.pid, signal.SIGHUP)

        obeying = asyncio.get_running_loop().create_task(obey(), name="service manager")
        out, err = await child.communicate(json.dumps(settings.model_dump(mode="json")).encode())
        obeying.cancel()
        assert out.decode() == "in force\n", err.decode()
    findings = await asyncio.to_thread(_files, installation, CLOCK.utc())
    assert [item.check for item in findings if not item.ok] == []


def _owners_are_right(installation: Installation) -> None:
    server, broker = pwd.getpwnam(SERVER_USER), pwd.getpwnam(BROKER_USER)
    for path in installation.root.rglob("*"):
        found, inside = path.stat(), installation.broker_dir in (path, *path.parents)
        is_data = path == installation.broker_dir / "data"
        assert found.st_uid == (broker.pw_uid if is_data else server.pw_uid), path
        assert found.st_gid == (broker.pw_gid if inside else server.pw_gid), path
        if path.suffix == ".key" and path != installation.broker_key_file:
            assert stat.S_IMODE(found.st_mode) == 0o600, path
    assert stat.S_IMODE(installation.broker_key_file.stat().st_mode) == 0o640
    assert stat.S_IMODE((installation.root / "first-admin.token").stat().st_mode) == 0o600
