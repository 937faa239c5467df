"""The presenter's table, walked, and its timer."""

from __future__ import annotations

import pytest

from agent.devices.receipt_printer.presenter import TABLE, Media, MediaEvent, Presenter
from kit.clock import ManualClock
from kit.machine import IllegalTransition, pairs, step


def test_every_pair_is_a_row_or_a_bug() -> None:
    absent = set(pairs(Media, MediaEvent)) - TABLE.keys()
    assert absent == {(media, MediaEvent.DRAWN_BACK) for media in Media if media is not Media.PRESENT}
    for media, event in absent:
        with pytest.raises(IllegalTransition):
            step(TABLE, media, event)


def test_the_time_to_take_runs_from_the_first_sight() -> None:
    clock = ManualClock()
    presenter = Presenter(clock, 30.0)
    presenter.note(MediaEvent.GONE)
    presenter.note(MediaEvent.SEEN)
    clock.advance(20)
    presenter.note(MediaEvent.SEEN)
    assert not presenter.is_overdue
    clock.advance(10)
    assert presenter.is_overdue
    presenter.note(MediaEvent.DRAWN_BACK)
    assert not presenter.is_overdue
    assert presenter.retracted == 1
