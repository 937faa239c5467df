"""The rows by what they are about, the contract's numbers, and arithmetic on stretches of time in microseconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

Doc = dict[str, Any]  # Any: a JSON document
Span = tuple[int, int]
Tracks = dict[str, list[Span]]
Times = dict[str, int]
Share = tuple[Times, int, int]
Weigh = Callable[[int], int]
Judged = dict[str, tuple[str, int, dict[str, Share]]]
Case = tuple[Doc, tuple[int, int | None, int | None], list[Doc], Doc, Doc]
MICRO = 1_000_000
SEVERITIES = ("info", "minor", "major", "critical")
DEFAULT_PROOF = {
    "hospital_power": ["alarm", "incident", "ups"],
    "hospital_network": ["alarm", "incident", "probe"],
    "hospital_system": ["alarm", "incident", "probe"],
    "outside_system": ["alarm", "incident", "probe"],
    "area_locked": ["document", "photo"],
    "hospital_request": ["document"],
    "force_majeure": ["document"],
}
CODE_SIDES = {"on_battery": "hospital", "battery_low": "hospital"}
SCOPE_SIDES = {"power_feed": "hospital", "switch": "hospital", "outside": "outside"}


NOT_UNDERSTOOD = (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError)


class Bad(Exception):
    """What is wrong: in Chinese, in English, and where."""

    def __init__(self, zh: str, en: str, row: int | None = None) -> None:
        super().__init__(en)
        self.zh, self.en, self.row = zh, en, row


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def seconds(us: int) -> int:
    """Whole seconds, the half one up."""
    return (us + MICRO // 2) // MICRO


def half_up(numerator: int, denominator: int) -> int:
    """A quotient, the half one up."""
    return (2 * numerator + denominator) // (2 * denominator)


def iso(us: int | None) -> str | None:
    """A time as the report writes it."""
    if us is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.isoformat().replace("+00:00", "Z")


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same time as ascending stretches that do not touch."""
    found: list[Span] = []
    for since, until in sorted(span for span in spans if span[0] < span[1]):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found


class Terms:
    """The contract's numbers, with what holds where it says nothing."""

    def __init__(self, body: Doc) -> None:
        self.body = body
        self.zone = ZoneInfo(body.get("zone", "Asia/Shanghai"))
        self.warn = body.get("warn_percent", [50, 75, 90])
        self.relapse = body.get("relapse_s", 86_400) * MICRO
        self.proof = body.get("proof_s", 4_500) * MICRO
        self.settle = body.get("settle_days", 7) * 86_400 * MICRO
        limits = body.get("limits", {})
        self.limits = {
            name: (limits.get(name, {}).get("response_s", 14_400), limits.get(name, {}).get("repair_s", 14_400))
            for name in SEVERITIES
        }
        self.exclusions = body.get("exclusions", DEFAULT_PROOF)
        targets = body.get("targets", {})
        self.kiosk_target = int(Decimal(str(targets.get("kiosk", "99.0"))) * 10_000)
        self.function_target = int(Decimal(str(targets.get("function", "99.0"))) * 10_000)
        self.function_targets = {
            name: int(Decimal(str(value)) * 10_000) for name, value in targets.get("functions", {}).items()
        }
        demand = body.get("demand", {})
        self.hours = demand.get("hours", [1] * 24)
        self.areas = demand.get("areas", {})
        self.weights = body.get("functions", {})
        costs = body.get("penalties", {})
        self.costs = {"response": costs.get("response_fen", 0), "repair": costs.get("repair_fen", 0)}
        self.kiosk_cost, self.cap = costs.get("kiosk_below_target_fen", 0), costs.get("monthly_cap_fen")
        begin = date.fromisoformat(body["starts_on"])
        year = begin.year + body.get("years", 5)
        over = date(year, 3, 1) if (begin.month, begin.day) == (2, 29) and not _leap(year) else begin.replace(year=year)
        self.term = (self.midnight(begin), self.midnight(over))

    def midnight(self, day: date) -> int:
        """The local beginning of a day."""
        return micros(datetime(day.year, day.month, day.day, tzinfo=self.zone))

    def proves(self, pause: Doc) -> bool:
        """Whether a pause has evidence that the contract names for its reason."""
        return any(pause["evidence"].get(kind) for kind in self.exclusions.get(pause["reason"], ()))

    def side(self, case: Doc) -> str:
        """Whose side a cause is on."""
        named = self.body.get("sides", {})
        if case["cause"] in named:
            return str(named[case["cause"]])
        return SCOPE_SIDES.get(case["scope"]) or CODE_SIDES.get(case["cause"], "vendor")


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


class Evidence:
    """The rows by what they are about."""

    def __init__(self, rows: list[Doc]) -> None:
        self.contract, self.watch = None, []
        self.latest: dict[str, dict[str, Doc]] = {kind: {} for kind in ("kiosk", "case", "pause", "order", "part")}
        self.presence, self.functions, self.marks = defaultdict(list), defaultdict(list), defaultdict(list)
        for row in rows:
            kind, body = row["kind"], row["body"]
            if kind == "contract":
                self.contract = body
            elif kind in self.latest:
                self.latest[kind][body["kid" if kind == "kiosk" else "id"]] = body
            elif kind == "watch":
                self.watch.append((body["since_us"], body["until_us"]))
            elif kind == "presence":
                self.presence[body["kid"]].append((body["since_us"], body["state"]))
            elif kind == "functions":
                self.functions[body["kid"]].append(body)
            elif kind == "mark":
                self.marks[body["case"]].append(body)
