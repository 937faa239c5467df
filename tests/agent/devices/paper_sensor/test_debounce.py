from __future__ import annotations

from agent.devices.paper_sensor.debounce import Debouncer, Edge
from agent.devices.paper_sensor.types import InputRole

DOOR = InputRole.DOOR_OPEN


def _feed(debouncer: Debouncer, *reads: tuple[float, bool]) -> list[Edge]:
    return [edge for at, is_on in reads for edge in debouncer.feed({DOOR: is_on}, at)]


def test_the_first_level_is_known_after_it_held_and_is_no_edge() -> None:
    debouncer = Debouncer([DOOR], hold_s=0.05)
    assert _feed(debouncer, (0.0, True), (0.03, True)) == []
    assert debouncer.levels == {DOOR: None}
    assert not debouncer.is_settled
    assert _feed(debouncer, (0.05, True)) == []
    assert debouncer.levels == {DOOR: True}
    assert debouncer.is_settled


def test_a_chatter_is_one_edge_after_it_ended() -> None:
    debouncer = Debouncer([DOOR], hold_s=0.05)
    _feed(debouncer, (0.0, False), (0.05, False))
    assert _feed(debouncer, (1.00, True), (1.02, False), (1.03, True), (1.06, True)) == []
    assert _feed(debouncer, (1.08, True)) == [Edge(DOOR, is_on=True)]


def test_a_glitch_that_goes_back_is_nothing() -> None:
    debouncer = Debouncer([DOOR], hold_s=0.05)
    _feed(debouncer, (0.0, False), (0.05, False))
    assert _feed(debouncer, (1.0, True), (1.02, False), (1.2, False)) == []
    assert debouncer.is_settled


def test_forgetting_makes_unknown() -> None:
    debouncer = Debouncer([DOOR], hold_s=0.05)
    _feed(debouncer, (0.0, True), (0.05, True))
    debouncer.forget()
    assert debouncer.levels == {DOOR: None}
    assert _feed(debouncer, (9.0, False), (9.1, False)) == []
