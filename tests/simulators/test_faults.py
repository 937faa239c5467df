"""A script of faults is taken in order."""

from __future__ import annotations

import pytest

from simulators.faults import Fault, FaultScript


def test_lines_strike_in_order_after_the_calls_they_let_pass() -> None:
    script = FaultScript()
    script.add("query", Fault.DELAY, times=2, after=1, seconds=3)
    script.add("query", Fault.DROP_AFTER)
    struck = [script.take("query") for _ in range(5)]
    assert [one.fault if one else None for one in struck] == [None, "delay", "delay", "drop_after", None]
    assert struck[1] is not None
    assert struck[1].number("seconds", 0) == 3.0
    assert script.take("pay") is None


def test_what_is_to_come_is_shown_and_cleared() -> None:
    script = FaultScript()
    script.add("pay", Fault.HTTP_500, code="BANK_ERROR")
    assert script.view() == [
        {"operation": "pay", "fault": "http_500", "times": 1, "after": 0, "code": "BANK_ERROR"},
    ]
    script.clear()
    assert script.take("pay") is None


def test_a_line_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="times"):
        FaultScript().add("pay", Fault.DELAY, times=0)
