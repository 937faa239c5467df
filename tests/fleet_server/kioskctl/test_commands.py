"""Every command against a real server: what it prints, and how it ends."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fleet_server.kioskctl.commands.kiosks import _shown
from fleet_server.registry.pki import KeyPair
from fleet_server.staff.permissions import Role
from support.ports import free_port
from support.registry import HEAD, Machine
from support.shell import Shell
from support.staff import GOOD
from support.staff_site import StaffSite
from wire.enrolment import EnrolmentRequest
from wire.faults import FACTS, Fault

LINES = "".join(f"K-{number:04d},SN-{number},{number} 号厅,门诊,1F,,,k20\n" for number in range(1, 206))


async def _kiosks(shell: Shell) -> None:
    report = await shell.site.server.core.registry.import_assets(HEAD + LINES, actor="test", dry_run=False)
    assert report.created == 205


async def test_signing_in_and_out(shell: Shell) -> None:
    signed_in = await shell.signs_in("chief")
    assert (signed_in.exit_code, signed_in.err) == (0, "")
    assert "chief 已登录" in signed_in.out
    stored = tomllib.loads(shell.config.read_text())
    assert shell.config.stat().st_mode & 0o777 == 0o600
    assert stored["url"] == shell.site.url
    assert stored["token"] not in signed_in.out
    assert await shell.site.store.sessions() == []
    assert (await shell.run("users", "ls")).exit_code == 0
    assert (await shell.run("logout")).exit_code == 0
    assert "token" not in shell.config.read_text()
    assert await shell.site.store.tokens("chief") == []
    assert (await shell.run("users", "ls")).exit_code == 5
    assert (await shell.run("logout")).exit_code == 5
    refused = await shell.run("users", "ls", KIOSKCTL_TOKEN=stored["token"])
    assert refused.exit_code == 5


async def test_signing_in_again_withdraws_the_earlier_token(shell: Shell) -> None:
    await shell.signs_in("viewer")
    await shell.signs_in("viewer")
    assert len(await shell.site.store.tokens("viewer")) == 1
    assert (await shell.run("ls")).exit_code == 0


async def test_signing_in_with_something_wrong_keeps_nothing(shell: Shell) -> None:
    wrong = await shell.run("login", "--stdin", stdin=f"chief\nwrong-password\n{shell.site.code('chief')}\n")
    assert wrong.exit_code == 5
    assert not shell.config.exists()
    assert (await shell.run("login", "--stdin", stdin="chief\n")).exit_code == 2
    assert (await shell.run("login")).exit_code == 2


async def test_a_token_of_the_environment_is_enough(chief: Shell) -> None:
    token = tomllib.loads(chief.config.read_text())["token"]
    other = Shell(chief.site, chief.config.with_name("none.toml"))
    assert (await other.run("ls", KIOSKCTL_TOKEN=token)).exit_code == 0
    assert (await other.run("ls")).exit_code == 5


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["ls", "--limit", "-1"], ["show"], ["revoke", "k-0001"], ["telemetry", "k-0001"]]
)
async def test_wrong_usage(chief: Shell, arguments: list[str]) -> None:
    assert (await chief.run(*arguments)).exit_code == 2


async def test_nobody_answers(shell: Shell) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = await shell.run("ls", "--json", KIOSKCTL_URL=url, KIOSKCTL_TOKEN="kft_x")
    assert (ended.exit_code, ended.out) == (4, "")
    assert '"code": "unreachable"' in ended.err


async def test_who_may_not_is_refused(shell: Shell) -> None:
    await shell.signs_in("viewer")
    ended = await shell.run("revoke", "k-0001", "--reason", "lost", "--yes", "--json")
    assert ended.exit_code == 3
    assert '"code": "forbidden"' in ended.err
    assert ("viewer", "kiosk_states.revoke", "refused") in await shell.site.actions()


async def test_the_list_is_whole_and_filtered(chief: Shell) -> None:
    await _kiosks(chief)
    every = (await chief.run("ls", "--json")).document
    assert len(every) == 205
    assert len({row["kid"] for row in every}) == 205
    assert len((await chief.run("ls", "--json", "--limit", "3")).document) == 3
    found = await chief.run("ls", "-q", "K-0007")
    assert "k-0007" in found.out
    assert "共 1 台" in found.out
    assert (await chief.run("ls", "--json", "--area", "住院")).document == []
    assert (await chief.run("ls", "--presence", "sleepy")).exit_code == 3


async def test_one_kiosk_from_every_side(chief: Shell) -> None:
    await _kiosks(chief)
    assert (await chief.run("show", "k-0001", "--json")).document["place"] == "1 号厅"
    shown = (await chief.run("show", "k-0001")).out
    assert "1 号厅" in shown
    fields = set((await chief.run("show", "k-0001", "--json")).document) - {"certificates"}
    assert [name for name in sorted(fields) if f"({name})" not in shown] == []
    for command in (["presence", "k-0001"], ["events", "k-0001"], ["telemetry", "k-0001", "cpu_percent"]):
        ended = await chief.run(*command)
        assert ended.exit_code == 0, ended.err
        assert (await chief.run(*command, "--json")).exit_code == 0
    for kid in ("k-9999", "..", "a/b", "?x=1", "%00"):
        ended = await chief.run("show", kid)
        assert ended.exit_code in {1, 3}, (kid, ended)
        assert ended.out == ""


async def test_open_alarms(chief: Shell) -> None:
    fault = next(iter(Fault))
    await chief.site.server.core.alerts.raise_alarm("k-0001", "host", fault, {})
    assert FACTS[fault].zh in (await chief.run("alarms")).out
    (row,) = (await chief.run("alarms", "--kid", "k-0001", "--json")).document
    assert row["id"] == f"k-0001/host/{fault}"
    assert (await chief.run("alarms", "--kid", "k-0002", "--json")).document == []
    assert len((await chief.run("alarms", "catalogue", "--json")).document) == len(Fault)
    assert "docs/runbooks/paper.md" in (await chief.run("alarms", "catalogue")).out


async def test_an_alarm_of_the_server_itself_is_listed_and_disturbs_no_kiosk(chief: Shell) -> None:
    await _kiosks(chief)
    alarms = chief.site.server.core.alerts
    await alarms.raise_alarm("server", "broker", Fault.REVOCATION_NOT_ENFORCED, {"reason": "no rights"})
    shown = (await chief.run("alarms")).out
    assert FACTS[Fault.REVOCATION_NOT_ENFORCED].zh in shown
    assert len((await chief.run("ls", "--json")).document) == 205
    assert (await chief.run("show", "server")).exit_code == 3
    await alarms.clear_alarm("server", "broker", Fault.REVOCATION_NOT_ENFORCED)
    assert (await chief.run("alarms", "--json")).document == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
async def test_importing_assets(chief: Shell, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "assets.csv"
    file.write_text(HEAD + "K-0001,SN-1,门诊一楼大厅,门诊,1F,,,k20\n", encoding=encoding)
    checked = await chief.run("assets", "import", str(file), "--dry-run")
    assert checked.exit_code == 0
    assert "检查通过, 未写入" in checked.out
    assert (await chief.run("ls", "--json")).document == []
    done = await chief.run("assets", "import", str(file), "--json")
    assert (done.exit_code, done.document["created"]) == (0, 1)
    assert (await chief.run("show", "k-0001", "--json")).document["place"] == "门诊一楼大厅"


async def test_every_bad_line_is_shown_and_nothing_imported(chief: Shell, tmp_path: Path) -> None:
    file = tmp_path / "assets.csv"
    file.write_text(
        HEAD + "K-0001,SN-1,大厅,门诊,1F,,,k20\n!!,SN-2,大厅,门诊,1F,,,k20\nK-0003,SN-3,大厅,门诊,1F,x,,k20\n"
    )
    ended = await chief.run("assets", "import", str(file))
    assert ended.exit_code == 3
    shown = [line.split() for line in ended.out.splitlines()]
    assert [cells[0] for cells in shown] == ["行", "3", "4"]
    assert shown[1][1] == "asset_no"
    assert "未导入" in ended.err
    report = (await chief.run("assets", "import", str(file), "--json")).document
    assert [(item["line"], bool(item["column"]), bool(item["message"])) for item in report["errors"]] == [
        (3, True, True),
        (4, True, True),
    ]
    assert (await chief.run("ls", "--json")).document == []
    assert (await chief.run("assets", "import", str(tmp_path / "none.csv"))).exit_code == 1
    (tmp_path / "odd.csv").write_bytes(b"\xff\xff\xff")
    assert (await chief.run("assets", "import", str(tmp_path / "odd.csv"))).exit_code == 3


async def _asks(shell: Shell, machine: Machine) -> str:
    enrolment = shell.site.server.parts.enrolment
    assert enrolment is not None
    request = EnrolmentRequest(csr=machine.pair.csr_pem("kiosk"), serial=machine.serial, model="\x1b[31mK20")
    machine.ticket = await enrolment.request(request, "10.0.0.1")
    return machine.ticket.request_id


async def test_enrolling_a_machine(chief: Shell) -> None:
    await _kiosks(chief)
    machine, other = Machine(KeyPair(), "SN-1"), Machine(KeyPair(), "SN-2")
    first, second = await _asks(chief, machine), await _asks(chief, other)
    listed = await chief.run("enrolments", "ls")
    assert first in listed.out
    assert "\x1b" not in listed.out
    wrong = await chief.run("enrolments", "confirm", first, "--code", machine.wrong_code, "--kid", "k-0001")
    assert wrong.exit_code == 3
    right = await chief.run("enrolments", "confirm", first, "--code", machine.code, "--kid", "k-0001", "--json")
    assert (right.exit_code, right.document["state"]) == (0, "confirmed")
    assert (await chief.run("enrolments", "refuse", second, "--reason", "unknown machine")).exit_code == 0
    assert (await chief.run("enrolments", "ls", "--json")).document == []
    revoked = await chief.run("revoke", "k-0001", "--reason", "lost", "--yes", "--json")
    assert revoked.document["state"] == "revoked"
    assert (await chief.run("release", "k-0001")).exit_code == 3
    assert (await chief.run("revoke", "k-0002", "--reason", "lost", stdin="n\n")).exit_code == 3


async def test_accounts(chief: Shell) -> None:
    add = ["users", "add", "engineer", "--display-name", "工程师", "--role", "engineer", "--stdin"]
    weak = await chief.run(*add, stdin="short\n")
    assert (weak.exit_code, GOOD in weak.err) == (3, False)
    made = await chief.run(*add, stdin=f"{GOOD}\n")
    assert made.exit_code == 0
    assert "otpauth://totp/" in made.out
    assert (await chief.run(*add, stdin=f"{GOOD}\n")).exit_code == 3
    assert (await chief.run("users", "disable", "engineer", "--yes")).exit_code == 0
    assert not next(
        row for row in (await chief.run("users", "ls", "--json")).document if row["username"] == "engineer"
    )["is_active"]
    assert (await chief.run("users", "enable", "engineer", "--json")).document["is_active"]
    assert (await chief.run("users", "unlock", "engineer")).exit_code == 0
    assert (await chief.run("users", "unlock", "nobody")).exit_code == 3
    assert (await chief.run("users", "add", "x", "--display-name", "x", "--role", "engineer")).exit_code == 2
    assert "engineer" in (await chief.run("users", "ls")).out


async def test_an_account_is_recovered(chief: Shell, staff: StaffSite) -> None:
    await staff.adds("engineer", Role.ENGINEER)
    assert (await chief.run("users", "recover", "chief", "--yes")).exit_code == 3
    assert (await chief.run("users", "recover", "nobody", "--yes")).exit_code == 3
    assert (await chief.run("users", "recover", "engineer", stdin="n\n")).exit_code == 3
    assert (await chief.run("users", "recover", "engineer", "--reset", "x", "--yes")).exit_code == 2
    shown = (await chief.run("users", "recover", "engineer", "--yes")).out
    issued = (await chief.run("users", "recover", "engineer", "--reset", "totp", "--yes", "--json")).document
    assert (issued["reset"], issued["token"] in shown) == ("totp", False)
    assert issued["link"] == f"{staff.url}/recover#{issued['token']}"
    assert "等待恢复" in (await chief.run("users", "ls")).out
    body = {"token": issued["token"], "password": GOOD}
    assert (await staff.call("POST", "/api/v1/auth/recover", body=body)).status == 200
    assert "等待恢复" not in (await chief.run("users", "ls")).out


async def test_the_audit_trail_is_listed_exported_and_held_to_what_was_seen(chief: Shell, tmp_path: Path) -> None:
    await _kiosks(chief)
    assert "sign_in" in (await chief.run("audit")).out
    (row,) = (await chief.run("audit", "--action", "sign_in", "--json")).document
    assert row["actor"] == "chief"
    file = tmp_path / "audit.csv"
    assert (await chief.run("audit", "--export", str(file))).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    assert [int(item["no"]) for item in rows] == list(range(1, len(rows) + 1))
    first = (await chief.run("audit", "--verify", "--json")).document
    assert (first["is_whole"], first["noted_no"]) == (True, None)
    again = await chief.run("audit", "--verify")
    assert (again.exit_code, "含上次看到的" in again.out) == (0, True)
    heads = chief.config.with_name("kioskctl-audit-heads.json")
    assert heads.stat().st_mode & 0o777 == 0o600
    heads.write_text(heads.read_text().replace(first["head_chain"], "f" * 64))
    broken = await chief.run("audit", "--verify")
    assert broken.exit_code == 1
    assert f"第 {first['head_no']} 行" in broken.err


async def test_the_security_policy_is_shown_and_set(chief: Shell) -> None:
    shown = (await chief.run("policy", "--json")).document
    assert (shown["lock_after"], shown["version"]) == (5, 0)
    done = await chief.run("policy", "--set", "lock_after=3", "--set", "idle_minutes=30")
    assert (done.exit_code, "chief" in done.out) == (0, True)
    shown = (await chief.run("policy", "--json")).document
    assert (shown["lock_after"], shown["idle_minutes"], shown["password_length"]) == (3, 30, 12)
    assert (await chief.run("policy", "--set", "lock_after=0")).exit_code == 3
    for wrong in ("lock_after", "lock_after=x", "nothing=3"):
        assert (await chief.run("policy", "--set", wrong)).exit_code == 2


async def test_an_auditor_needs_no_other_role(shell: Shell) -> None:
    await shell.site.adds("auditor", Role.AUDITOR)
    await shell.signs_in("auditor")
    assert (await shell.run("audit", "--verify")).exit_code == 0
    assert (await shell.run("ls")).exit_code == 3


def _python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=9,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
    )


def test_the_program_itself(tmp_path: Path) -> None:
    environ = {"KIOSKCTL_CONFIG": str(tmp_path / "none.toml"), "KIOSKCTL_URL": "http://127.0.0.1:1"}
    ended = _python("-m", "fleet_server.kioskctl", "users", "ls", **environ)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert "kioskctl login" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_imports_nothing_of_the_server() -> None:
    code = (
        "import sys, fleet_server.kioskctl.__main__\n"
        "print(*[name for name in sys.modules if name.partition('.')[0] in ('fleet_server', 'sqlalchemy', 'agent')])"
    )
    loaded = _python("-c", code).stdout.split()
    assert [name for name in loaded if name != "fleet_server" and not name.startswith("fleet_server.kioskctl")] == []


def test_functions_and_consumables_are_one_line_each() -> None:
    paper = {"component": "receipt_printer", "code": "paper_out"}
    functions = [
        {"function": "pay", "state": "lost", "because": [paper]},
        {"function": "query", "state": "available", "because": []},
    ]
    assert _shown("functions", functions) == "pay lost (receipt_printer paper_out)"
    assert _shown("functions", functions[1:]) == "全部可用 (all available)"
    assert _shown("functions", []) is None
    roll = {"component": "receipt_printer", "consumable": "paper", "level": "low", "percent": 7.4, "days_left": 1.6}
    assert _shown("consumables", [roll]) == "receipt_printer paper low 7 %, 2 天 (days)"
