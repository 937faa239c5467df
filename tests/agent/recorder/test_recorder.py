"""Taps, tapes and freezing, with a redactor that masks every second byte's worth of trouble."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.recorder.document import lines_of
from agent.recorder.parts import Framed, Mask, Taken, length_of
from agent.recorder.recorder import About, Frozen, Limits, Recorder
from agent.recorder.tape import Frame, Item, Note, Tape
from kit.clock import ManualClock
from wire.recording import EdgeLine, FrameLine, NoteLine, Way, Word, decode_recording, played


def lines(held: bytes) -> Taken | None:
    """Lines of which the first letter is known: a secret unless it is a capital."""
    end = held.find(b"\n") + 1
    if not end:
        return None
    is_open = held[:1].isupper()
    return Taken(end, (held[:end],) if is_open else (Mask("secret", end - 1, b"x"), b"\n"))


def made(clock: ManualClock, **limits: float) -> tuple[Recorder, list[Frozen]]:
    kept: list[Frozen] = []
    return Recorder(clock, Limits(keep_s=limits.get("keep_s", 600.0)), kept.append), kept


def parts_of(items: tuple[tuple[float, Item], ...]) -> list[object]:
    return [part for _, item in items if isinstance(item, Frame) for part in item.parts]


def test_chunks_keep_their_times_and_nothing_open_is_shown() -> None:
    clock = ManualClock()
    recorder, kept = made(clock)
    tap = recorder.tap(About("one", "any"), Framed(lines, lines))
    for piece in (b"se", b"cr", b"et\nOP"):
        tap.passed(Way.CAME, piece)
        clock.advance(1.0)
    assert recorder.freeze("one", "not_responding")
    (frozen,) = kept
    assert [(at_s, sum(map(length_of, item.parts))) for at_s, item in frozen.items if isinstance(item, Frame)] == [
        (0.0, 2),
        (1.0, 2),
        (2.0, 5),
    ]
    assert b"".join(part for part in parts_of(frozen.items) if isinstance(part, bytes)) == b"\n"
    tap.passed(Way.CAME, b"EN\n")  # freezing did not disturb what was held
    clock.advance(61.0)
    assert recorder.freeze("one", "not_responding")
    assert b"OPEN\n" in b"".join(part for part in parts_of(kept[1].items) if isinstance(part, bytes))


def test_a_component_that_keeps_failing_makes_one_recording_a_minute() -> None:
    clock = ManualClock()
    recorder, kept = made(clock)
    tap = recorder.tap(About("one", "any"), Framed(lines, lines))
    assert not recorder.freeze("one", "unplugged")  # nothing was said yet
    for _ in range(3):
        tap.passed(Way.SENT, b"ASK\n")
        recorder.freeze("one", "not_responding")
        clock.advance(25.0)
    tap.passed(Way.SENT, b"ASK\n")
    assert recorder.freeze("one", "not_responding")
    assert [frozen.skipped for frozen in kept] == [0, 2]
    assert not recorder.freeze("nobody", "unplugged")


def test_without_a_redactor_only_lengths_are_kept() -> None:
    recorder, kept = made(ManualClock())
    recorder.tap(About("one", "any")).passed(Way.CAME, b"anything")
    recorder.freeze("one", "device_error")
    assert parts_of(kept[0].items) == [Mask("unknown", 8)]


def test_the_file_says_it_all_and_can_be_read_again() -> None:
    clock = ManualClock()
    recorder, kept = made(clock)
    tap = recorder.tap(About("one", "any", "Test Model", "lines", "serial"), Framed(lines, lines))
    tap.note(Word.OPENED)
    tap.passed(Way.SENT, b"ASK\n")
    recorder.edge("other", "faulted", ("unplugged",))
    clock.advance(0.25)
    clock.jump_wall(3_600.0)
    clock.advance(20.0)
    tap.passed(Way.CAME, b"secret\n")
    recorder.edge("one", "faulted", ("not_responding",))
    recorder.freeze("one", "not_responding", "no answer")
    read = decode_recording(b"".join(lines_of(kept[0])))
    assert (read.head.component, read.head.fault, read.head.detail) == ("one", "not_responding", "no answer")
    notes = [entry.word for entry in read.entries if isinstance(entry, NoteLine)]
    frames = [entry for entry in read.entries if isinstance(entry, FrameLine)]
    edges = [(entry.component, entry.t) for entry in read.entries if isinstance(entry, EdgeLine)]
    assert notes == [Word.OPENED]
    assert [(frame.way, frame.t, played(frame.parts)) for frame in frames] == [
        (Way.SENT, -20.25, b"ASK\n"),
        (Way.CAME, 0.0, b"xxxxxx\n"),
    ]
    assert (frames[1].at - frames[0].at).total_seconds() > 3_600
    assert edges == [("other", -20.25), ("one", 0.0)]


def test_edges_of_others_are_kept_for_half_a_minute_only() -> None:
    clock = ManualClock()
    recorder, kept = made(clock)
    recorder.tap(About("one", "any"), Framed(lines, lines)).passed(Way.SENT, b"ASK\n")
    recorder.edge("other", "ready", ())
    recorder.edge("one", "ready", ())
    clock.advance(31.0)
    recorder.edge("other", "faulted", ("unplugged",))
    recorder.freeze("one", "not_responding")
    assert [(edge.component, edge.state) for edge in kept[0].edges] == [("one", "ready"), ("other", "faulted")]


# --- the tape ------------------------------------------------------------------------------------------------


def frame(data: bytes, way: Way = Way.SENT) -> Frame:
    return Frame(way, (data,))


def test_an_idle_device_costs_eight_bytes_an_entry() -> None:
    tape = Tape(keep_s=600.0, limit_bytes=131_072)
    for number in range(4_000):
        tape.add(number * 0.15, frame(b"ask") if number % 2 else frame(b"nothing", Way.CAME))
    assert tape.size_bytes < 34_000
    assert len(tape.entries()) == 4_000


def test_the_oldest_go_when_it_is_full_or_they_are_old() -> None:
    tape = Tape(keep_s=10.0, limit_bytes=65_536)
    rng = random.Random(1)
    for number in range(3_000):
        tape.add(number * 0.001, frame(rng.randbytes(64)))
        assert tape.size_bytes <= 65_536 + 512
    assert 100 < len(tape.entries()) < 3_000
    tape.add(30.0, frame(b"late"))
    assert tape.entries() == [(30.0, frame(b"late"))]
    assert tape.size_bytes < 400


def test_the_opening_stays_when_the_ring_moved_on() -> None:
    tape = Tape(keep_s=5.0, limit_bytes=65_536)
    tape.add(0.0, Note(Word.OPENED))
    tape.add(0.1, frame(b"who are you"))
    tape.add(0.2, frame(b"me", Way.CAME))
    tape.add(0.3, Note(Word.STARTED))
    for number in range(100):
        tape.add(1.0 + number, frame(b"poll"))
    words = [item for _, item in tape.entries()]
    assert words[:5] == [
        Note(Word.OPENED),
        frame(b"who are you"),
        frame(b"me", Way.CAME),
        Note(Word.STARTED),
        Note(Word.GAP),
    ]
    assert set(words[5:]) == {frame(b"poll")}
    tape.add(200.0, Note(Word.OPENED))
    assert tape.entries() == [(200.0, Note(Word.OPENED))]


def test_an_opening_is_whole_even_where_all_times_are_equal() -> None:
    tape = Tape(keep_s=20.0, limit_bytes=4_096)
    tape.add(0.0, Note(Word.OPENED))
    for number in range(20):
        tape.add(0.0, frame(bytes((number,)) * 200))
    items = [item for _, item in tape.entries()]
    assert items[:3] == [Note(Word.OPENED), frame(bytes(200)), frame(b"\x01" * 200)]
    assert len(items) == len(set(items))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 12), st.booleans()), max_size=120))
def test_what_it_counts_is_what_it_holds(steps: list[tuple[float, int, bool]]) -> None:
    tape, at_s = Tape(keep_s=20.0, limit_bytes=4_096), 0.0
    for wait_s, kind, opens in steps:
        at_s += wait_s
        tape.add(at_s, Note(Word.OPENED) if opens and kind == 0 else frame(bytes((kind,)) * 40 * kind))
        entries = tape.entries()
        assert len({item for _, item in entries} - {Note(Word.GAP)}) == len(tape._numbers)
        assert [at for at, _ in entries] == sorted(at for at, _ in entries)
    tape.add(at_s + 1_000.0, Note(Word.OPENED))
    assert len(tape._numbers) == 1
    assert tape.size_bytes == 216
