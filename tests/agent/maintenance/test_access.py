"""A code lets one person in once, for ten minutes, on the machine it was made on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.maintenance.access import DIGITS, LIFE_S, TRIES, CodeFile, CodeRefused
from kit.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 8, 0, tzinfo=UTC))


@pytest.fixture
def codes(tmp_path: Path) -> CodeFile:
    return CodeFile(tmp_path / "maintenance-code", "this-boot")


def other(code: str) -> str:
    return f"{(int(code) + 1) % 10**DIGITS:0{DIGITS}d}"


def test_once_and_never_again(codes: CodeFile, clock: ManualClock) -> None:
    code = codes.issue(clock)
    assert len(code) == DIGITS
    assert code.isdigit()
    text = codes.path.read_text()
    assert code not in text
    assert codes.path.stat().st_mode & 0o777 == 0o600
    codes.redeem(code, clock)
    assert not codes.path.exists()
    with pytest.raises(CodeRefused, match="no code"):
        codes.redeem(code, clock)


def test_a_new_code_ends_the_old_one(codes: CodeFile, clock: ManualClock) -> None:
    old, new = codes.issue(clock), codes.issue(clock)
    if old != new:
        with pytest.raises(CodeRefused, match="wrong"):
            codes.redeem(old, clock)
    codes.redeem(new, clock)


def test_guessing_ends_it(codes: CodeFile, clock: ManualClock) -> None:
    code = codes.issue(clock)
    for _ in range(TRIES):
        with pytest.raises(CodeRefused, match="wrong"):
            codes.redeem(other(code), clock)
    with pytest.raises(CodeRefused, match="no code"):
        codes.redeem(code, clock)


def test_it_is_too_old_whatever_the_wall_clock_says(codes: CodeFile, clock: ManualClock) -> None:
    code = codes.issue(clock)
    clock.advance(LIFE_S)
    clock.jump_wall(-LIFE_S)
    with pytest.raises(CodeRefused, match="too old"):
        codes.redeem(code, clock)
    assert not codes.path.exists()


def test_it_does_not_outlive_the_machine(codes: CodeFile, clock: ManualClock) -> None:
    code = codes.issue(clock)
    with pytest.raises(CodeRefused, match="too old"):
        CodeFile(codes.path, "next-boot").redeem(code, clock)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"boot": "this-boot", "until_mono_s": null, "tries": 5}', "\x00"])
def test_a_damaged_file_lets_nobody_in(codes: CodeFile, clock: ManualClock, text: str) -> None:
    codes.path.write_text(text)
    with pytest.raises(CodeRefused):
        codes.redeem("00000000", clock)
