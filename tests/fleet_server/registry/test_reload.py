"""How the broker is told: a real Mosquitto, real commands that work, fail and hang, and the alarm after that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from fleet_server.errors import BrokerError
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.doctor import _files
from fleet_server.registry.enforcement import ALARM_AFTER_S, BROKER, SERVER, RevocationDuty
from fleet_server.registry.installation import Installation
from fleet_server.registry.provisioning import lab_identities
from fleet_server.registry.store import RegistryStore
from fleet_server.settings import BrokerSettings
from kit.clock import ManualClock, SystemClock
from kit.store import Database
from support.registry import Site
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault

pytestmark = pytest.mark.timeout(40)
CLOCK = SystemClock()
Script = Callable[[str], tuple[str, ...]]


class Alarms:
    """What is up."""

    def __init__(self) -> None:
        self.up: dict[str, Mapping[str, Scalar]] = {}

    async def raise_alarm(self, kid: str, component: str, code: Fault, detail: Mapping[str, Scalar]) -> None:
        assert (component, code) == (BROKER, Fault.REVOCATION_NOT_ENFORCED)
        assert kid not in self.up, "raised twice"
        self.up[kid] = detail

    async def clear_alarm(self, kid: str, component: str, code: Fault) -> None:
        assert (component, code) == (BROKER, Fault.REVOCATION_NOT_ENFORCED)
        self.up.pop(kid, None)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Give a maker of commands: a shell script with the given lines, and an argument."""

    def make(text: str) -> tuple[str, ...]:
        file = tmp_path / "reload.sh"
        file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        file.chmod(0o755)
        return (str(file), str(tmp_path))

    return make


def told_by(site: Site, command: tuple[str, ...], *, timeout_s: float = 10.0) -> None:
    """Have the server use this command; without it no process would be found."""
    update = {"reload_command": command, "reload_timeout_s": timeout_s, "pid_file": Path("/nonexistent")}
    broker = site.settings.broker.model_copy(update=update)
    site.installation.settings = site.settings.model_copy(update={"broker": broker})


def control_of(site: Site, *, reload_timeout_s: float = 3.0) -> BrokerControl:
    return BrokerControl(site.installation, site.authority, CLOCK, reload_timeout_s=reload_timeout_s)


def works(site: Site) -> str:
    return f'echo "$@" >> "$1/told"; kill -HUP {site.broker.pid}'


async def found(installation: Installation, check: str) -> tuple[bool, str]:
    findings = await asyncio.to_thread(_files, installation, CLOCK.utc())
    finding = next(item for item in findings if check in item.check)
    assert bool(finding.remedy) is not finding.ok
    return finding.ok, finding.detail


async def test_a_command_takes_the_list_to_the_broker(site: Site, script: Script, tmp_path: Path) -> None:
    told_by(site, (*script(works(site)), "; touch $1/shell"))
    assert (await found(site.installation, "CRL in force"))[0] is False
    await control_of(site).put_revocations_in_force([])
    assert (tmp_path / "told").read_text().splitlines()[0] == f"{tmp_path} ; touch $1/shell"
    assert not (tmp_path / "shell").exists()
    assert (await found(site.installation, "CRL in force")) == (True, "代理已采用当前列表")
    assert (await found(site.installation, "broker reload"))[0] is True


async def test_a_command_that_fails_says_why(site: Site, script: Script) -> None:
    told_by(site, script("echo working >&2; printf 'Access denied\\n\\n' >&2; exit 3"))
    with pytest.raises(BrokerError, match=r"failed with exit code 3: Access denied$"):
        await control_of(site).reload()


async def test_a_command_that_says_a_lot_is_quoted_by_its_end(site: Site, script: Script) -> None:
    told_by(site, script("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1"))
    with pytest.raises(BrokerError, match=r"code 1: x{300}$"):
        await control_of(site).reload()


async def test_a_command_that_hangs_is_killed_with_all_it_started(site: Site, script: Script, tmp_path: Path) -> None:
    told_by(site, script('sleep 600 & echo $! > "$1/child"; echo $$ > "$1/parent"; wait'), timeout_s=1.0)
    started_s = CLOCK.monotonic()
    with pytest.raises(BrokerError, match="did not end within 1 s and was killed"):
        await control_of(site).reload()
    assert CLOCK.monotonic() - started_s < 5
    pids = [int((tmp_path / name).read_text()) for name in ("child", "parent")]
    await wait_for(lambda: not any(map(_lives, pids)), what="both to be gone")


async def test_a_process_that_stays_behind_does_not_hold_the_server_up(site: Site, script: Script) -> None:
    told_by(site, script("sleep 2 & exit 0"))
    started_s = CLOCK.monotonic()
    await control_of(site).reload()
    assert CLOCK.monotonic() - started_s < 1.5


async def test_a_broker_that_does_not_obey_is_an_alarm_until_it_does(
    site: Site, script: Script, sqlite_fleet_db: Database, tmp_path: Path
) -> None:
    await lab_identities(site.settings, site.authority, CLOCK, ["zzj-001", "zzj-002"], tmp_path / "ids")
    store, alarms, clock = RegistryStore(sqlite_fleet_db), Alarms(), ManualClock()
    told_by(site, script("echo no rights >&2; exit 1"))
    async with store.writing() as work:
        revoked = [item.fingerprint for item in await work.certificates_of("zzj-001")]
        await work.revoke_certificates(revoked, at=CLOCK.utc(), reason="stolen", cut=True)
    duty = RevocationDuty(store, control_of(site), clock, alarms)
    await duty._try()
    clock.advance(ALARM_AFTER_S - 1)
    await duty._try()
    assert alarms.up == {}
    clock.advance(1)
    await duty._try()
    await duty._try()
    assert set(alarms.up) == {SERVER, "zzj-001"}
    assert alarms.up[SERVER] == {"reason": "the reload command failed with exit code 1: no rights", "waiting": 1}
    script(works(site))
    await duty._try()
    assert alarms.up == {}
    assert await store.unenforced() == []


async def test_an_alarm_of_an_earlier_process_is_cleared(site: Site, script: Script, sqlite_fleet_db: Database) -> None:
    alarms = Alarms()
    alarms.up[SERVER] = {}
    told_by(site, script(works(site)))
    await RevocationDuty(RegistryStore(sqlite_fleet_db), control_of(site), CLOCK, alarms)._try()
    assert alarms.up == {}


async def test_a_list_that_somebody_else_wrote_is_proved_again(
    site: Site, script: Script, sqlite_fleet_db: Database, tmp_path: Path
) -> None:
    told_by(site, script(works(site)))
    duty = RevocationDuty(RegistryStore(sqlite_fleet_db), control_of(site), CLOCK)
    await duty.enforce()
    times = len((tmp_path / "told").read_text().splitlines())
    await duty.enforce()
    assert len((tmp_path / "told").read_text().splitlines()) == times
    await duty.write_list()
    assert (await found(site.installation, "CRL in force")) == (False, "代理尚未采用当前的吊销列表")
    await duty.enforce()
    assert len((tmp_path / "told").read_text().splitlines()) > times
    assert (await found(site.installation, "CRL in force"))[0] is True


async def test_a_list_that_cannot_be_written_is_named(site: Site) -> None:
    site.installation.crl_file = site.installation.broker_dir / "gone" / "crl.pem"
    with pytest.raises(BrokerError, match=r"crl\.pem cannot be written: No such file"):
        await control_of(site).put_revocations_in_force([])


async def test_doctor_sees_that_nobody_can_be_told(site: Site, tmp_path: Path) -> None:
    told_by(site, (str(tmp_path / "missing"),))
    assert (await found(site.installation, "broker reload")) == (False, f"{tmp_path / 'missing'} 不存在或不可执行")
    told_by(site, ())
    assert (await found(site.installation, "broker reload"))[0] is False
    own = tmp_path / "own.pid"
    own.write_text(f"{os.getpid()}\n")
    broker = site.settings.broker.model_copy(update={"pid_file": own})
    site.installation.settings = site.settings.model_copy(update={"broker": broker})
    assert (await found(site.installation, "broker reload")) == (True, f"信号 SIGHUP, 进程 {os.getpid()}")


@pytest.mark.parametrize("command", [("systemctl", "reload"), ("./reload.sh",), ("",), ("/bin/sh", "a\0b")], ids=str)
def test_a_command_needs_its_whole_path(command: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        BrokerSettings.model_validate({"reload_command": command})


def _lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
