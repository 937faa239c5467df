"""A made-up hospital for the pages: kiosks with places, presence, figures, alarms and histories, all from one seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from fleet_server.alerts.model import AlarmOrigin, AlarmView
from fleet_server.presence.model import ComponentsView, ComponentView, PresenceSpan, PresenceTimeline
from fleet_server.registry.model import (
    CertificateState,
    CertificateView,
    EnrolmentView,
    KioskDetail,
    KioskState,
    KioskView,
    PresenceState,
)
from fleet_server.telemetry.model import EventView, Point, Series, TelemetryView
from wire.consumables import ConsumableLevel, ConsumableSource, ConsumableStatus, ConsumableUnit
from wire.enrolment import EnrolmentState
from wire.faults import FACTS, RANK, Fault, Severity
from wire.functions import FUNCTION_TITLES, FunctionStatus, decode_fields
from wire.presence import Activity

NOW = datetime(2026, 3, 18, 6, 30, tzinfo=UTC)
AREAS = (
    ("门诊楼", ("1F", "2F", "3F"), (18, 14, 10)),
    ("急诊楼", ("1F", "2F"), (12, 6)),
    ("住院楼", ("1F", "5F"), (14, 6)),
    ("医技楼", ("1F", "B1"), (12, 8)),
)
PLACES = (
    "大厅东侧",
    "大厅西侧",
    "挂号窗口旁",
    "药房旁",
    "电梯厅",
    "检验科门口",
    "候诊区",
    "护士站旁",
    "连廊",
    "收费处旁",
)
DEVICES = (
    ("card-reader", "card_reader", "HD-100", "2.4.1"),
    ("id-reader", "id_card_reader", "CVR-100U", "1.0.9"),
    ("qr-scanner", "qr_scanner", "NLS-FM430", "3.12"),
    ("receipt-printer", "receipt_printer", "BK-T680", "5.02"),
    ("report-printer", "report_printer", "P3300DN", None),
)
UNITS = {"cpu_percent": "%", "memory_percent": "%", "disk_percent": "%", "temperature_c": "°C", "clock_offset_s": "s"}
_LIVE_FIGURES = frozenset({PresenceState.ONLINE, PresenceState.UNSTABLE})


@dataclass
class Hospital:
    """Everything the mock server answers from."""

    now: datetime
    kiosks: dict[str, KioskView]
    alarms: dict[str, AlarmView]
    enrolments: dict[str, EnrolmentView] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)

    def change(self, kid: str, **fields: object) -> KioskView:
        """Replace fields of one kiosk."""
        self.kiosks[kid] = self.kiosks[kid].model_copy(update=fields)
        return self.kiosks[kid]

    def detail(self, kid: str) -> KioskDetail:
        row = self.kiosks[kid]
        certificate = CertificateView(
            fingerprint="9f" * 32,
            serial="4A:11:90:7E",
            state=CertificateState.ACTIVE,
            not_before=self.now - timedelta(days=338),
            not_after=self.now + timedelta(days=27, hours=4),
            issued_at=self.now - timedelta(days=338),
            issued_by="chen.wei",
            revoked_at=None,
            revoke_reason=None,
        )
        known = row.state is not KioskState.PLANNED
        return KioskDetail(
            **row.model_dump(),
            state_since=self.now - timedelta(days=338),
            state_reason=None,
            quarantine=None,
            certificates=[certificate] if known else [],
            site="本部",
            switch=f"SW-{row.floor}",
            power_feed=f"UPS-{row.floor}",
        )

    def components(self, kid: str) -> ComponentsView:
        row = self.kiosks[kid]
        broken = {alarm.component: alarm for alarm in self.alarms.values() if alarm.kid == kid}
        if row.presence is PresenceState.NEVER:
            return ComponentsView(
                components=[],
                agent_version=None,
                boot=None,
                started_at=None,
                profile=row.profile,
                os=None,
                kernel=None,
                hostname=None,
                addresses=[],
                certificate_expires_at=None,
            )
        return ComponentsView(
            components=[
                ComponentView(
                    name=name,
                    kind=kind,
                    model=model,
                    firmware=firmware,
                    serial=f"SN{abs(hash_of(kid + name)) % 10**8:08d}",
                    state="faulted" if name in broken else "ready",
                    fault=broken[name].code if name in broken else None,
                    since=broken[name].raised_at if name in broken else None,
                )
                for name, kind, model, firmware in DEVICES
            ],
            agent_version=row.agent_version,
            boot="b7d0c1",
            started_at=self.now - timedelta(days=6, hours=3),
            profile=row.profile,
            os="Debian GNU/Linux 12",
            kernel="6.1.0-28-amd64",
            hostname=row.kid,
            addresses=["10.20.3.41"],
            certificate_expires_at=self.now + timedelta(days=27, hours=4),
        )

    def presence(self, kid: str, start: datetime, end: datetime) -> PresenceTimeline:
        rng = random.Random(kid)
        row = self.kiosks[kid]
        if row.presence is PresenceState.NEVER:
            return PresenceTimeline(edges=[])
        edges: list[PresenceSpan] = []
        at = start
        kinds = (
            (PresenceState.OFFLINE, "connection_lost", 40),
            (PresenceState.UNSTABLE, "connection_lost", 25),
            (PresenceState.PLANNED, "reboot", 6),
        )
        while at < end:
            calm = timedelta(minutes=rng.uniform(120, 700))
            edges.append(_edge(PresenceState.ONLINE, at, min(at + calm, end), "connected"))
            at += calm
            if at >= end:
                break
            state, reason, minutes = rng.choice(kinds)
            length = timedelta(minutes=rng.uniform(2, minutes))
            edges.append(_edge(state, at, min(at + length, end), reason))
            at += length
        last = edges[-1]
        edges[-1] = last.model_copy(update={"presence": row.presence, "until": None})
        return PresenceTimeline(edges=edges)

    def telemetry(self, kid: str, metrics: list[str], start: datetime, end: datetime, points: int) -> TelemetryView:
        bucket_s = max(30.0, (end - start).total_seconds() / points)
        series = [
            Series(metric=metric, unit=UNITS.get(metric, ""), points=_points(kid, metric, start, end, bucket_s))
            for metric in metrics
        ]
        if self.kiosks[kid].presence is PresenceState.NEVER:
            series = [one.model_copy(update={"points": []}) for one in series]
        return TelemetryView(series=series, bucket_s=bucket_s, since=start, until=end)

    def events(self, kid: str) -> list[EventView]:
        rng = random.Random(f"events-{kid}")
        names = (
            ("event", "receipt-printer", "paper.low"),
            ("event", "card-reader", "card.ejected"),
            ("event", "host", "network.restored"),
            ("alarm", "receipt-printer", "paper_out"),
            ("event", "agent", "session.ended"),
            ("audit", "agent", "menu_opened"),
        )
        if self.kiosks[kid].presence is PresenceState.NEVER:
            return []
        at = self.now
        events = []
        for number in range(60):
            at -= timedelta(minutes=rng.uniform(1, 90))
            kind, component, name = rng.choice(names)
            body: dict[str, JsonValue] = {"edge": "raise"} if kind == "alarm" else {"count": number}
            events.append(
                EventView(
                    id=f"1.{60 - number}",
                    kind=kind,
                    component=component,
                    name=name,
                    at=at,
                    kiosk_at=at,
                    received_at=at + timedelta(seconds=1),
                    hist=rng.random() < 0.1,
                    body=body,
                    record_class="p0" if kind == "alarm" else "p1",
                )
            )
        return events


def hash_of(text: str) -> int:
    """A number from a text, the same in every process."""
    return int.from_bytes(random.Random(text).randbytes(4))


def _edge(state: PresenceState, since: datetime, until: datetime, reason: str) -> PresenceSpan:
    return PresenceSpan(presence=state, since=since, until=until, reason=reason, detected_at=since)


def _points(kid: str, metric: str, start: datetime, end: datetime, bucket_s: float) -> list[Point]:
    rng = random.Random(f"{kid}-{metric}")
    base = {"cpu_percent": 14.0, "memory_percent": 46.0, "disk_percent": 38.0, "temperature_c": 47.0}.get(metric, 0.02)
    swing = {"cpu_percent": 8.0, "memory_percent": 6.0, "disk_percent": 1.0, "temperature_c": 4.0}.get(metric, 0.03)
    points = []
    at = start
    gap_start = start + (end - start) * 0.62
    gap_end = gap_start + (end - start) * 0.03
    while at < end:
        hour = at.hour + at.minute / 60
        day = max(0.0, math.sin((hour + 2) / 24 * 2 * math.pi))
        value = base + swing * day + rng.gauss(0, swing * 0.18)
        band = abs(rng.gauss(swing * 0.35, swing * 0.2))
        if not gap_start <= at < gap_end:
            low = value - band if metric == "clock_offset_s" else max(0.0, value - band)
            points.append(Point(at=at, avg=value, min=low, max=value + band * 1.6))
        at += timedelta(seconds=bucket_s)
    return points


def make(count: int = 100, *, now: datetime = NOW, seed: int = 7) -> Hospital:
    """Furnish a hospital with `count` kiosks."""
    rng = random.Random(seed)
    kiosks: dict[str, KioskView] = {}
    for number, (area, floor, index) in zip(range(1, count + 1), _spots(count), strict=False):
        row = _kiosk(number, area, floor, index, now, rng)
        kiosks[row.kid] = row
    hospital = Hospital(now, kiosks, {})
    _break_some(hospital, rng)
    _ask_for_identities(hospital)
    return hospital


def _spots(count: int) -> list[tuple[str, str, int]]:
    spots: list[tuple[str, str, int]] = []
    while len(spots) < count:
        for area, floors, counts in AREAS:
            for floor, number in zip(floors, counts, strict=True):
                spots.extend((area, floor, len(spots) + index) for index in range(number))
    return spots[:count]


def _kiosk(number: int, area: str, floor: str, index: int, now: datetime, rng: random.Random) -> KioskView:
    age_s = rng.uniform(0.5, 14.0)
    column, line = index % 6, (index // 6) % 4
    return KioskView(
        kid=f"zzj-{number:03d}",
        asset_no=f"ZZJ-{number:03d}",
        serial=f"KS24{number * 7919 % 1_000_000:06d}",
        place=PLACES[number % len(PLACES)],
        area=area,
        floor=floor,
        x=4.0 + column * 9 + rng.uniform(-2, 2),
        y=3.0 + line * 6 + rng.uniform(-1, 1),
        profile="lobby-2024" if number % 3 else "ward-2023",
        state=KioskState.ENROLLED,
        presence=PresenceState.ONLINE,
        presence_since=now - timedelta(hours=rng.uniform(1, 150)),
        last_seen_at=now - timedelta(seconds=age_s),
        age_s=age_s,
        agent_version="0.1.0" if number % 11 else "0.0.9",
        activity=rng.choices([Activity.IDLE, Activity.IN_SESSION, Activity.PAYING], [6, 3, 1])[0],
        cpu_percent=round(rng.uniform(4, 38), 1),
        memory_percent=round(rng.uniform(34, 61), 1),
        disk_percent=round(rng.uniform(22, 58), 1),
        temperature_c=round(rng.uniform(41, 58), 1),
        clock_offset_s=round(rng.gauss(0, 0.03), 3),
        functions=functions_with(None, now),
        consumables=consumables_with(35.0 + number % 60),
    )


def functions_with(fault: Fault | None, now: datetime) -> list[FunctionStatus]:
    """All functions of a kiosk whose receipt printer has this fault."""
    whole = {name.value: "available" for name in FUNCTION_TITLES}
    why = "" if fault is None or FACTS[fault].severity is Severity.MINOR else f"receipt_printer:{fault.value}"
    if why:
        whole |= {"pay": f"degraded -receipt {why}", "register": f"degraded -ticket {why}"}
        whole |= dict.fromkeys(("print_receipt", "print_ticket", "pay_by_card", "inpatient_deposit"), f"lost {why}")
    since = now - timedelta(minutes=23)
    return [status.model_copy(update={"since": since}) for status in decode_fields(whole)]


def consumables_with(paper_percent: float) -> list[ConsumableStatus]:
    """Paper for receipts at this level, and toner."""
    level = ConsumableLevel.OK if paper_percent > 5 else ConsumableLevel.LOW if paper_percent else ConsumableLevel.EMPTY
    paper = ConsumableStatus(
        component="receipt_printer",
        consumable="paper",
        unit=ConsumableUnit.MM,
        level=level,
        source=ConsumableSource.COUNTED,
        percent=paper_percent,
        per_day=8_000.0,
        days_left=round(paper_percent / 10, 1),
    )
    toner = paper.model_copy(
        update={"component": "report_printer", "consumable": "toner", "percent": 72.0, "part": "TO-5100"}
    )
    return [paper, toner.model_copy(update={"level": ConsumableLevel.OK, "days_left": None, "per_day": None})]


def _break_some(hospital: Hospital, rng: random.Random) -> None:
    kids = list(hospital.kiosks)
    now = hospital.now
    chosen = iter(rng.sample(kids, min(len(kids), 16)))
    gone: tuple[tuple[PresenceState, float, Fault | None], ...] = (
        (PresenceState.OFFLINE, 3.2, Fault.KIOSK_OFFLINE),
        (PresenceState.OFFLINE, 0.2, Fault.KIOSK_OFFLINE),
        (PresenceState.OFFLINE, 31.0, Fault.KIOSK_OFFLINE),
        (PresenceState.UNSTABLE, 0.4, Fault.KIOSK_UNSTABLE),
        (PresenceState.UNSTABLE, 0.1, Fault.KIOSK_UNSTABLE),
        (PresenceState.PLANNED, 0.05, None),
    )
    for (presence, hours, code), kid in zip(gone, chosen, strict=False):
        since = now - timedelta(hours=hours)
        seen = since if presence not in _LIVE_FIGURES else now - timedelta(seconds=9)
        age_s = (now - seen).total_seconds()
        hospital.change(kid, presence=presence, presence_since=since, last_seen_at=seen, age_s=age_s)
        if presence not in _LIVE_FIGURES:
            hospital.change(kid, activity=Activity.UNKNOWN)
        if code is not None:
            add_alarm(hospital, kid, "host", code)
    _break_devices(hospital, chosen)
    cloned = next(chosen, None)
    if cloned is not None:
        hospital.change(cloned, state=KioskState.QUARANTINED)
        add_alarm(hospital, cloned, "host", Fault.KIOSK_CLONED)
    unseen = dict.fromkeys(("cpu_percent", "memory_percent", "disk_percent", "temperature_c", "clock_offset_s"))
    for kid in chosen:
        hospital.change(
            kid,
            **unseen,
            functions=[],
            consumables=[],
            state=KioskState.PLANNED,
            presence=PresenceState.NEVER,
            presence_since=None,
            last_seen_at=None,
            age_s=None,
            agent_version=None,
            activity=Activity.UNKNOWN,
        )


def _break_devices(hospital: Hospital, chosen: Iterator[str]) -> None:
    faults = (Fault.PAPER_OUT, Fault.PAPER_LOW, Fault.NOT_RESPONDING, Fault.PAPER_JAM, Fault.CLOCK_SKEW, Fault.DISK_LOW)
    for code, kid in zip(faults, chosen, strict=False):
        if code in {Fault.CLOCK_SKEW, Fault.DISK_LOW}:
            add_alarm(hospital, kid, "host", code)
        else:
            add_alarm(hospital, kid, "receipt-printer", code)
            paper_percent = 0.0 if code is Fault.PAPER_OUT else 41.0
            hospital.change(
                kid, functions=functions_with(code, hospital.now), consumables=consumables_with(paper_percent)
            )
        if code is Fault.CLOCK_SKEW:
            hospital.change(kid, clock_offset_s=-34.2)
        if code is Fault.DISK_LOW:
            hospital.change(kid, disk_percent=93.4)


def add_alarm(hospital: Hospital, kid: str, component: str, code: Fault) -> None:
    """Open an alarm and count it on the kiosk."""
    severity = FACTS[code].severity
    row = hospital.kiosks[kid]
    number = f"{kid}-{code}"
    raised = row.presence_since if code is Fault.KIOSK_OFFLINE else hospital.now - timedelta(minutes=23)
    facts = FACTS[code]
    hospital.alarms[number] = AlarmView(
        kid=kid,
        component=component,
        code=code,
        severity=severity,
        origin=AlarmOrigin.SERVER if component == "host" else AlarmOrigin.KIOSK,
        is_open=True,
        raised_at=raised or hospital.now,
        detected_at=raised or hospital.now,
        cleared_at=None,
        title_zh=facts.zh,
        title_en=facts.en,
        remedy_zh=facts.remedy_zh,
        remedy_en=facts.remedy_en,
        detail={},
    )
    worst = max((severity, row.alarm_worst or Severity.INFO), key=RANK.__getitem__)
    hospital.change(kid, alarms_open=row.alarms_open + 1, alarm_worst=worst)


def _ask_for_identities(hospital: Hospital) -> None:
    planned = [row for row in hospital.kiosks.values() if row.state is KioskState.PLANNED]
    for number, minutes in (("0001", 2), ("0002", 7)):
        match = planned[0] if number == "0001" and planned else None
        hospital.codes[number] = "314159" if number == "0001" else "271828"
        hospital.enrolments[number] = EnrolmentView(
            id=number,
            state=EnrolmentState.PENDING,
            serial=(match.serial if match else None) or "KS24990417",
            model="lobby-2024",
            hostname="kiosk-setup",
            agent_version="0.1.0",
            source="10.20.3.77",
            created_at=hospital.now - timedelta(minutes=minutes),
            expires_at=hospital.now + timedelta(minutes=10 - minutes),
            tries_left=5,
            suggested_kid=match.kid if match else None,
            kid=None,
            decided_at=None,
            decided_by=None,
            reason=None,
        )
