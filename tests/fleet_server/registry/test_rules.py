from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.registry.rules import KEPT, CloneEvidence, Sighting, is_repeat, judge, remembered

START = datetime(2026, 3, 2, tzinfo=UTC)


def sightings(text: str, *, gap_s: float = 60.0) -> list[Sighting]:
    """`a1x b2y`: boot, session, fingerprint of each session, `gap_s` apart."""
    return [
        Sighting(word[0], int(word[1:-1]), word[-1], START + timedelta(seconds=gap_s * number))
        for number, word in enumerate(text.split())
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a1x", None, id="first session"),
        pytest.param("a1x a2x a3x", None, id="reconnects of one boot"),
        pytest.param("a1x b2x c3x", None, id="reboots"),
        pytest.param("a1x b2y", None, id="board swapped once"),
        pytest.param("a1x b2y c3y", None, id="board swapped, then rebooted"),
        pytest.param("a1x b1x", None, id="session counter lost with the disk"),
        pytest.param("a1x b2x a3x", CloneEvidence.BOOT_RETURNED, id="two machines in turn"),
        pytest.param("a7x b7x a8x", CloneEvidence.BOOT_RETURNED, id="a clone starts with the same counter"),
        pytest.param("a1x b2x b3x b4x a5x", CloneEvidence.BOOT_RETURNED, id="the original comes back later"),
        pytest.param("a1x b2y c3x", CloneEvidence.HARDWARE_ALTERNATES, id="machines rebooted in between"),
    ],
)
def test_what_a_sequence_of_sessions_proves(text: str, expected: CloneEvidence | None) -> None:
    *history, new = sightings(text)
    assert judge(history, new) is expected


def test_hardware_that_comes_back_after_an_hour_is_a_repair() -> None:
    *history, new = sightings("a1x b2y c3x", gap_s=1_801.0)
    assert judge(history, new) is None


def test_a_birth_delivered_again_is_no_session() -> None:
    history = sightings("a1x b2x")
    assert is_repeat(history, sightings("a1x", gap_s=0)[0])
    assert not is_repeat(history, sightings("a3x", gap_s=0)[0])


def test_memory_is_bounded() -> None:
    history: list[Sighting] = []
    for number in range(100):
        history = remembered(history, Sighting("a", number, "x", START))
    assert len(history) == KEPT
    assert history[-1].session == 99


def test_a_sighting_survives_json() -> None:
    [sighting] = sightings("a1x")
    assert Sighting.of_json(sighting.to_json()) == sighting
