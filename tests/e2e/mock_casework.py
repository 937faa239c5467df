"""Incidents, work orders, a month of service and an audit trail for the pages: a few made-up rows, acted upon."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fleet_server.incidents.model import (
    AcknowledgeForm,
    EventKind,
    IncidentDetail,
    IncidentEventView,
    IncidentQuery,
    IncidentState,
    IncidentView,
    MemberView,
    NoteForm,
    Part,
    Scope,
)
from fleet_server.orders.forms import (
    ClockView,
    LineView,
    OrderDetail,
    OrderQuery,
    OrderView,
    RoundView,
    StopOver,
    TargetView,
)
from fleet_server.orders.model import NewsKind, OrderKind, OrderState
from fleet_server.paging.model import DeliveryQuery, DeliveryState, DeliveryView
from fleet_server.sla.model import Availability, BreachLine, CaseLine, ModelLine, Report, Summary
from fleet_server.sla.routes import MonthQuery
from fleet_server.staff.model import AuditView
from fleet_server.staff.permissions import Permission
from fleet_server.staff.routes import AuditQuery, ChainQuery, ChainView
from kit.web import Call, Page, Problem, Routes
from wire.faults import FACTS, Fault, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

ME = "chen.wei"
INCIDENT, POWER, ORDER = "01J00000000000000000000001", "01J00000000000000000000002", "01J00000000000000000000003"
FOUR_HOURS_S = 4 * 3_600.0
AUDIT_ROWS = 70


class MockCasework:
    """What happened in the made-up hospital; acting on it changes the rows."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.incidents = {INCIDENT: _paper_out(now), POWER: _power_cut(now)}
        self.orders = {ORDER: _order(now)}
        self.is_chain_whole = True

    def routes(self) -> Sequence[Routes]:
        """Give what the pages ask for."""
        return [self._incidents(), self._orders(), self._sla(), self._audit()]

    def _incidents(self) -> Routes:
        routes = Routes("incidents")

        @routes.get("/api/v1/incidents", permission=Permission.INCIDENTS_READ, summary="Incidents")
        async def incidents(call: Call[Any], query: IncidentQuery) -> Page[IncidentView]:
            shown = [one for one in self.incidents.values() if query.state in {"open", "all"}]
            views = [IncidentView(**one.model_dump(include=set(IncidentView.model_fields))) for one in shown]
            return Page(items=views, total=len(views))

        @routes.get("/api/v1/incidents/{identifier}", permission=Permission.INCIDENTS_READ, summary="One incident")
        async def incident(call: Call[Any], identifier: str) -> IncidentDetail:
            if identifier not in self.incidents:
                raise Problem(404, "unknown_incident", "There is no such incident")
            return self.incidents[identifier]

        @routes.post("/api/v1/incidents/{identifier}/acknowledge", permission=Permission.INCIDENTS_ACT, summary="Take")
        async def acknowledge(call: Call[Any], identifier: str, body: AcknowledgeForm) -> IncidentDetail:
            change = {
                "state": IncidentState.ACKNOWLEDGED,
                "acknowledged_at": self.now,
                "acknowledged_by": ME,
            }
            return self._happened(identifier, EventKind.ACKNOWLEDGED, body.note, change)

        @routes.post("/api/v1/incidents/{identifier}/notes", permission=Permission.INCIDENTS_ACT, summary="Note")
        async def note(call: Call[Any], identifier: str, body: NoteForm) -> IncidentDetail:
            return self._happened(identifier, EventKind.NOTED, body.note, {})

        @routes.get("/api/v1/pages", permission=Permission.INCIDENTS_READ, summary="Who was told")
        async def pages(call: Call[Any], query: DeliveryQuery) -> Page[DeliveryView]:
            told = DeliveryView(
                id="1",
                incident=INCIDENT,
                step=1,
                turn=1,
                target="on-site",
                state=DeliveryState.HANDED_OVER,
                due_at=self.now,
                attempts=1,
                touched_at=self.now,
                note="",
                person="wang",
            )
            return Page(items=[told], total=1)

        return routes

    def _happened(self, identifier: str, kind: EventKind, note: str, change: dict[str, object]) -> IncidentDetail:
        before = self.incidents[identifier]
        line = IncidentEventView(
            seq=len(before.timeline) + 1, kind=kind, at=self.now, written_at=self.now, by=ME, fields={"note": note}
        )
        self.incidents[identifier] = before.model_copy(update={**change, "timeline": [*before.timeline, line]})
        return self.incidents[identifier]

    def _orders(self) -> Routes:
        routes = Routes("orders")

        @routes.get("/api/v1/orders", permission=Permission.ORDERS_READ, summary="Work orders")
        async def orders(call: Call[Any], query: OrderQuery) -> Page[OrderView]:
            views = [OrderView(**one.model_dump(include=set(OrderView.model_fields))) for one in self.orders.values()]
            return Page(items=views, total=len(views))

        @routes.get("/api/v1/orders/round", permission=Permission.ORDERS_READ, summary="Walking round")
        async def walking_round(call: Call[Any]) -> list[RoundView]:
            stop = StopOver(kid="zzj-021", place="门诊大厅 1F", bring=["80 mm 热敏纸"], days_left=0.6)
            return [RoundView(floor="1F", bring=["80 mm 热敏纸 x 1"], stops=[stop])]

        @routes.get("/api/v1/orders/{order}", permission=Permission.ORDERS_READ, summary="One order")
        async def order_detail(call: Call[Any], order: str) -> OrderDetail:
            return self.orders[order]

        @routes.post("/api/v1/orders/{order}/respond", permission=Permission.ORDERS_WORK, summary="Take it")
        async def respond(call: Call[Any], order: str) -> OrderDetail:
            before = self.orders[order]
            line = LineView(seq=2, kind=NewsKind.RESPONDED, at=self.now, written_at=self.now, by=ME, fields={})
            change = {"state": OrderState.RESPONDED, "assignee": ME, "timeline": [*before.timeline, line]}
            self.orders[order] = before.model_copy(update=change)
            return self.orders[order]

        @routes.post("/api/v1/orders/{order}/close", permission=Permission.ORDERS_WORK, summary="Close it")
        async def close(call: Call[Any], order: str) -> OrderDetail:
            raise Problem(409, "repair_unproved", "The device has not proved the repair")

        return routes

    def _sla(self) -> Routes:
        routes = Routes("sla")

        @routes.get("/api/v1/sla/report", permission=Permission.SLA_READ, summary="The month")
        async def report(call: Call[Any], query: MonthQuery) -> Report:
            return _report(query.month, self.now)

        return routes

    def _audit(self) -> Routes:
        routes = Routes("audit")

        @routes.get("/api/v1/audit", permission=Permission.AUDIT_READ, summary="The trail")
        async def audit(call: Call[Any], query: AuditQuery) -> Page[AuditView]:
            first = AUDIT_ROWS if query.cursor is None else query.cursor - 1
            rows = [_audit_row(no, self.now) for no in range(first, max(0, first - query.limit), -1)]
            rows = [row for row in rows if query.action in {None, row.action}]
            return Page(items=rows, total=AUDIT_ROWS, next=str(rows[-1].no) if rows and rows[-1].no > 1 else None)

        @routes.get("/api/v1/audit/chain", permission=Permission.AUDIT_READ, summary="Whole?")
        async def chain(call: Call[Any], query: ChainQuery) -> ChainView:
            return ChainView(
                is_whole=self.is_chain_whole,
                first_bad_no=None if self.is_chain_whole else 17,
                reason=None if self.is_chain_whole else "the row was changed",
                head_no=AUDIT_ROWS,
                head_chain="5e" * 32,
            )

        return routes


def _audit_row(no: int, now: datetime) -> AuditView:
    action = "auth.login" if no % 2 else "incidents.acknowledge"
    at = now - timedelta(minutes=AUDIT_ROWS - no)
    return AuditView(
        no=no,
        at=at,
        actor=ME,
        action=action,
        target=None,
        outcome="done",
        source="10.1.2.3",
        fields={},
        chain="5e" * 32,
    )


def _incident(now: datetime, number: int, cause: Fault, **facts: Any) -> IncidentDetail:  # noqa: ANN401 - of a model
    known = FACTS[cause]
    since = now - timedelta(minutes=12)
    given: dict[str, Any] = {
        "number": number,
        "name": f"INC-{number:06d}",
        "state": IncidentState.OPEN,
        "cause": cause.value,
        "title_zh": known.zh,
        "title_en": known.en,
        "remedy_zh": known.remedy_zh,
        "remedy_en": known.remedy_en,
        "runbook": "docs/runbooks/paper.md",
        "spare_part": "80 mm 热敏纸",
        "since": since,
        "detected_at": since,
        "opened_at": since,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "recovered_at": None,
        "closed_at": None,
        "flaps": 0,
        "snoozed_until": None,
        "window": None,
        "is_hist": False,
        "timeline": [
            IncidentEventView(seq=1, kind=EventKind.OPENED, at=since, written_at=since, by=None, fields={"members": 1})
        ],
    }
    return IncidentDetail(**(given | facts))


def _member(kid: str, component: str, cause: Fault, now: datetime, part: Part = Part.CAUSE) -> MemberView:
    since = now - timedelta(minutes=12)
    return MemberView(
        kid=kid,
        component=component,
        code=cause.value,
        part=part,
        severity=Severity.MAJOR,
        since=since,
        cleared_at=None,
    )


def _paper_out(now: datetime) -> IncidentDetail:
    return _incident(
        now,
        7,
        Fault.PAPER_OUT,
        id=INCIDENT,
        scope=Scope.COMPONENT,
        scope_name="zzj-021/receipt_printer",
        severity=Severity.MAJOR,
        members=[_member("zzj-021", "receipt_printer", Fault.PAPER_OUT, now)],
    )


def _power_cut(now: datetime) -> IncidentDetail:
    members = [_member(f"zzj-{number:03d}", "kiosk", Fault.KIOSK_OFFLINE, now) for number in range(1, 13)]
    return _incident(
        now,
        8,
        Fault.KIOSK_OFFLINE,
        id=POWER,
        scope=Scope.POWER_FEED,
        scope_name="UPS-3F-A",
        severity=Severity.CRITICAL,
        spare_part=None,
        members=members,
    )


def _order(now: datetime) -> OrderDetail:
    since = now - timedelta(minutes=12)
    running = ClockView(target_s=FOUR_HOURS_S, elapsed_s=720, left_s=FOUR_HOURS_S - 720, percent=0, stopped_at=None)
    known = FACTS[Fault.PAPER_OUT]
    return OrderDetail(
        id=ORDER,
        number="WO-000012",
        kind=OrderKind.INCIDENT,
        state=OrderState.NEW,
        cause=Fault.PAPER_OUT.value,
        title_zh=known.zh,
        title_en=known.en,
        place="门诊大厅 1F",
        severity=Severity.MAJOR,
        incident=INCIDENT,
        since=since,
        opened_at=since,
        text="",
        assignee=None,
        relapses=0,
        closed_at=None,
        response=running,
        repair=running,
        responded=None,
        on_site=None,
        repaired=None,
        waiver_by=None,
        waiver_reason=None,
        probation_until=None,
        missing=["zzj-021 receipt_printer: paper_out is still up"],
        targets=[TargetView(kid="zzj-021", component="receipt_printer", code="paper_out", since=since)],
        pauses=[],
        parts=[],
        photos=[],
        timeline=[LineView(seq=1, kind=NewsKind.OPENED, at=since, written_at=since, by=None, fields={})],
    )


def _report(month: str, now: datetime) -> Report:
    part = {"target_ppm": 990_000, "up_s": 2_500_000, "excluded_s": 600, "unproved_s": 0}
    served = [
        Availability(name="pay", title="缴费", availability_ppm=998_412, down_s=4_000, is_met=True, **part),
        Availability(name="print", title="打印报告", availability_ppm=981_050, down_s=47_000, is_met=False, **part),
    ]
    return Report(
        month=month,
        contract="2026-A",
        hospital="蓉江院区",
        vendor="驻场维保",
        zone="Asia/Shanghai",
        since=now - timedelta(days=20),
        until=now,
        as_of=now,
        is_final=False,
        evidence_rows=4_211,
        evidence_head="5e" * 32,
        summary=SUMMARY,
        functions=served,
        areas=[],
        kiosks=[],
        cases=[_late_repair(now)],
        breaches=[_breach(now)],
        pauses=[],
        models=[MODEL],
        parts=[],
    )


def _late_repair(now: datetime) -> CaseLine:
    return CaseLine(
        number=12,
        id=ORDER,
        cause="paper_out",
        cause_title="缺纸",
        scope="component",
        place="门诊大厅 1F",
        severity="major",
        side="vendor",
        kiosks=1,
        is_preventive=False,
        began_at=now - timedelta(hours=6),
        responded_at=now - timedelta(hours=5),
        restored_at=now - timedelta(hours=1),
        response_s=3_600,
        repair_s=18_000,
        paused_s=0,
        unproved_s=0,
        is_response_breached=False,
        is_repair_breached=True,
        warning_level=100,
        repair_due_at=now - timedelta(hours=2),
    )


def _breach(now: datetime) -> BreachLine:
    return BreachLine(
        number=12,
        clock="repair",
        cause="paper_out",
        cause_title="缺纸",
        place="门诊大厅 1F",
        side="vendor",
        limit_s=14_400,
        elapsed_s=18_000,
        over_s=3_600,
        breached_at=now - timedelta(hours=2),
        penalty_fen=50_000,
    )


SUMMARY = Summary(
    availability_ppm=997_204,
    kiosks=100,
    kiosks_below_target=3,
    cases=1,
    preventive_cases=0,
    response_mean_s=3_600,
    response_max_s=3_600,
    repair_mean_s=18_000,
    repair_max_s=18_000,
    response_breaches=0,
    repair_breaches=1,
    vendor_breaches=1,
    paused_s=0,
    unproved_pause_s=0,
    penalty_fen=50_000,
)
MODEL = ModelLine(
    model="custom-vkp80iii", firmware="3.02", units=60, service_s=900, failures=4, mtbf_s=90_000, mttr_s=900
)
