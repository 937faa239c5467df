"""Killed at every durable call: nothing acknowledged is lost, no number is used twice (fault matrix F-04, F-11)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.uplink.identity import KEY, IdentityFacts, IdentityStore
from support.crash_sweep import Fail, Point, Workload, sweep_crashes

WORK = Path(__file__).with_name("crash_work.py")
OUTBOX_FILES = (
    ".",
    "session",
    "session.new",
    "outbox",
    "outbox/outbox.db",
    "outbox/outbox.db-journal",
    "outbox/outbox.db-wal",
    "outbox/guard",
    "outbox/guard.new",
)
IDENTITY_FILES = (
    "identity",
    "identity/current",
    "identity/current.new",
    "identity/a",
    *(f"identity/{slot}{name}" for slot in "ab" for name in ("", "/key.pem", "/cert.pem", "/ca.pem", "/facts.json")),
    *(f"identity/{slot}/{name}.new" for slot in "ab" for name in ("cert.pem", "ca.pem", "facts.json")),
    "identity/pending",
    "identity/pending/key.pem",
)


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


def broken_outbox(point: Point) -> Iterator[str]:
    """Every acknowledged P0 is there unless it was settled; numbers and sessions only rise."""
    before, after = said(point.faulted.output), said(point.recovered.output)
    rows = {(epoch, seq): number for kind, number, epoch, seq in (line for line in after if line[0] == "row")}
    acknowledged = [line[1:] for line in before if line[0] == "p0"]
    for number, epoch, seq in acknowledged:
        if seq > 4 and rows.get((epoch, seq)) != number:
            yield f"p0 {number} was acknowledged as {seq} and is gone"
    for line in after:
        if line[0] == "rebuilt":
            yield f"a kill made the file look corrupt: {line[1]}"
        if line[0] == "next" and any(line[1] == epoch and line[2] <= seq for _, epoch, seq in acknowledged):
            yield f"number {line[2]} was used before"
    sessions = [line[1] for line in before if line[0] == "session"]
    following = [line[1] for line in after if line[0] == "next_session"]
    if sessions and (not following or following[0] <= sessions[-1]):
        yield f"session {following} after {sessions}"


def broken_identity(point: Point) -> Iterator[str]:
    """The set in use is whole, the last one acknowledged or the one after it, and a later renewal works."""
    found = [line[1:] for line in said(point.recovered.output) if line[0] == "identity"]
    if len(found) != 2:
        yield f"identities seen: {found}"
        return
    done = max((line[1] for line in said(point.faulted.output) if line[0] == "installed"), default=0)
    names = ["old", "new1", "new2", "new3", "new4", "new4"]
    allowed = names[done : done + 2]
    if " of the recovery" in point.place:
        allowed.append("new9")  # the recovery's own renewal, when it was killed after that
    if found[0] not in [[f"kiosk-{name}", name, name, name] for name in allowed]:
        yield f"after renewal {done} the set in use is {found[0]}"
    if found[1] != ["kiosk-new9", "new9", "new9", "new9"]:
        yield f"the renewal after the crash did not take: {found[1]}"


def prepare_identity(state: Path) -> None:
    """An identity in use."""
    facts = {"not_before": "2026-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z"}
    store = IdentityStore(state / "identity")
    (store.make_pending() / KEY).write_text("old")
    store.install("old", "old", IdentityFacts.model_validate({"kid": "kiosk-old", **facts}))


OUTBOX = Workload(
    command=command("outbox"), recover=command("look"), watched=OUTBOX_FILES, check=broken_outbox, timeout_s=30.0
)
INSTALL = Workload(
    command=command("install"),
    recover=command("which"),
    watched=IDENTITY_FILES,
    check=broken_identity,
    prepare=prepare_identity,
    timeout_s=30.0,
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("workload", "stride"), [(OUTBOX, 90), (INSTALL, 60)], ids=["outbox", "identity"])
def test_kills_here_and_there_lose_nothing(tmp_path: Path, workload: Workload, stride: int) -> None:
    sweep_crashes(workload, double_every=0, stride=stride, directory=tmp_path).require(floor=2)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("workload", "floor"), [(OUTBOX, 100), (INSTALL, 100)], ids=["outbox", "identity"])
def test_kills_everywhere_lose_nothing(tmp_path: Path, workload: Workload, floor: int) -> None:
    sweep_crashes(workload, double_every=0, directory=tmp_path).require(floor=floor)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("workload", "stride"), [(OUTBOX, 80), (INSTALL, 70)], ids=["outbox", "identity"])
def test_a_second_kill_during_recovery_loses_nothing(tmp_path: Path, workload: Workload, stride: int) -> None:
    sweep_crashes(workload, double_every=1, stride=stride, directory=tmp_path).require(floor=2, double_floor=50)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS", "EDQUOT"])
def test_errors_of_the_disk_lose_nothing_acknowledged(tmp_path: Path, error: str) -> None:
    calls = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate")
    sweep_crashes(OUTBOX, Fail(error), calls=calls, double_every=0, stride=2, directory=tmp_path).require(floor=20)
