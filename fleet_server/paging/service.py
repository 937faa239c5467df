"""The duty roster for people and for paging."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fleet_server.errors import Refusal
from fleet_server.paging.forms import (
    DutyLineView,
    DutyWarning,
    HandoverForm,
    HandoverView,
    PersonView,
    RosterForm,
    RosterView,
    SpanView,
    SwapForm,
    SwapView,
    WarningKind,
)
from fleet_server.paging.links import Accounts
from fleet_server.paging.roster import AHEAD, HANDOVER_HOLD, Handover, Plan, Roster, Span, Swap, targets_of
from fleet_server.paging.store import KeptRoster, RosterStore
from fleet_server.settings import CRITICAL_WAYS, DutyLine, PagingSettings
from kit.clock import Clock, ulid

SWAP_MOST: Final = timedelta(days=62)
_LOOK_BACK: Final = timedelta(days=14)
"""Hand-overs that are still shown."""
_NO_ROSTER: Final = Refusal("no_roster", "The line has no roster yet", status=404)


class RosterService:
    """Who is on duty, and every change of that."""

    def __init__(self, store: RosterStore, settings: PagingSettings, accounts: Accounts, clock: Clock) -> None:
        """Use this store."""
        self._store = store
        self._accounts = accounts
        self._settings = settings
        self._clock = clock

    async def plans(self, at: datetime) -> dict[DutyLine, Plan]:
        """Every line that has a roster, with what decides at and after a moment."""
        zone = await asyncio.to_thread(ZoneInfo, self._settings.zone)  # reads a file the first time
        rosters = await self._store.rosters()
        swaps = await self._store.swaps(at)
        handovers = await self._store.handovers(at - HANDOVER_HOLD)
        return {
            line: Plan(
                kept.roster,
                zone,
                [one for one in swaps if one.line is line],
                [one for one in handovers if one.line is line],
            )
            for line, kept in rosters.items()
        }

    async def lines(self, at: datetime | None) -> list[DutyLineView]:
        """Every line at a moment, now when none is given, with what is wrong in the next 14 days."""
        moment = at or self._clock.utc()
        plans, accounts = await self.plans(moment), await self._accounts()
        return [self._line(line, plans.get(line), moment, accounts) for line in DutyLine]

    async def line(self, line: DutyLine, days: int) -> RosterView:
        """One line, whole, so many days ahead."""
        now = self._clock.utc()
        plan, kept = (await self.plans(now)).get(line), (await self._store.rosters()).get(line)
        handovers = [one for one in await self._store.handovers(now - _LOOK_BACK) if one.line is line]
        return RosterView(
            line=line,
            version=0 if kept is None else kept.version,
            zone=self._settings.zone,
            roster=None if kept is None else kept.roster,
            changed_at=None if kept is None else kept.changed_at,
            changed_by=None if kept is None else kept.changed_by,
            spans=[] if plan is None else [_span(one) for one in plan.spans(now, now + timedelta(days=days))],
            swaps=[] if plan is None else [swap_view(one) for one in plan.swaps],
            handovers=[handover_view(one) for one in handovers],
            warnings=self._warnings(line, plan, now, await self._accounts()),
        )

    async def replace(self, line: DutyLine, form: RosterForm, by: str) -> None:
        """Replace a roster; swaps stay.

        Raises:
            Refusal: somebody else changed it meanwhile, or a target is not in the settings.
        """
        missing = sorted({one for targets in form.roster.members.values() for one in targets} - self._known())
        if missing:
            raise Refusal("unknown_target", f"There is no target {', '.join(missing)} in the settings", status=422)
        kept = KeptRoster(form.version + 1, form.roster, self._clock.utc(), by)
        if not await self._store.put_roster(line, kept):
            raise Refusal("roster_changed", "The roster was changed meanwhile: look at it again")

    async def swap(self, line: DutyLine, form: SwapForm, by: str) -> Swap:
        """Let somebody stand in.

        Raises:
            Refusal: there is no roster, no such member, or the time is past or too long.
        """
        now = self._clock.utc()
        if form.ends_at <= max(form.starts_at, now) or form.ends_at - form.starts_at > SWAP_MOST:
            raise Refusal("swap_out_of_range", "A swap ends after it begins, in 62 days at most", status=422)
        await self._need_members(line, form.stands_in, form.replaces)
        swap = Swap(
            id=ulid(self._clock),
            line=line,
            starts_at=form.starts_at,
            ends_at=form.ends_at,
            stands_in=form.stands_in,
            replaces=form.replaces,
            note=form.note,
            created_at=now,
            created_by=by,
        )
        await self._store.add_swap(swap)
        return swap

    async def end_swap(self, identifier: str) -> Swap:
        """Let a swap end now, or never begin.

        Raises:
            Refusal: there is none of that id that is not over.
        """
        found = await self._store.end_swap(identifier, self._clock.utc())
        if found is None:
            raise Refusal("unknown_swap", "There is no such swap, or it is over", status=404)
        return found

    async def hand_over(self, line: DutyLine, form: HandoverForm, by: str) -> Handover:
        """Offer a hand-over: `by` stays on duty until it is confirmed.

        Raises:
            Refusal: `by` is not on duty there, or the other one is no member or the same person.
        """
        now = self._clock.utc()
        await self._need_members(line, form.takes, None)
        if form.takes == by:
            raise Refusal("same_person", "Nobody hands over to himself or herself", status=422)
        if by not in (await self.plans(now))[line].on_duty(now):
            raise Refusal("not_on_duty", "You are not on duty on this line")
        handover = Handover(ulid(self._clock), line, by, form.takes, form.note, now)
        await self._store.add_handover(handover)
        return handover

    async def confirm(self, identifier: str, by: str) -> Handover:
        """Take over: whoever still has the shift is stood in for until its end.

        Raises:
            Refusal: there is no such hand-over, it is somebody else's or was confirmed already.
        """
        now = self._clock.utc()
        handover = await self._store.handover(identifier)
        if handover is None:
            raise Refusal("unknown_handover", "There is no such hand-over", status=404)
        if handover.takes != by:
            raise Refusal("not_yours", f"Only {handover.takes} can confirm this hand-over", status=403)
        plan = (await self.plans(now)).get(handover.line)
        until = None if plan is None else plan.ends_duty(handover.gives, now)
        swap = None
        if until is not None:
            note = f"交接 (hand-over): {handover.note}"[:500]
            swap = Swap(ulid(self._clock), handover.line, now, until, by, handover.gives, note, now, by)
        if not await self._store.confirm(identifier, now, swap):
            raise Refusal("handover_confirmed", "The hand-over was confirmed already")
        return Handover(
            handover.id, handover.line, handover.gives, by, handover.note, handover.offered_at, confirmed_at=now
        )

    async def _need_members(self, line: DutyLine, name: str, other: str | None) -> None:
        kept = (await self._store.rosters()).get(line)
        if kept is None:
            raise _NO_ROSTER
        for one in (name, other):
            if one is not None and one not in kept.roster.members:
                raise Refusal("no_member", f"{one} is no member of this line", status=422)

    def _known(self) -> set[str]:
        return set(self._settings.targets)

    def _line(self, line: DutyLine, plan: Plan | None, at: datetime, accounts: frozenset[str]) -> DutyLineView:
        names = () if plan is None else plan.on_duty(at)
        reached = {} if plan is None else targets_of(plan.roster, names)
        spans = [] if plan is None else plan.spans(at, at + AHEAD)
        pending = [one for one in plan.handovers if one.confirmed_at is None] if plan is not None else []
        return DutyLineView(
            line=line,
            at=at,
            people=[PersonView(name=name, targets=list(targets)) for name, targets in reached.items()],
            until=spans[0].ends_at if len(spans) > 1 else None,
            open_handover=handover_view(pending[0]) if pending else None,
            warnings=self._warnings(line, plan, at, accounts),
        )

    def _warnings(self, line: DutyLine, plan: Plan | None, at: datetime, accounts: frozenset[str]) -> list[DutyWarning]:
        if plan is None:
            is_named = line in self._settings.duty_lines
            return [DutyWarning(kind=WarningKind.NO_ROSTER)] if is_named else []
        gaps = [
            DutyWarning(kind=WarningKind.GAP, starts_at=one.starts_at, ends_at=one.ends_at)
            for one in plan.gaps(at, at + AHEAD)
        ]
        return [*gaps, *self._unreachable(line, plan.roster, accounts)]

    def _unreachable(self, line: DutyLine, roster: Roster, accounts: frozenset[str]) -> Iterator[DutyWarning]:
        known = self._known()
        needed = CRITICAL_WAYS - self._settings.critical_ways if line in self._settings.critical_lines else 0
        for name, targets in sorted(roster.members.items()):
            for target in targets:
                if target not in known:
                    yield DutyWarning(kind=WarningKind.NO_TARGET, person=name, target=target)
            if len(known.intersection(targets)) < needed:
                yield DutyWarning(kind=WarningKind.ONE_WAY, person=name)
            if name not in accounts:
                yield DutyWarning(kind=WarningKind.NO_ACCOUNT, person=name)


def swap_view(swap: Swap) -> SwapView:
    """A swap as people see it."""
    return SwapView.model_validate({name: getattr(swap, name) for name in SwapView.model_fields})


def handover_view(handover: Handover) -> HandoverView:
    """A hand-over as people see it."""
    return HandoverView.model_validate({name: getattr(handover, name) for name in HandoverView.model_fields})


def _span(span: Span) -> SpanView:
    return SpanView(starts_at=span.starts_at, ends_at=span.ends_at, names=list(span.names))
