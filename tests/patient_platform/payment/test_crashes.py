"""Killed at every durable call of paying and posting: charged once, posted or returned, the ledger sums to zero."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kit.store import upgrade
from patient_platform.app import MIGRATIONS
from support.crash_sweep import Fail, Point, Workload, sweep_crashes

WORK = Path(__file__).with_name("crash_work.py")
DATABASE = "patient.sqlite3"
FILES = (".", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-journal", f"{DATABASE}-shm")


def command(task: str) -> Any:  # noqa: ANN401 - the callable of a workload
    def argv(state: Path) -> Sequence[str]:
        return [sys.executable, str(WORK), task, str(state)]

    return argv


def prepare(state: Path) -> None:
    upgrade(f"sqlite:///{state / DATABASE}", MIGRATIONS)


def said(text: str) -> Iterator[list[Any]]:
    """Each line a program got out; the last one may be torn."""
    for line in text.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, list):
            yield document


def broken(point: Point) -> Iterator[str]:
    """Whatever is charged is posted, or went back; nothing is charged twice."""
    told = {line[0]: line[1] for line in said(point.recovered.output) if line[0] in {"outside", "ledger", "legs"}}
    if set(told) != {"outside", "ledger", "legs"}:
        yield f"the recovery said only {sorted(told)}"
        return
    yield from broken_outside(told["outside"])
    yield from broken_ledger(told["outside"], told["ledger"])
    for order in (line[2] for line in said(point.faulted.output) if line[0] == "order"):
        if sum(trade_no.startswith(order) for trade_no in told["outside"]["paid"]) > 1:
            yield f"order {order} was charged twice"
    for line in said(point.recovered.output):
        if line[0] == "open" and not line[2]:
            yield f"order {line[1]} never came to an end"


def broken_outside(outside: dict[str, dict[str, int]]) -> Iterator[str]:
    """Every charge is either posted or went back, once."""
    for trade_no in outside["paid"]:
        back = [number for number in outside["refunds"] if number.startswith(trade_no)]
        is_posted = trade_no in outside["posted"] and trade_no not in outside["unposted"]
        if len(back) > 1:
            yield f"{trade_no} went back {len(back)} times"
        if bool(back) is is_posted:
            yield f"{trade_no}: posted {is_posted}, went back {bool(back)}"
    yield from (f"{number} was posted and never paid" for number in outside["posted"] if number not in outside["paid"])


def broken_ledger(outside: dict[str, dict[str, int]], ledger: dict[str, int]) -> Iterator[str]:
    """The ledger knows what the channel holds."""
    kept = sum(
        amount
        for trade_no, amount in outside["paid"].items()
        if not any(number.startswith(trade_no) for number in outside["refunds"])
    )
    if sum(ledger.values()) != 0:
        yield f"the ledger does not sum to zero: {ledger}"
    if ledger.get("1001:channel:wechat", 0) != kept:
        yield f"the channel holds {kept}, the ledger says {ledger}"
    if any(ledger.get(account, 0) for account in ("2002:suspense", "2003:refund-payable")):
        yield f"money without a home: {ledger}"


PAYING = Workload(
    command=command("pay"), recover=command("look"), watched=FILES, check=broken, prepare=prepare, timeout_s=60.0
)


@pytest.mark.timeout(180)
def test_kills_here_and_there_charge_nobody_twice(tmp_path: Path) -> None:
    sweep_crashes(PAYING, double_every=0, stride=600, directory=tmp_path).require(floor=2)


@pytest.mark.slow
@pytest.mark.timeout(5_400)
@pytest.mark.parametrize("offset", range(3))
def test_kills_everywhere_charge_nobody_twice(tmp_path: Path, offset: int) -> None:
    sweep_crashes(PAYING, double_every=0, stride=3, offset=offset, directory=tmp_path).require(floor=500)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_errors_of_the_disk_charge_nobody_twice(tmp_path: Path, error: str) -> None:
    calls = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate")
    sweep_crashes(PAYING, Fail(error), calls=calls, double_every=0, stride=10, directory=tmp_path).require(floor=20)
