"""Evidence of an imagined month, as rows; seeded, and written without the product's rules."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR = 3_600_000_000
SECOND = 1_000_000
FUNCTIONS = ("pay", "print_report", "query", "register")
AREAS = ("急诊", "门诊大厅", "住院部")
CAUSES = ("paper_jam", "kiosk_offline", "card_unreadable", "no_picture")
Row = tuple[str, dict[str, Any]]


def us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def contract(**changes: object) -> Row:
    body = {
        "number": "T-1",
        "hospital": "示例医院",
        "vendor": "示例公司",
        "starts_on": "2026-01-01",
        "functions": {"pay": 4, "print_report": 2},
        "targets": {"kiosk": "99.0", "function": "99.0", "functions": {"pay": "99.5"}},
        "demand": {"hours": [1] * 7 + [10] * 10 + [3] * 7, "areas": {"急诊": [5] * 12 + [7] * 12}},
        "penalties": {
            "response_fen": 50_000,
            "repair_fen": 100_000,
            "kiosk_below_target_fen": 20_000,
            "monthly_cap_fen": 5_000_000,
        },
    }
    return "contract", body | changes


def kiosk(kid: str, since_us: int, area: str = "门诊大厅", until_us: int | None = None) -> Row:
    return "kiosk", {
        "kid": kid,
        "area": area,
        "floor": "1",
        "place": f"{area} {kid}",
        "model": "demo-kiosk",
        "since_us": since_us,
        "until_us": until_us,
        "components": {"receipt_printer": ["acme-p80", "1.2"], "card_reader": ["acme-cr1", "3.0"]},
    }


def watch(since_us: int, until_us: int) -> Row:
    return "watch", {"since_us": since_us, "until_us": until_us}


def presence(kid: str, state: str, at_us: int) -> Row:
    return "presence", {"kid": kid, "state": state, "since_us": at_us, "detected_us": at_us, "reason": "test"}


def said(kid: str, at_us: int, until_us: int, states: dict[str, str], *, is_timed: bool = True) -> Row:
    body = {"kid": kid, "at_us": at_us, "until_us": until_us, "is_timed": is_timed, "records": 2, "states": states}
    return "functions", body


def case(number: int, kids: list[str], cause: str = "paper_jam", **changes: object) -> Row:
    body = {
        "id": f"case-{number}",
        "number": number,
        "cause": cause,
        "scope": "component",
        "scope_name": f"{kids[0]}/receipt_printer",
        "severity": "major",
        "kids": kids,
        "part": [kids[0], "receipt_printer"],
        "is_preventive": False,
        "is_hist": False,
        "detected_us": 0,
        "closed_us": None,
    }
    return "case", body | changes


def mark(number: int, kind: str, at_us: int, source: str = "incident") -> Row:
    return "mark", {"case": f"case-{number}", "kind": kind, "at_us": at_us, "by": None, "source": source}


def pause(number: int, since_us: int, until_us: int | None, reason: str = "hospital_request", **evidence: str) -> Row:
    body = {
        "id": f"pause-{number}-{since_us}",
        "case": f"case-{number}",
        "reason": reason,
        "since_us": since_us,
        "until_us": until_us,
        "evidence": evidence,
        "by": "lead",
    }
    return "pause", body


def order(number: int, **changes: object) -> Row:
    body = {"id": f"order-{number}", "number": number, "case": f"case-{number}", "is_void": False, "state": "closed"}
    return "order", body | changes


def part(number: int, at_us: int, kid: str) -> Row:
    return "part", {
        "id": f"part-{number}",
        "order": f"WO-{number}",
        "kid": kid,
        "component": "receipt_printer",
        "part": "切刀",
        "serial_out": f"A{number}",
        "serial_in": f"B{number}",
        "at_us": at_us,
    }


def month(seed: int, first: datetime, days: int, kiosks: int) -> list[Row]:
    """A month of a small fleet in which everything happens; what is known of a day is in that day's part."""
    rng = random.Random(seed)
    start = us(first)
    rows = [contract(), *(kiosk(f"k-{n:03}", start - 30 * 24 * HOUR, AREAS[n % 3]) for n in range(kiosks))]
    rows += [presence(f"k-{n:03}", "online", start - 30 * 24 * HOUR) for n in range(kiosks)]
    number = 0
    for day in range(days):
        begin = start + day * 24 * HOUR
        gap = rng.randint(0, 3 * HOUR) if rng.random() < 0.2 else 0
        rows += [watch(begin, begin + 10 * HOUR), watch(begin + 10 * HOUR + gap, begin + 24 * HOUR)]
        for n in range(kiosks):
            kid = f"k-{n:03}"
            rows += _day(rng, kid, begin)
            if rng.random() < 0.3:
                number += 1
                rows += _trouble(rng, number, kid, begin + rng.randint(0, 24 * HOUR))
    return rows


def _day(rng: random.Random, kid: str, begin: int) -> list[Row]:
    edges = sorted(begin + rng.randint(0, 24 * HOUR - 1) for _ in range(rng.choice([0, 0, 2, 4])))
    states = ["online", *rng.choices(["online", "offline", "planned", "unknown", "unstable"], k=len(edges))]
    rows = [presence(kid, state, at) for state, at in zip(states[1:], edges, strict=True)]
    if edges:
        rows.append(presence(kid, "online", begin + 24 * HOUR - 1))
    at = begin
    while at < begin + 24 * HOUR:
        length = rng.randint(0, 9 * HOUR)
        spoken = {
            name: rng.choices(["available", "degraded", "lost", "unknown"], [20, 2, 1, 1])[0] for name in FUNCTIONS
        }
        rows.append(said(kid, at, min(at + length, begin + 24 * HOUR), spoken, is_timed=rng.random() < 0.97))
        at += length + rng.randint(60 * SECOND, 2 * HOUR)
    return rows


def _trouble(rng: random.Random, number: int, kid: str, at: int) -> list[Row]:
    cause = rng.choice(CAUSES)
    scope = rng.choice(["component", "component", "kiosk", "power_feed"])
    severity = rng.choice(["critical", "major", "minor"])
    rows = [
        case(number, [kid], cause, scope=scope, severity=severity, is_preventive=rng.random() < 0.1),
        mark(number, "began", at + rng.randint(0, 300) * SECOND),
        mark(number, "began", at),
    ]
    answered = at + rng.randint(60, 20_000) * SECOND
    restored = answered + rng.randint(60, 20_000) * SECOND
    rows.append(mark(number, "responded", answered))
    if rng.random() < 0.95:
        rows.append(mark(number, "restored", restored))
    if rng.random() < 0.2:
        rows += [mark(number, "relapsed", restored + HOUR), mark(number, "restored", restored + 2 * HOUR)]
    if rng.random() < 0.4:
        since = at + rng.randint(0, 6_000) * SECOND
        evidence = {"document": "doc-1"} if rng.random() < 0.7 else {}
        rows.append(pause(number, since, since + rng.randint(60, 9_000) * SECOND, **evidence))
    if rng.random() < 0.5:
        rows += [order(number), mark(number, "restored", restored + 600 * SECOND, "order"), part(number, restored, kid)]
    return rows
