"""Yuan as text: exact, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patient_platform.money import Fen, MoneyError, from_yuan, to_yuan


@pytest.mark.parametrize(
    ("text", "fen"), [("0", 0), ("0.01", 1), ("12.3", 1230), ("12.30", 1230), ("-4.05", -405), ("100000000", 10**10)]
)
def test_yuan_are_read_exactly(text: str, fen: int) -> None:
    assert from_yuan(text) == fen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.001",
        "1e9",
        "1,234.00",
        "+1",
        ".5",
        "5.",
        " 1",
        "1 ",
        "NaN",
        "١٢",
        "１２",
        "1.2.3",
        "--1",
        "0x10",
        "9" * 13,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        from_yuan(text)


@given(st.integers(min_value=-(10**13), max_value=10**13))
def test_what_is_written_is_read_back(fen: int) -> None:
    assert from_yuan(to_yuan(Fen(fen))) == fen
