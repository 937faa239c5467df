"""Rules of signing in: passwords, codes, lock-out, ages of sessions, delays of sources."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from fleet_server.errors import Refusal
from fleet_server.staff.door import Door
from fleet_server.staff.model import Policy, Session
from fleet_server.staff.rules import accepted_step, check_password, digest_of, is_alive, lock_after_failure, totp_uri
from kit.clock import ManualClock

POLICY = Policy()

NOW = datetime(2026, 3, 2, 8, 0, 10, tzinfo=UTC)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
STEP = timedelta(seconds=30)


@pytest.mark.parametrize("password", ["correct horse battery", "Window-7421", "长城脚下有一只猫在睡觉呢", "aB3defghij"])
def test_good_passwords(password: str) -> None:
    check_password(password, "engineer", POLICY)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_weak"),
        ("Ab1!", "password_too_weak"),
        ("Window-74", "password_too_weak"),
        ("windowsill7", "password_too_weak"),
        ("MyPassword-2026", "password_too_common"),
        ("Qwerty-and-more-1", "password_too_common"),
        ("engineer-2026-X", "password_too_common"),
        ("aaaaaaaaaaaaaa", "password_too_common"),
        ("1212121212121212", "password_too_common"),
    ],
)
def test_bad_passwords(password: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_password(password, "engineer", POLICY)
    assert refused.value.code == code
    assert not password or password not in str(refused.value)


@pytest.mark.parametrize(("steps", "is_accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_may_be_one_step_early_or_late(steps: int, is_accepted: bool) -> None:
    code = pyotp.TOTP(SECRET).at(NOW + steps * STEP)
    assert (accepted_step(SECRET, code, 0, NOW) is not None) is is_accepted


def test_a_used_step_and_all_before_it_are_never_accepted_again() -> None:
    totp = pyotp.TOTP(SECRET)
    step = accepted_step(SECRET, totp.at(NOW), 0, NOW)
    assert step == int(NOW.timestamp()) // 30
    assert accepted_step(SECRET, totp.at(NOW), step, NOW) is None
    assert accepted_step(SECRET, totp.at(NOW - STEP), step, NOW) is None
    assert accepted_step(SECRET, totp.at(NOW + STEP), step, NOW) == step + 1


def test_codes_stay_used_when_the_clock_is_put_back() -> None:
    step = accepted_step(SECRET, pyotp.TOTP(SECRET).at(NOW), 0, NOW)
    assert step is not None
    earlier = NOW - timedelta(hours=1)
    assert accepted_step(SECRET, pyotp.TOTP(SECRET).at(earlier), step, earlier) is None


def test_every_fifth_failure_locks_for_a_while() -> None:
    locks = {count: lock_after_failure(count, NOW, POLICY) for count in range(1, 2 * POLICY.lock_after + 1)}
    assert [count for count, until in locks.items() if until is not None] == [POLICY.lock_after, 2 * POLICY.lock_after]
    assert locks[POLICY.lock_after] == NOW + POLICY.lock_for


def test_sessions_end_when_idle_and_when_old() -> None:
    session = Session("1", "engineer", "d", NOW, NOW, "10.0.0.1")
    second = timedelta(seconds=1)
    assert is_alive(session, NOW + POLICY.session_idle - second, POLICY)
    assert not is_alive(session, NOW + POLICY.session_idle, POLICY)
    used = replace(session, last_used_at=NOW + POLICY.session_age - second)
    assert is_alive(used, NOW + POLICY.session_age - second, POLICY)
    assert not is_alive(used, NOW + POLICY.session_age, POLICY)


def test_the_authenticator_is_told_who_issued() -> None:
    assert totp_uri("engineer", SECRET).startswith("otpauth://totp/")
    assert SECRET in totp_uri("engineer", SECRET)
    assert digest_of("token") != "token"


async def test_an_address_waits_longer_with_every_failure_and_never_for_ever() -> None:
    clock, slept = ManualClock(NOW), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    door = Door(clock, sleep)

    async def waits(source: str) -> float:
        before = len(slept)
        await door.admit(source)
        return slept[-1] if len(slept) > before else 0.0

    seen = [await waits("10.0.0.1") for _ in range(14)]
    assert seen[:3] == [0.0, 0.0, 0.0]
    assert seen[3:] == sorted(seen[3:])
    assert seen[-1] == 8.0
    assert await waits("10.0.0.2") == 0.0
    door.forgive("10.0.0.1")
    assert await waits("10.0.0.1") == 0.0
    for _ in range(6):
        await waits("10.0.0.1")
    clock.advance(16 * 60)
    assert await waits("10.0.0.1") == 0.0


async def test_the_memory_of_addresses_is_bounded() -> None:
    door = Door(ManualClock(NOW), asyncio.sleep)
    for number in range(10_100):
        await door.admit(f"source-{number}")
    assert len(door._failures) == 10_000
