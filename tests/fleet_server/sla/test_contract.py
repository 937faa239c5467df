"""A contract is data with one meaning; a mistake is named by its place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_server.kioskctl.__main__ import cli
from fleet_server.sla.contract import PROOF, Contract, ContractError, Exclusion, Side, load, parse, ppm

EXAMPLE = Path("fleet_server/sla/contract.toml")
LEAST = 'number = "1"\nhospital = "H"\nvendor = "V"\nstarts_on = 2026-01-01\n'


def test_the_example_is_a_contract_and_shows_the_defaults_of_what_may_be_left_out() -> None:
    example, least = load(EXAMPLE), parse(LEAST)
    assert example.limits == least.limits
    assert example.exclusions == least.exclusions
    assert example.warn_percent == least.warn_percent == (50, 75, 90)
    assert least.limits["critical"].response_s == least.limits["info"].repair_s == 4 * 3_600  # type: ignore[index]
    assert ppm(example.targets.functions["pay"]) == 995_000


def test_the_term_is_five_years_from_local_midnight() -> None:
    contract = parse(LEAST)
    assert contract.begins_at == datetime(2025, 12, 31, 16, tzinfo=UTC)
    assert contract.ends_at == datetime(2030, 12, 31, 16, tzinfo=UTC)
    assert parse(LEAST.replace("2026-01-01", "2028-02-29")).ends_at == datetime(2033, 2, 28, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("limits = {critical = {response_s = 0, repair_s = 14400}}", "limits.critical.response_s"),
        ("limits = {critical = {response_s = 14400}}", "limits: Value error, these severities"),
        ("zone = 'Mars/Olympus'", "zone: Value error, no such time zone"),
        ("warn_percent = [75, 50]", "warn_percent: Value error, the warning levels must rise"),
        ("targets = {kiosk = 100.5}", "targets.kiosk"),
        ("targets = {kiosk = 99.12345}", "targets.kiosk"),
        ("demand = {hours = [1, 2]}", "demand: Value error, hours: 24 weights"),
        ('demand = {areas = {"急诊" = [0]}}', "急诊: 24 weights"),
        ("exclusions = {lunch = ['photo']}", "exclusions.lunch"),
        ("exclusions = {area_locked = []}", "exclusions.area_locked"),
        ("functions = {fly = 3}", "functions: Value error, no such patient function: fly"),
        ("sides = {no_such_code = 'vendor'}", "sides: Value error, no such fault code"),
        ("penalties = {repair_fen = 1.5}", "penalties.repair_fen"),
        ("yaers = 5", "yaers: Extra inputs"),
        ("years = ", "Invalid value"),
    ],
)
def test_a_mistake_is_named_by_its_place(line: str, place: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse(LEAST + line)
    assert any(place in problem for problem in caught.value.problems), caught.value.problems


def test_a_pause_counts_only_with_a_reason_and_a_proof_of_the_contract() -> None:
    contract = parse(LEAST + "exclusions = {area_locked = ['photo']}")
    assert contract.proves("area_locked", {"photo": "p-1"})
    assert not contract.proves("area_locked", {"document": "d-1"})
    assert not contract.proves("area_locked", {"photo": ""})
    assert not contract.proves("hospital_power", {"ups": "u-1"})
    assert not contract.proves("lunch", {"photo": "p-1"})
    assert set(PROOF) == set(Exclusion)


def test_causes_have_a_side() -> None:
    contract = parse(LEAST + "sides = {paper_out = 'hospital'}")
    assert contract.side_of("paper_out") is contract.side_of("on_battery") is Side.HOSPITAL
    assert contract.side_of("card_unreadable") is contract.side_of("of_a_newer_release") is Side.VENDOR


def test_a_contract_survives_being_sealed_as_json() -> None:
    contract = load(EXAMPLE)
    assert Contract.model_validate(contract.model_dump(mode="json")) == contract


def test_the_command_line_checks_a_file(tmp_path: Path) -> None:
    good = CliRunner().invoke(cli, ["sla", "contract", "check", str(EXAMPLE)])
    assert good.exit_code == 0, good.output
    assert "99.5000" in good.output
    bad = tmp_path / "bad.toml"
    bad.write_text(LEAST + "years = 99", encoding="utf-8")
    refused = CliRunner().invoke(cli, ["sla", "contract", "check", str(bad)])
    assert refused.exit_code == 3
    assert "years" in refused.output
    assert CliRunner().invoke(cli, ["sla", "contract", "check", str(tmp_path / "none")]).exit_code == 1
