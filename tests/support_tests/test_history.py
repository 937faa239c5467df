"""Each checker finds the planted fault, names it, and finds nothing in a right history."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.history import (
    BrokenHistoryError,
    Event,
    History,
    HistoryWriter,
    Item,
    Outcome,
    Promise,
    Voids,
    gaps,
    monotone,
    paired,
    read_history,
    spans,
    total_queue,
    unique_values,
)

PUT_INVOKED, PUT_OK, PUT_FAILED, TAKEN = "put?", "put", "put!", "take"
_KINDS = {
    PUT_INVOKED: ("put", Outcome.INVOKE),
    PUT_OK: ("put", Outcome.OK),
    PUT_FAILED: ("put", Outcome.FAIL),
    TAKEN: ("take", Outcome.OK),
}


def story(*steps: tuple[str, int]) -> History:
    """Build a history of one kiosk from short steps; an acknowledged put was invoked before."""
    events: list[Event] = []
    for step, number in steps:
        op, outcome = _KINDS[step]
        if step in {PUT_OK, PUT_FAILED}:
            events.append(Event("p1", Outcome.INVOKE, "put", "k1", number))
        events.append(Event("p1", outcome, op, "k1", number))
    return History(events)


RIGHT = [(PUT_OK, 1), (TAKEN, 1), (PUT_OK, 2), (TAKEN, 2), (PUT_FAILED, 3), (PUT_INVOKED, 4)]


def test_a_right_history_holds_under_every_promise() -> None:
    for promise in Promise:
        report = total_queue(story(*RIGHT), promise=promise).require(acknowledged=2, taken=2)
        assert report.counts["unknown"] == 1
        assert report.counts["failed"] == 1


@pytest.mark.parametrize(
    ("planted", "rule", "broken_for"),
    [
        ((PUT_OK, 7), "lost", {Promise.EXACTLY_ONCE, Promise.AT_LEAST_ONCE}),
        ((TAKEN, 1), "duplicated", {Promise.EXACTLY_ONCE, Promise.AT_MOST_ONCE}),
        ((TAKEN, 99), "never put", set(Promise)),
        ((TAKEN, 3), "failed but taken", set(Promise)),
    ],
)
def test_a_planted_fault_is_named(planted: tuple[str, int], rule: str, broken_for: set[Promise]) -> None:
    for promise in Promise:
        report = total_queue(story(*RIGHT, planted), promise=promise)
        assert report.is_ok is (promise not in broken_for)
        if promise in broken_for:
            assert [violation.rule for violation in report.violations] == [rule]
            assert report.items(rule) == (("k1", planted[1]),)
            with pytest.raises(AssertionError, match=f"(?s)VIOLATED.*! {rule}: 1 .k1: {planted[1]}"):
                report.require()


def test_an_unknown_put_may_come_out() -> None:
    report = total_queue(story(*RIGHT, (TAKEN, 4))).require()
    assert report.items("recovered") == (("k1", 4),)


def test_declared_voids_are_reported_and_not_lost() -> None:
    history = story((PUT_OK, 1), (PUT_OK, 2), (PUT_OK, 3), (TAKEN, 3))
    report = total_queue(history, voids=Voids({"k1": [(1, 1)]}))
    assert report.items("lost") == (("k1", 2),)
    assert report.items("void") == (("k1", 1),)
    total_queue(history, voids=Voids({"k1": [(1, 2)]})).require(void=2)
    assert total_queue(history, voids=Voids({"k2": [(1, 2)]})).items("lost") == (("k1", 1), ("k1", 2))


def test_too_few_cases_fail_even_when_nothing_is_broken() -> None:
    with pytest.raises(AssertionError, match="only 2 acknowledged, at least 5000 are needed"):
        total_queue(story(*RIGHT)).require(acknowledged=5_000)


@given(
    acknowledged=st.sets(st.integers(1, 60), min_size=3),
    lost=st.sets(st.integers(1, 60)),
    doubled=st.sets(st.integers(1, 60)),
)
def test_exactly_the_planted_losses_and_doubles_are_found(
    acknowledged: set[int], lost: set[int], doubled: set[int]
) -> None:
    lost &= acknowledged
    doubled = (doubled & acknowledged) - lost
    steps = [(PUT_OK, number) for number in sorted(acknowledged)]
    steps += [(TAKEN, number) for number in sorted(acknowledged - lost)]
    steps += [(TAKEN, number) for number in doubled]
    report = total_queue(story(*steps))

    def as_items(numbers: set[int]) -> set[Item]:
        return {("k1", number) for number in numbers}

    assert set(report.items("lost")) == as_items(lost)
    assert set(report.items("duplicated")) == as_items(doubled)


def seen(op: str, *rows: tuple[str, str, int]) -> History:
    """A history of acknowledged events: (process, key, value)."""
    return History([Event(process, Outcome.OK, op, key, value) for process, key, value in rows])


def test_values_given_twice_are_found_per_key() -> None:
    unique_values(seen("id", ("p1", "k1", 1), ("p2", "k2", 1), ("p1", "k1", 2)), "id").require(given=3)
    assert unique_values(seen("id", ("p1", "k1", 1), ("p2", "k1", 1)), "id").items("given twice") == (("k1", 1),)


def test_numbers_that_go_back_are_found_per_reader() -> None:
    monotone(seen("twin", ("p1", "k1", 1), ("p2", "k1", 9), ("p1", "k1", 1), ("p1", "k1", 2)), "twin").require()
    report = monotone(seen("twin", ("p1", "k1", 2), ("p1", "k1", 1)), "twin")
    assert report.items("went back") == (("k1", 1),)
    assert not monotone(seen("twin", ("p1", "k1", 2), ("p1", "k1", 2)), "twin", strict=True).is_ok


def test_gaps_are_missing_void_or_out_of_range() -> None:
    gaps({"k1": [1, 2, 3]}, through={"k1": 3}).require(received=3)
    report = gaps({"k1": [1, 2, 5, 9], "x": [1]}, through={"k1": 8, "k2": 1}, voids=Voids({"k1": [(3, 4), (7, 7)]}))
    assert report.items("missing") == (("k1", 6), ("k1", 8), ("k2", 1))
    assert report.items("void") == (("k1", 3), ("k1", 4), ("k1", 7))
    assert report.items("outside the range") == (("k1", 9),)
    assert report.items("unknown key") == (("x", 1),)
    assert "k1: 3-4, 7" in str(report)


def test_an_act_without_proof_with_two_or_a_proof_without_act_is_found() -> None:
    history = History([*seen("write", *(("p", "", number) for number in (1, 2, 3))).events])
    proofs = seen("audit", *(("p", "", number) for number in (1, 2, 2, 8)))
    report = paired(History([*history.events, *proofs.events]), "write", "audit")
    assert report.items("without proof") == (("", 3),)
    assert report.items("proved twice") == (("", 2),)
    assert report.items("proof of nothing") == (("", 8),)


@given(st.sets(st.integers(0, 300)))
def test_spans_cover_the_same_numbers_and_never_touch(numbers: set[int]) -> None:
    found = spans(numbers)
    assert {number for low, high in found for number in range(low, high + 1)} == numbers
    assert all(second[0] > first[1] + 1 for first, second in pairwise(found))


def test_a_long_report_stays_short() -> None:
    history = History([Event("p", Outcome.OK, "put", f"k{number % 40}", number * 2) for number in range(4_000)])
    text = str(total_queue(history))
    assert "lost: 4000" in text
    assert "30 more keys" in text
    assert len(text) < 3_000


WRITER = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from support.history import HistoryWriter
with HistoryWriter(Path(sys.argv[1]), sys.argv[2]) as history:
    number = 0
    while {condition}:
        number += 1
        history.invoke("put", number, key=sys.argv[2], note="一二三" * 200)
        history.ok("put", number, key=sys.argv[2])
"""


@pytest.fixture
def start_writer(tmp_path: Path) -> Callable[[str, str], subprocess.Popen[bytes]]:
    """Start a process that appends to the shared history."""

    def start(name: str, condition: str) -> subprocess.Popen[bytes]:
        code = WRITER.format(path=sys.path, condition=condition)
        return subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "history.jsonl"), name])

    return start


def test_many_processes_write_one_history(
    tmp_path: Path, start_writer: Callable[[str, str], subprocess.Popen[bytes]]
) -> None:
    writers = [start_writer(f"w{index}", "number < 500") for index in range(4)]
    assert [writer.wait(timeout=9) for writer in writers] == [0, 0, 0, 0]
    history = read_history(tmp_path / "history.jsonl")
    assert len(history.events) == 4 * 500 * 2
    for index in range(4):
        mine = [event.value for event in history.of("put", Outcome.OK) if event.process == f"w{index}"]
        assert mine == list(range(1, 501))


def test_a_killed_writer_leaves_a_readable_history(
    tmp_path: Path, start_writer: Callable[[str, str], subprocess.Popen[bytes]]
) -> None:
    path = tmp_path / "history.jsonl"
    writer = start_writer("w", "True")
    while not (path.exists() and path.stat().st_size > 100_000):
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=5)
    history = read_history(path)
    assert history.torn_lines in {0, 1}  # the kernel may end a write at a page boundary
    assert len(list(history.of("put", Outcome.INVOKE))) - len(list(history.of("put", Outcome.OK))) in {0, 1}


def test_a_torn_last_line_is_counted_and_a_broken_middle_line_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path, "p") as writer:
        writer.ok("put", "甲", key="k1", note="why")
        writer.fail("put", 2)
        writer.info("put", 3)
    with path.open("ab") as file:
        file.write(b'{"p":"p","o":"ok","f"')
    history = read_history(path)
    assert history.torn_lines == 1
    assert [event.outcome for event in history.events] == [Outcome.OK, Outcome.FAIL, Outcome.INFO]
    assert history.events[0].item == ("k1", "甲")
    with path.open("ab") as file:
        file.write(b"\n" + json.dumps({"p": "p"}).encode() + b"\n")
    with pytest.raises(BrokenHistoryError, match=":4 "):
        read_history(path)


def test_the_writer_names_its_process(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h") as writer:
        assert writer.process == f"p{os.getpid()}"
