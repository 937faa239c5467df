"""Killed at every durable call of a print job (fault matrix F-02): never on paper twice without the mark 补打."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.crash_sweep import Fail, Point, Workload, sweep_crashes

WORK = Path(__file__).with_name("crash_work.py")
FILES = (".", "print", "print/print.db", "print/print.db-wal", "print/print.db-journal")
ENDS = {"printed", "failed", "unknown", "cancelled"}


def command(task: str) -> Any:  # noqa: ANN401 - the callable of a workload
    def argv(state: Path) -> Sequence[str]:
        return [sys.executable, str(WORK), task, str(state)]

    return argv


def said(text: str) -> list[list[Any]]:
    """The lines a program got out; the last one may be torn."""
    lines = []
    for line in text.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, list):
            lines.append(document)
    return lines


def broken(point: Point) -> Iterator[str]:
    """Every job ends in one of the known ways, what was sent says so, and no paper comes twice without its mark."""
    before, after = said(point.faulted.output), said(point.recovered.output)
    papers = Counter((line[1], line[2]) for line in [*before, *after] if line[0] == "paper")
    for (key, copy_no), times in papers.items():
        if times > 1:
            yield f"{key} copy {copy_no} was on paper {times} times"
    ends = {line[1]: line[2] for line in after if line[0] == "end"}
    if not set("abcdefg") <= ends.keys():
        yield f"jobs that nobody knows the end of: only {ends}"
    for key, state in ends.items():
        if state not in ENDS:
            yield f"{key} is {state}"
        if state == "printed" and not any(paper == key.removesuffix("-copy") for paper, _ in papers):
            yield f"{key} is said to be printed and never was on paper"
    over = {line[1]: line[2] for line in before if line[0] == "over"}
    for key, state in over.items():
        if ends.get(key) != state:
            yield f"{key} was {state} and became {ends.get(key)}"
    if any(line[0] == "damaged" for line in [*before, *after]):
        yield "a kill made the journal look damaged"


JOBS = Workload(command=command("print"), recover=command("look"), watched=FILES, check=broken, timeout_s=30.0)


@pytest.mark.timeout(120)
def test_kills_here_and_there_print_nothing_twice(tmp_path: Path) -> None:
    sweep_crashes(JOBS, double_every=0, stride=30, directory=tmp_path).require(floor=2)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_kills_everywhere_print_nothing_twice(tmp_path: Path) -> None:
    sweep_crashes(JOBS, double_every=0, directory=tmp_path).require(floor=200)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS", "EDQUOT"])
def test_errors_of_the_disk_print_nothing_twice(tmp_path: Path, error: str) -> None:
    calls = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate")
    sweep_crashes(JOBS, Fail(error), calls=calls, double_every=0, stride=3, directory=tmp_path).require(floor=20)
