"""A player without a driver: turns, what fits where, and what the command refuses."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulators.devices.cli import app
from simulators.devices.replay import ReplayCore, Story
from support.waiting import wait_for
from wire.recording import (
    Echo,
    Entry,
    FrameLine,
    Head,
    Masked,
    NoteLine,
    Recording,
    RecordingError,
    Shown,
    Way,
    Word,
    encode_recording,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sent(t: float, *parts: bytes | Masked | Echo) -> FrameLine:
    return FrameLine(t=t, at=NOW, way=Way.SENT, parts=_parts(parts))


def came(t: float, *parts: bytes | Masked | Echo) -> FrameLine:
    return FrameLine(t=t, at=NOW, way=Way.CAME, parts=_parts(parts))


def note(t: float, word: Word) -> NoteLine:
    return NoteLine(t=t, at=NOW, word=word)


def _parts(parts: tuple[bytes | Masked | Echo, ...]) -> list[Shown | Masked | Echo]:
    return [Shown(hex=part.hex()) if isinstance(part, bytes) else part for part in parts]


def recording(*entries: Entry, link: str = "serial") -> Recording:
    head = Head(component="one", capability="any", link=link, fault="not_responding", frozen_at=NOW)
    return Recording(head, entries)


class Host:
    def __init__(self, *entries: Entry) -> None:
        self.heard: list[bytes] = []
        self.core = ReplayCore(Story.of(recording(*entries)))
        self.core.connected(self.heard.append)

    async def asks(self, data: bytes, *answers: bytes) -> None:
        self.heard.clear()
        self.core.received(data)
        await wait_for(lambda: len(self.heard) >= len(answers))
        assert b"".join(self.heard) == b"".join(answers)


START = (note(-9.0, Word.OPENED), sent(-9.0, b"WHO?"), came(-8.99, b"me"), note(-8.9, Word.STARTED))


async def test_questions_are_answered_as_they_were_and_at_the_end_as_at_last() -> None:
    host = Host(*START, sent(-3.0, b"HOW?"), came(-2.99, b"fine"), sent(-1.0, b"HOW?"), came(-0.99, b"out"))
    await host.asks(b"WHO?", b"me")
    for answer in (b"fine", b"out", b"out", b"out"):
        await host.asks(b"HOW?", answer)
    assert host.core.is_at_end
    await host.asks(b"WHO?", b"me")


async def test_a_question_in_pieces_and_noise_around_it() -> None:
    host = Host(*START, sent(-3.0, b"HOW?"), came(-2.99, b"fine"))
    host.core.received(b"xxWH")
    await host.asks(b"O?", b"me")
    await host.asks(b"yyHOW?", b"fine")


async def test_masked_parts_fit_anything_and_marks_are_repeated() -> None:
    question = sent(-3.0, b"E", Masked(kind="account", length=3), Echo(name="number", hex="0001"))
    host = Host(*START, question, came(-2.99, b"A", Echo(name="number", hex="0001"), Masked(kind="pin", length=2)))
    await host.asks(b"WHO?", b"me")
    await host.asks(b"Eabc\x00\x09", b"A\x00\x09\x00\x00")


async def test_a_page_is_waited_for() -> None:
    page = sent(-2.0, b"\x1b@", Masked(kind="text", length=40, fill="78"), b"\n")
    host = Host(*START, sent(-3.0, b"HOW?"), came(-2.99, b"fine"), page, sent(-1.0, b"HOW?"), came(-0.9, b"paper out"))
    await host.asks(b"WHO?", b"me")
    for _ in range(3):
        await host.asks(b"HOW?", b"fine")
    host.core.received(b"\x1b@" + b"another receipt, longer or shorter\n")
    await host.asks(b"HOW?", b"paper out")


async def test_the_plug_is_pulled_where_it_was() -> None:
    pulled = asyncio.Event()
    host = Host(*START, sent(-1.0, b"HOW?"), note(-0.98, Word.LOST))
    host.core.unplug = pulled.set
    await host.asks(b"WHO?", b"me")
    host.core.received(b"HOW?")
    await asyncio.wait_for(pulled.wait(), 2.0)


async def test_what_was_said_unasked_is_said() -> None:
    host = Host(note(-1.0, Word.OPENED), came(-0.99, b"code\r"))
    await wait_for(lambda: host.heard == [b"code\r"])


def test_a_recording_of_nothing_cannot_be_played() -> None:
    with pytest.raises(RecordingError):
        Story.of(recording(note(-1.0, Word.OPENED), note(-0.5, Word.OPEN_FAILED)))


def _file(path: Path, made: Recording) -> str:
    path.write_bytes(b"".join(encode_recording(made.head, made.entries)))
    return str(path)


def test_the_command_refuses_what_it_cannot_play(tmp_path: Path) -> None:
    good, run = _file(tmp_path / "a.kfr", recording(*START)), CliRunner()
    cards = _file(tmp_path / "b.kfr", recording(*START, link="pcsc"))
    (tmp_path / "c.kfr").write_bytes(b"no recording\n")
    for arguments, code in (
        ([good], 2),
        ([good, "--pty", "x", "--tcp", "1"], 2),
        ([good, "--component", "other", "--tcp", "0"], 3),
        ([cards, "--tcp", "0"], 3),
        ([str(tmp_path / "c.kfr"), "--tcp", "0"], 3),
        ([str(tmp_path / "missing.kfr"), "--tcp", "0"], 3),
    ):
        assert run.invoke(app, ["replay", *arguments]).exit_code == code, arguments
