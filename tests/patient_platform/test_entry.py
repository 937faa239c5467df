"""The command line: help in both languages, stable exit codes, one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from patient_platform.__main__ import Exit, cli

runner = CliRunner()


def test_help_names_the_commands_and_the_exit_codes() -> None:
    result = runner.invoke(cli, ["--help"])
    assert result.exit_code == 0
    assert "reconcile" in result.output
    assert "对账有差异" in result.output


def test_unknown_arguments_are_a_usage_error() -> None:
    assert runner.invoke(cli, ["--role", "api"]).exit_code == Exit.USAGE


def test_wrong_settings_are_named_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "patient.toml").write_text("[his]\nurl = 'ftp://x'\ncolour = 1\n")
    result = runner.invoke(cli, ["migrate", "--data-dir", str(tmp_path)])
    assert result.exit_code == Exit.SETUP
    assert "colour" in result.output
    assert [item.name for item in tmp_path.iterdir()] == ["patient.toml"]


def test_the_store_is_made_once_and_kept(tmp_path: Path) -> None:
    for _ in range(2):
        assert runner.invoke(cli, ["migrate", "--data-dir", str(tmp_path)]).exit_code == 0
    result = runner.invoke(cli, ["ledger", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "合计" in result.output


def test_an_old_store_says_what_to_run(tmp_path: Path) -> None:
    result = runner.invoke(cli, ["ledger", "--data-dir", str(tmp_path)])
    assert result.exit_code == Exit.SETUP
    assert "patient-platform migrate" in result.output


@pytest.mark.parametrize("day", ["2026-13-01", "yesterday", "01.02.2026"])
def test_a_day_is_a_date(day: str, tmp_path: Path) -> None:
    assert runner.invoke(cli, ["reconcile", day, "--data-dir", str(tmp_path)]).exit_code == Exit.USAGE


def test_a_new_key_is_used_and_the_old_one_kept(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path)]
    assert runner.invoke(cli, ["keys", "rotate", *where]).exit_code == Exit.SETUP  # nowhere to note it
    assert runner.invoke(cli, ["migrate", *where]).exit_code == 0
    assert runner.invoke(cli, ["keys", "rotate", *where]).exit_code == 0
    kept = json.loads((tmp_path / "keys.json").read_text())
    assert kept["active"] == "k2"
    assert set(kept["keys"]) == {"k1", "k2"}
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    shown = runner.invoke(cli, ["audit", "show", "--json", *where])
    [row] = json.loads(shown.output)
    assert (row["action"], row["fields"]) == ("keys.rotated", {"key": "k2"})
    assert row["actor"].startswith("console:")
    assert runner.invoke(cli, ["audit", "verify", *where]).exit_code == 0


def test_a_paper_nobody_prints_cannot_be_released(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path)]
    assert runner.invoke(cli, ["migrate", *where]).exit_code == 0
    assert runner.invoke(cli, ["papers", "list", "--json", *where]).output.strip() == "[]"
    refused = runner.invoke(cli, ["papers", "release", "0" * 26, *where])
    assert refused.exit_code == Exit.REFUSED
    assert "order_unknown" in refused.output


def test_the_audit_trail_is_shown_and_verified(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path)]
    assert runner.invoke(cli, ["migrate", *where]).exit_code == 0
    assert runner.invoke(cli, ["audit", "show", "--json", *where]).output.strip() == "[]"
    whole = runner.invoke(cli, ["audit", "verify", *where])
    assert whole.exit_code == 0
    assert f"0:{'0' * 64}" in whole.output
    put_back = runner.invoke(cli, ["audit", "verify", "--noted", f"3:{'a' * 64}", *where])
    assert put_back.exit_code == Exit.DIFFERENT
    assert "第 1 行" in put_back.output
    assert runner.invoke(cli, ["audit", "verify", "--noted", "x", *where]).exit_code == Exit.USAGE
