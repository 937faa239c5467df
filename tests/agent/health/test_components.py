"""Inactivity clocks of the parts of a kiosk."""

from __future__ import annotations

from agent.health.components import ComponentBook
from kit.clock import ManualClock
from wire.device_api import ComponentHealth
from wire.uplink import Edge


def test_without_evidence_a_part_is_unknown_and_then_silent() -> None:
    clock = ManualClock()
    book = ComponentBook(clock)
    book.register("printer", "receipt_printer", silent_after_s=60.0)
    assert [view.health for view in book.views()] == [ComponentHealth.UNKNOWN]
    clock.advance(61.0)
    assert book.edges() == [("printer", Edge.RAISE)]
    assert [view.health for view in book.views()] == [ComponentHealth.SILENT]


def test_a_sign_of_life_clears_silence_once() -> None:
    clock = ManualClock()
    book = ComponentBook(clock)
    book.register("printer", "receipt_printer", silent_after_s=60.0)
    clock.advance(61.0)
    book.edges()
    book.evidence("printer", ComponentHealth.FAULTED, "paper_out")
    assert book.edges() == [("printer", Edge.CLEAR)]
    assert book.edges() == []
    (view,) = book.views()
    assert (view.health, view.detail, view.last_evidence_age_s) == (ComponentHealth.FAULTED, "paper_out", 0.0)


def test_a_wall_clock_jump_silences_nobody() -> None:
    clock = ManualClock()
    book = ComponentBook(clock)
    book.register("printer", "receipt_printer", silent_after_s=60.0)
    book.evidence("printer", ComponentHealth.OK)
    clock.jump_wall(400 * 86_400.0)
    assert book.edges() == [("printer", Edge.CLEAR)], "the first sign of life"
    assert book.edges() == []


def test_an_alarm_of_an_earlier_run_ends_with_the_first_sign_of_life_and_not_before() -> None:
    clock = ManualClock()
    book = ComponentBook(clock)
    book.register("printer", "receipt_printer", silent_after_s=60.0)
    assert book.edges() == []
    book.evidence("printer", ComponentHealth.OK)
    assert book.edges() == [("printer", Edge.CLEAR)]
    assert book.edges() == []
