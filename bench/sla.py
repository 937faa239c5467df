"""Five years of a hundred kiosks in the store, and how long a monthly report of it takes.

The rows are written by a generator of its own, which knows the shape of evidence and none of the rules.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.harness import Better, Goal, Row, load_note, row, say
from bench.site import folder, postgres
from fleet_server.app import MIGRATIONS
from fleet_server.sla.documents import Format
from fleet_server.sla.seal import START, Seal, SealedRow, SealKey, chained
from fleet_server.sla.service import SlaService
from fleet_server.sla.store import SlaStore
from kit.clock import ManualClock
from kit.store import Database, migrate

KIOSKS = 100
DAYS = 1_826
FIRST = date(2026, 1, 1)
MONTHS = ("2026-01", "2028-06", "2030-12")
GOAL_S = 5.0
HOUR = 3_600_000_000
_WHOLE = dict.fromkeys(
    ("identify", "query", "book", "register", "check_in", "pay", "pay_by_card", "print_receipt", "print_report"),
    "available",
)
_Line = tuple[str, dict[str, Any]]


def _contract() -> _Line:
    demand = {"hours": [1] * 7 + [10] * 10 + [2] * 7}
    return "contract", {
        "number": "B",
        "hospital": "示例医院",
        "vendor": "示例公司",
        "starts_on": FIRST.isoformat(),
        "demand": demand,
    }


def _kiosk(number: int, since_us: int) -> _Line:
    parts = {name: [f"model-{name}", f"1.{number % 3}"] for name in ("receipt_printer", "card_reader", "qr_scanner")}
    place = {"area": f"area {number % 8}", "floor": "1", "place": "hall", "model": "demo"}
    return "kiosk", {"kid": f"k-{number:03}", **place, "since_us": since_us, "until_us": None, "components": parts}


def _day(rng: random.Random, day: int, begin: int, cases: Iterator[int]) -> Iterator[_Line]:
    if (FIRST + timedelta(days=day)).day == 1:
        yield _contract()
        for number in range(KIOSKS):
            yield "presence", _presence(number, "online", begin)
    yield "watch", {"since_us": begin, "until_us": begin + 24 * HOUR}
    for number in range(KIOSKS):
        yield _kiosk(number, begin - day * 24 * HOUR)
        kid, at = f"k-{number:03}", begin
        for _ in range(rng.choice([1, 1, 2, 4])):
            until = min(begin + 24 * HOUR, at + rng.randint(1, 24) * HOUR)
            yield (
                "functions",
                {"kid": kid, "at_us": at, "until_us": until, "is_timed": True, "records": 9, "states": _WHOLE},
            )
            if rng.random() < 0.1:
                broken = {**_WHOLE, "print_report": "lost"}
                yield (
                    "functions",
                    {
                        "kid": kid,
                        "at_us": until,
                        "until_us": until + HOUR,
                        "is_timed": True,
                        "records": 2,
                        "states": broken,
                    },
                )
            at = until + HOUR
        if rng.random() < 0.1:
            yield from _trouble(rng, next(cases), kid, begin + rng.randint(0, 20) * HOUR)


def _presence(number: int, state: str, at: int) -> dict[str, Any]:
    return {"kid": f"k-{number:03}", "state": state, "since_us": at, "detected_us": at, "reason": "bench"}


def _trouble(rng: random.Random, number: int, kid: str, at: int) -> Iterator[_Line]:
    over = at + rng.randint(1, 7) * HOUR
    for edge, edge_at in (("raise", at), ("clear", over)):
        alarm = {"seq": number, "n": 0, "component": "receipt_printer", "code": "paper_jam", "edge": edge}
        known = {"severity": "major", "at_us": edge_at, "detected_us": edge_at, "origin": "kiosk", "is_hist": False}
        yield "alarm", {"kid": kid, **alarm, **known}
    name = f"case-{number}"
    place = {
        "scope": "component",
        "scope_name": f"{kid}/receipt_printer",
        "kids": [kid],
        "part": [kid, "receipt_printer"],
    }
    rest = {"is_preventive": False, "is_hist": False, "detected_us": at, "closed_us": over}
    yield "case", {"id": name, "number": number, "cause": "paper_jam", "severity": "major", **place, **rest}
    for kind, mark_at in (("began", at), ("responded", at + HOUR // 2), ("restored", over)):
        yield "mark", {"case": name, "kind": kind, "at_us": mark_at, "by": "li", "source": "incident"}
    if rng.random() < 0.2:
        pause = {"id": f"p{number}", "case": name, "reason": "hospital_request", "evidence": {"document": "d"}}
        yield "pause", {**pause, "since_us": at + HOUR, "until_us": at + 2 * HOUR, "by": "lead"}


async def _fill(database: Database) -> int:
    rng, store = random.Random(5), SlaStore(database)
    key = SealKey(Ed25519PrivateKey.from_private_bytes(b"b" * 32))
    begin = int(datetime(2025, 12, 31, 16, tzinfo=UTC).timestamp()) * 1_000_000
    cases = iter(range(1, 10_000_000))
    chain, no, previous = START, 0, START
    rows: list[SealedRow] = []
    seals: list[Seal] = []
    for day in range(DAYS):
        first = no + 1
        name = (FIRST + timedelta(days=day)).isoformat()
        for kind, body in _day(rng, day, begin + day * 24 * HOUR, cases):
            no += 1
            made = chained(chain, no, name, kind, body)
            chain = made.chain
            rows.append(made)
        seal = Seal(name, first, no, chain, previous, begin + (day + 1) * 24 * HOUR, key.public)
        seals.append(replace(seal, signature=key.sign(seal)))
        previous = seal.digest
        if len(rows) > 100_000 or day == DAYS - 1:
            async with database.write() as connection:
                await store.append(connection, rows, seals, {})
            rows, seals = [], []
    return no


async def _measure(url: str, store: str) -> list[Row]:
    await migrate(url, MIGRATIONS)
    database = Database(url)
    try:
        count = await _fill(database)
        say(f"{store}: {count:,} rows of evidence")
        service = SlaService(database, ManualClock(datetime(2032, 1, 1, tzinfo=UTC)))
        took: list[float] = []
        on_paper: list[float] = []
        for month in MONTHS:
            started_s = time.perf_counter()
            report = await service.report(month)
            took.append(time.perf_counter() - started_s)
            assert report.summary.kiosks == KIOSKS
            assert report.is_final
            started_s = time.perf_counter()
            await service.file(month, Format.PDF)
            on_paper.append(time.perf_counter() - started_s)
            size = f"{report.evidence_rows:,} rows, {len(report.cases)} cases"
            say(f"{store} {month}: {took[-1]:.2f} s, as PDF {on_paper[-1]:.2f} s, {size}")
    finally:
        await database.close()
    note = f"{count:,} rows of 5 years, slowest of {len(MONTHS)} months{load_note()}"
    goal = Goal(Better.LESS, GOAL_S, absolute=True)
    return [
        row(f"sla.report_{store}", "s", max(took), None, goal, note),
        row(f"sla.pdf_{store}", "s", max(on_paper), None, goal, note),
    ]


async def sla() -> list[Row]:
    """The report on both stores."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(folder())
        server = await stack.enter_async_context(postgres())
        return [
            *await _measure(f"sqlite+aiosqlite:///{place / 'fleet.db'}", "sqlite"),
            *await _measure(server.url(server.create()), "postgresql"),
        ]
