"""Presence is judged by evidence: wills, heartbeats, goodbyes, the server's own blindness; every pair of the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.presence.judge import (
    BACK_AFTER_S,
    BLIND_S,
    FLAP_LOSSES,
    SILENT_AFTER_S,
    STEADY_S,
    Judge,
)
from fleet_server.presence.machine import TABLE, Evidence
from fleet_server.registry.model import PresenceState
from kit.machine import pairs
from wire.presence import Birth, HostFacts, Live, Presence, PresenceReason

KID = "zzj-001"
START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Ward:
    """A judge and its clock."""

    def __init__(self, *, is_sighted: bool = True) -> None:
        self.now_s = 1_000.0
        self.judge = Judge(self.now_s)
        if is_sighted:
            self.judge.blind_until_s = 0.0

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.now_s - 1_000.0)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.judge.tick(self.now, self.now_s)

    def beat(self, *, session: int = 1, boot: str = "a") -> None:
        self.judge.live(KID, Live(session=session, boot=boot, at=self.now), self.now, self.now_s)

    def say(self, reason: PresenceReason, *, session: int = 1, online: bool = False, retained: bool = False) -> None:
        said = Presence(session=session, online=online, reason=reason, at=self.now, boot="a")
        self.judge.presence(KID, said, retained=retained, now=self.now, now_s=self.now_s)

    def state(self) -> PresenceState:
        return self.judge.watches[KID].status.state

    @property
    def since(self) -> datetime:
        return self.judge.watches[KID].status.since


def test_every_pair_of_the_table_is_there() -> None:
    assert set(TABLE) == set(pairs(PresenceState, Evidence))


def test_a_heartbeat_makes_it_online_and_silence_offline_since_the_last_sign_of_life() -> None:
    ward = Ward()
    ward.beat()
    assert ward.state() is PresenceState.ONLINE
    last = ward.now
    ward.wait(SILENT_AFTER_S)
    assert ward.state() is PresenceState.ONLINE
    ward.wait(1.0)
    assert ward.state() is PresenceState.OFFLINE
    assert ward.since == last
    assert ward.judge.edges[-1].detected_at == ward.now


def test_a_will_takes_it_off_at_once() -> None:
    ward = Ward()
    ward.beat()
    ward.say(PresenceReason.CONNECTION_LOST)
    assert ward.state() is PresenceState.OFFLINE


def test_a_late_will_of_an_older_session_changes_nothing() -> None:
    ward = Ward()
    ward.say(PresenceReason.CONNECTED, session=2, online=True)
    ward.say(PresenceReason.CONNECTION_LOST, session=1)
    assert ward.state() is PresenceState.ONLINE


@pytest.mark.parametrize("reason", [PresenceReason.SHUTDOWN, PresenceReason.MAINTENANCE])
def test_a_goodbye_is_planned_for_as_long_as_it_takes(reason: PresenceReason) -> None:
    ward = Ward()
    ward.beat()
    ward.say(reason)
    ward.wait(BACK_AFTER_S * 10)
    assert ward.state() is PresenceState.PLANNED


@pytest.mark.parametrize("reason", [PresenceReason.REBOOT, PresenceReason.UPDATE])
def test_a_reboot_that_does_not_come_back_is_offline(reason: PresenceReason) -> None:
    ward = Ward()
    ward.beat()
    ward.say(reason)
    ward.wait(BACK_AFTER_S + 1.0)
    assert ward.state() is PresenceState.OFFLINE


def test_a_retained_online_is_what_was_not_what_is() -> None:
    ward = Ward()
    ward.say(PresenceReason.CONNECTED, online=True, retained=True)
    assert ward.state() is PresenceState.NEVER


def test_nobody_is_marked_offline_right_after_a_start() -> None:
    ward = Ward()
    ward.beat()
    restarted = Judge(ward.now_s)
    restarted.load([ward.judge.watches[KID].status], ward.now_s)
    restarted.tick(ward.now, ward.now_s + BLIND_S - 1.0)
    assert restarted.edges == []
    restarted.tick(ward.now, ward.now_s + SILENT_AFTER_S + 1.0)
    assert [edge.state for edge in restarted.edges] == [PresenceState.OFFLINE]


def test_a_blind_server_knows_nothing_and_says_so() -> None:
    ward = Ward()
    ward.beat()
    ward.judge.blind(ward.now, ward.now_s)
    assert ward.state() is PresenceState.UNKNOWN
    ward.wait(3_600.0)
    assert ward.state() is PresenceState.UNKNOWN
    ward.judge.sighted(ward.now_s)
    ward.beat()
    assert ward.state() is PresenceState.ONLINE


@pytest.mark.parametrize("by_will", [True, False])
def test_a_loss_learned_after_blindness_is_not_dated_before_it(*, by_will: bool) -> None:
    """Otherwise the timeline would end with the blindness."""
    ward = Ward()
    ward.beat()
    ward.wait(10.0)
    ward.judge.blind(ward.now, ward.now_s)
    blind_since = ward.now
    ward.wait(600.0)
    ward.judge.sighted(ward.now_s)
    if by_will:
        ward.say(PresenceReason.CONNECTION_LOST, retained=True)
    ward.wait(SILENT_AFTER_S + 1.0)
    assert ward.state() is PresenceState.OFFLINE
    assert ward.since == blind_since
    assert [edge.state for edge in sorted(ward.judge.edges, key=lambda edge: edge.since)][-1] is PresenceState.OFFLINE


def test_coming_and_going_is_unstable_until_it_has_stayed() -> None:
    ward = Ward()
    for _ in range(FLAP_LOSSES):
        ward.beat()
        ward.say(PresenceReason.CONNECTION_LOST)
        ward.wait(5.0)
    ward.beat()
    assert ward.state() is PresenceState.UNSTABLE
    while ward.now_s < 1_000.0 + STEADY_S + 60.0:
        ward.beat()
        ward.wait(15.0)
    assert ward.state() is PresenceState.ONLINE


def test_a_wall_clock_that_jumps_marks_nobody_offline() -> None:
    ward = Ward()
    ward.beat()
    ward.judge.tick(ward.now + timedelta(days=400), ward.now_s + 1.0)
    assert ward.state() is PresenceState.ONLINE


def test_a_wiped_kiosk_starts_its_sessions_over() -> None:
    ward = Ward()
    ward.say(PresenceReason.CONNECTED, session=900, online=True)
    ward.say(PresenceReason.SHUTDOWN, session=900)
    birth = Birth(
        session=1, boot="b", at=ward.now, agent_version="1", epoch="e", host=HostFacts(hostname="k", fingerprint="f")
    )
    ward.judge.birth(KID, birth, retained=False, now=ward.now, now_s=ward.now_s)
    assert ward.state() is PresenceState.ONLINE
    ward.beat(session=1, boot="b")
    assert ward.judge.watches[KID].status.session == 1
