"""A duty roster for the pages: one line with people and a gap, one without a roster; and the link of a message."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from fleet_server.paging.forms import (
    DutyLineView,
    DutyWarning,
    HandoverForm,
    HandoverView,
    PersonView,
    RosterView,
    SpanQuery,
    SpanView,
    SwapView,
    WarningKind,
)
from fleet_server.paging.model import AckTokenForm, AckView
from fleet_server.paging.roster import Roster, Shift
from fleet_server.settings import DutyLine
from fleet_server.staff.permissions import Permission
from kit.web import Call, Page, Problem, Routes
from wire.faults import FACTS, Fault

READ = Permission.INCIDENTS_READ
ACT = Permission.INCIDENTS_ACT
ME, OTHER, TOKEN = "chen.wei", "li.na", "a-token-of-one-message"
WEEK = (1, 2, 3, 4, 5, 6, 7)


class MockDuty:
    """Who is on duty; handing over changes it."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.people = [ME]
        self.handover: HandoverView | None = None
        self.ack = AckView(
            name="INC-000007",
            title_zh=FACTS[Fault.PAPER_OUT].zh,
            title_en=FACTS[Fault.PAPER_OUT].en,
            where="zzj-002/printer",
            severity=FACTS[Fault.PAPER_OUT].severity,
            since=now - timedelta(minutes=12),
            is_over=False,
            acknowledged_by=None,
            acknowledged_at=None,
            by=ME,
            is_used=False,
        )

    def routes(self) -> list[Routes]:
        """Give what the pages ask for."""
        return [self._duty(), self._acks()]

    def _duty(self) -> Routes:
        routes = Routes("duty")

        @routes.get("/api/v1/duty", permission=READ, summary="Who is on duty")
        async def on_duty(call: Call[Any]) -> Page[DutyLineView]:
            return Page(items=[self._line(DutyLine.ONSITE), self._line(DutyLine.SECOND)], total=2)

        @routes.get("/api/v1/duty/{line}", permission=READ, summary="One line")
        async def roster(call: Call[Any], line: DutyLine, query: SpanQuery) -> RosterView:
            return self._roster(line)

        @routes.post("/api/v1/duty/{line}/handovers", permission=ACT, summary="Hand over", status=201)
        async def hand_over(call: Call[Any], line: DutyLine, body: HandoverForm) -> HandoverView:
            self.handover = HandoverView(
                id="H1", line=line, gives=ME, takes=body.takes, note=body.note, offered_at=self.now, confirmed_at=None
            )
            return self.handover

        @routes.post("/api/v1/duty/handovers/{identifier}/confirm", permission=ACT, summary="Take over")
        async def confirm(call: Call[Any], identifier: str) -> HandoverView:
            if self.handover is None:
                raise Problem(404, "unknown_handover", "There is no such hand-over")
            taken = self.handover
            self.people, self.handover = [taken.takes], None
            return taken

        return routes

    def _acks(self) -> Routes:
        routes = Routes("acks")

        @routes.post("/api/v1/ack/look", permission=None, summary="Look")
        async def look(call: Call[Any], body: AckTokenForm) -> AckView:
            if body.token != TOKEN:
                raise Problem(404, "unknown_link", "There is no such link")
            return self.ack

        @routes.post("/api/v1/ack", permission=None, summary="Acknowledge")
        async def acknowledge(call: Call[Any], body: AckTokenForm) -> AckView:
            change = {"acknowledged_by": ME, "acknowledged_at": self.now, "is_used": True}
            self.ack = self.ack.model_copy(update=change)
            return self.ack

        return routes

    def _line(self, line: DutyLine) -> DutyLineView:
        if line is DutyLine.SECOND:
            warnings = [DutyWarning(kind=WarningKind.NO_ROSTER)]
            return DutyLineView(line=line, at=self.now, people=[], until=None, open_handover=None, warnings=warnings)
        gap = self.now + timedelta(days=2)
        return DutyLineView(
            line=line,
            at=self.now,
            people=[PersonView(name=name, targets=["sms", "wecom"]) for name in self.people],
            until=self.now + timedelta(hours=6),
            open_handover=self.handover,
            warnings=[
                DutyWarning(kind=WarningKind.GAP, starts_at=gap, ends_at=gap + timedelta(hours=9)),
                DutyWarning(kind=WarningKind.ONE_WAY, person=OTHER),
            ],
        )

    def _roster(self, line: DutyLine) -> RosterView:
        if line is DutyLine.SECOND:
            empty: list[Any] = []
            return RosterView(
                line=line,
                version=0,
                zone="Asia/Shanghai",
                roster=None,
                changed_at=None,
                changed_by=None,
                spans=empty,
                swaps=empty,
                handovers=empty,
                warnings=self._line(line).warnings,
            )
        shift = Shift(days=WEEK, begins=time(8), ends=time(17), rota=(ME, OTHER))
        roster = Roster(first_week=date(2026, 1, 5), members={ME: ("sms",), OTHER: ("sms",)}, shifts=(shift,))
        ends = [self.now, *(self.now + timedelta(hours=hours) for hours in (6, 21, 48, 57))]
        names = [[*self.people], [OTHER], [ME], []]
        swap = SwapView(
            id="S1",
            line=line,
            starts_at=self.now + timedelta(days=1),
            ends_at=self.now + timedelta(days=1, hours=8),
            stands_in=OTHER,
            replaces=ME,
            note="",
            created_at=self.now,
            created_by="lead",
        )
        return RosterView(
            line=line,
            version=3,
            zone="Asia/Shanghai",
            roster=roster,
            changed_at=self.now,
            changed_by="lead",
            spans=[
                SpanView(starts_at=begin, ends_at=end, names=on)
                for begin, end, on in zip(ends[:-1], ends[1:], names, strict=True)
            ],
            swaps=[swap],
            handovers=[],
            warnings=self._line(line).warnings,
        )
