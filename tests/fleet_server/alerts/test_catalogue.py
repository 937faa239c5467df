"""The alarm catalogue is complete, and what it names exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_server.alerts.catalogue import CATALOGUE, DEFAULT, Effect, entry_of, hides
from wire.faults import FACTS, Fault, Severity

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("fault", Fault)
def test_every_code_has_a_row(fault: Fault) -> None:
    assert fault in CATALOGUE


@pytest.mark.parametrize("runbook", sorted({entry.runbook for entry in [*CATALOGUE.values(), DEFAULT]}))
def test_every_runbook_exists(runbook: str) -> None:
    assert (ROOT / runbook).is_file()


@pytest.mark.parametrize("fault", Fault)
def test_what_takes_a_function_from_patients_is_major_at_least(fault: Fault) -> None:
    if CATALOGUE[fault].effect in {Effect.FUNCTION_LOST, Effect.KIOSK_LOST, Effect.MONEY_AT_RISK}:
        assert FACTS[fault].severity in {Severity.MAJOR, Severity.CRITICAL}


def test_nothing_hides_itself_or_in_a_circle() -> None:
    for parent in Fault:
        for child in Fault:
            if hides(parent.value, child.value):
                assert parent is not child
                assert not hides(child.value, parent.value)


def test_a_code_of_a_newer_release_follows_the_default() -> None:
    assert entry_of("hover_board_lost") is DEFAULT
    assert not hides("hover_board_lost", "paper_out")
