"""The command line as an operator meets it: output, exit codes, and that a refusal changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from typer.testing import CliRunner, Result

from fleet_server.__main__ import Exit, cli
from fleet_server.staff.model import RecoverForm
from kit.clock import ManualClock, SystemClock
from kit.store import Database
from support.ports import free_port
from support.registry import HEAD
from support.staff import Desk, make_desk

Run = Callable[..., Result]
T = TypeVar("T")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `fleet-server …` in a fresh directory."""
    for name, value in {
        "FLEET_DATA_DIR": str(tmp_path / "fleet"),
        "FLEET_BROKER__PORT": str(free_port()),
        "FLEET_LAB": "true",
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)

    return invoke


def test_init_twice_then_import_and_list(run: Run, tmp_path: Path) -> None:
    assert run("init").exit_code == 0
    again = run("init")
    assert again.exit_code == 0
    assert "已有  CA" in again.output
    file = tmp_path / "assets.csv"
    file.write_text(HEAD + "zzj-001,SN-1,大厅,门诊,1F,,,k20\n", encoding="gbk")
    done = run("import-assets", str(file), "--json")
    assert (done.exit_code, json.loads(done.output)["created"]) == (0, 1)
    assert json.loads(run("enrolments", "list", "--json").output) == []


def test_a_broken_list_is_named_line_by_line_and_imports_nothing(run: Run, tmp_path: Path) -> None:
    run("init")
    file = tmp_path / "assets.csv"
    file.write_text(HEAD + "zzj-001,,大厅,门诊,,,,k20\n#,,p,a,,,,k20\nzzj-002,=1,p,a,,,,k20\n", encoding="utf-8")
    refused = run("import-assets", str(file))
    assert refused.exit_code == Exit.REFUSED
    assert "第 3 行  asset_no" in refused.output
    assert "第 4 行  serial" in refused.output
    file.write_text(HEAD + "zzj-001,,大厅,门诊,,,,k20\n", encoding="utf-8")
    assert json.loads(run("import-assets", str(file), "--dry-run", "--json").output)["created"] == 1


def test_without_init_every_command_says_what_to_do(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "assets.csv"
    file.write_text(HEAD)
    for command in (
        ["run"],
        ["worker-cert", "second"],
        ["revoke", "zzj-001", "--reason", "x"],
        ["lab-identities", "--count", "1", "--out", str(tmp_path / "ids")],
    ):
        result = run(*command)
        assert result.exit_code in {Exit.SETUP, Exit.UNREACHABLE}, (command, result.output)
        assert "Traceback" not in result.output


def test_settings_that_are_wrong_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_BROKER__PRT", "1")
    result = run("init")
    assert result.exit_code == Exit.SETUP
    assert "FLEET_BROKER__PRT" in result.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "--role", "ingest,nonsense"], Exit.USAGE),
        (["lab-identities", "--out", "x"], Exit.USAGE),
        (["lab-identities", "--out", "x", "--count", "1", "--kids", "y"], Exit.USAGE),
        (["lab-identities", "--out", "x", "--kids", "/nonexistent"], Exit.REFUSED),
        (["import-assets", "/nonexistent"], Exit.REFUSED),
        (["worker-cert", "Über"], Exit.SETUP),
        (["revoke", "zzj-404", "--reason", "x"], Exit.REFUSED),
        (["enrolments", "confirm", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--code", "12345", "--kid", "zzj-001"], Exit.REFUSED),
        (["enrolments", "confirm", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--code", "123456", "--kid", "zzj-001"], Exit.REFUSED),
    ],
)
def test_wrong_input_has_its_exit_code(run: Run, arguments: list[str], code: Exit) -> None:
    run("init")
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output


def test_a_revocation_without_a_broker_is_kept_and_said_to_be_open(run: Run, tmp_path: Path) -> None:
    run("init")
    assert run("lab-identities", "--count", "1", "--out", str(tmp_path / "ids")).exit_code == 0
    result = run("revoke", "sim-0001", "--reason", "stolen")
    assert result.exit_code == Exit.UNREACHABLE
    assert "已吊销" in result.output
    findings = {item["check"]: item["ok"] for item in json.loads(run("doctor", "--json").output)}
    assert not findings["尚未生效的吊销 (not enforced)"]


def test_another_worker_gets_certificates_and_rights(run: Run, tmp_path: Path) -> None:
    run("init")
    result = run("worker-cert", "second")
    assert result.exit_code == 0
    assert "user fleet-second-duties" in (tmp_path / "fleet" / "broker" / "acl").read_text()
    assert "未重新加载" in result.output


def test_doctor_finds_what_was_broken(run: Run, tmp_path: Path) -> None:
    run("init")
    fleet = tmp_path / "fleet"
    (fleet / "pki" / "server.key").chmod(0o644)
    with (fleet / "broker" / "acl").open("a") as acl:
        acl.write("pattern readwrite #\n")
    (fleet / "broker" / "crl.pem").write_text("nothing")
    result = run("doctor", "--json")
    assert result.exit_code == Exit.UNHEALTHY
    bad = {item["check"] for item in json.loads(result.output) if not item["ok"]}
    assert bad == {
        "密钥文件权限 (key modes)",
        "访问控制表 (acl)",
        "吊销列表 (CRL)",
        "通知代理 (broker reload)",
        "吊销列表已生效 (CRL in force)",
        "消息代理 (broker)",
    }


def test_the_last_administrator_gets_a_token_on_the_servers_shell(run: Run, tmp_path: Path) -> None:
    run("init")
    database_url = f"sqlite+aiosqlite:///{tmp_path / 'fleet' / 'fleet.db'}"

    async def with_desk(work: Callable[[Desk], Awaitable[T]]) -> T:
        database = Database(database_url)
        try:
            return await work(make_desk(database, ManualClock(SystemClock().utc()), tmp_path))
        finally:
            await database.close()

    asyncio.run(with_desk(lambda desk: desk.first_admin()))
    assert run("staff", "recover", "nobody").exit_code == Exit.REFUSED
    assert run("staff", "recover", "chief", "--reset", "everything").exit_code == Exit.USAGE
    issued = json.loads(run("staff", "recover", "chief", "--json").output)
    assert issued["link"] == f"http://127.0.0.1:8080/recover#{issued['token']}"
    (row,) = json.loads(run("staff", "list", "--json").output)
    assert (row["username"], row["is_recovering"]) == ("chief", True)
    again = run("staff", "recover", "chief").output
    assert "一次性令牌" in again
    assert issued["token"] not in again
    assert "等待恢复" in run("staff", "list").output
    token = next(line for line in again.splitlines() if line.startswith("一次性令牌")).rpartition(" ")[2]
    form = RecoverForm(token=token, password="Green-Door-7711")
    done = asyncio.run(with_desk(lambda desk: desk.recovery.redeem(form, "10.0.0.7")))
    assert done.totp_secret is not None
    rows = asyncio.run(with_desk(lambda desk: desk.audit.rows(after_no=0, limit=10, action="recovery_issued")))
    assert {(row.actor[:4], row.target, row.source) for row in rows} == {("cli:", "chief", "console")}


def test_the_openapi_document_needs_no_installation(run: Run, tmp_path: Path) -> None:
    result = run("openapi")
    document = json.loads(result.output)
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/kiosks" in document["paths"]
    assert not (tmp_path / "fleet").exists()
