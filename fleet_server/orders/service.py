"""What people do with work orders. Every act is one transaction; what the evidence says is looked at with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from fleet_server.errors import Refusal
from fleet_server.orders import forms, progress
from fleet_server.orders.checkin import read_code, verify
from fleet_server.orders.duty import OrderDuty, Probation, proof_of
from fleet_server.orders.machine import OPEN, UNPROVED
from fleet_server.orders.model import (
    EvidenceKind,
    Line,
    News,
    NewsKind,
    Order,
    OrderEvent,
    OrderKind,
    OrderState,
    PartUse,
    Pause,
    Photo,
    Stop,
    Target,
)
from fleet_server.orders.photos import PhotoFolder, cleaned
from fleet_server.orders.ports import Evidence, Incidents
from fleet_server.orders.rounds import Need, floors, needs
from fleet_server.orders.store import OrderStore, Writing
from fleet_server.registry.model import IssuedCertificate, Kiosk
from kit.clock import Clock, ulid
from wire.consumables import ConsumableStatus

_STATES: Final[Mapping[str, tuple[OrderState, ...]]] = {
    "open": tuple(sorted(OPEN)),
    "closed": (OrderState.CLOSED, OrderState.CANCELLED),
    "all": tuple(OrderState),
}
Found = tuple[Order, list[News]]
Act = Callable[[Writing, Order, datetime], Awaitable[Found]]


class Kiosks(Protocol):
    """The part of the registry that is asked."""

    @property
    def kiosks(self) -> Mapping[str, Kiosk]:
        """Every kiosk, by id."""


class Certificates(Protocol):
    """The certificates of a kiosk."""

    async def certificates_of(self, kid: str) -> list[IssuedCertificate]:
        """The newest first."""


@dataclass(frozen=True, slots=True)
class OrderParts:
    """What the service works with."""

    store: OrderStore
    incidents: Incidents
    evidence: Evidence
    kiosks: Kiosks
    certificates: Certificates
    consumables: Callable[[], Awaitable[Mapping[str, Sequence[ConsumableStatus]]]]
    photos: Path
    clock: Clock
    probation: Probation = field(default_factory=Probation)


class OrderService:
    """Work orders for people."""

    def __init__(self, parts: OrderParts) -> None:
        """Connect the parts."""
        self._parts = parts
        self._store = parts.store
        self._photos = PhotoFolder(parts.photos)
        self._duty = OrderDuty(parts.store, parts.incidents, parts.evidence, parts.clock, parts.probation)

    # -- looking --------------------------------------------------------------------------------------------------

    async def orders(self, query: forms.OrderQuery) -> tuple[list[forms.OrderView], int]:
        """Orders, the newest first, and how many there are."""
        now, states = self._parts.clock.utc(), _STATES[query.state]
        found = await self._store.orders(states, kid=query.kid, limit=query.limit)
        shown = [forms.view(order, await self._store.pauses(order.id), now) for order in found]
        return shown, await self._store.count(states, kid=query.kid)

    async def detail(self, identifier: str) -> forms.OrderDetail:
        """One order, whole. Raises: Refusal."""
        order = await self._order(identifier)
        now, pauses = self._parts.clock.utc(), await self._store.pauses(order.id)
        targets = await self._store.targets(order.id)
        missing: list[str] = []
        if order.state in UNPROVED:
            _, missing = await proof_of(order, targets, self._parts.evidence)
        row = forms.view(order, pauses, now)
        stops = {"responded": order.response, "on_site": order.on_site, "repaired": order.repair}
        return forms.OrderDetail.model_validate(
            {
                **row.model_dump(),
                **{name: None if stop is None else _plain(stop) for name, stop in stops.items()},
                "waiver_by": order.waiver_by,
                "waiver_reason": order.waiver_reason,
                "probation_until": order.probation_until,
                "missing": missing,
                "targets": [_plain(one) for one in targets],
                "pauses": [_plain(one) for one in pauses],
                "parts": [_plain(one) for one in await self._store.parts(order.id)],
                "photos": [_plain(one) for one in await self._store.photos(order.id)],
                "timeline": [_line(one) for one in await self._store.lines(order.id)],
            }
        )

    async def events_after(self, seq: int, limit: int) -> list[Line]:
        """The feed behind a number."""
        return await self._store.lines_after(seq, limit)

    async def round(self, query: forms.RoundQuery) -> list[forms.RoundView]:
        """What will run out, floor by floor."""
        found: list[Need] = []
        for kid, consumables in (await self._parts.consumables()).items():
            kiosk = self._parts.kiosks.kiosks.get(kid)
            need = None if kiosk is None else needs(kiosk, consumables, query.days)
            if need is not None and query.floor in {None, need.kiosk.floor}:
                found.append(need)
        return [_round(floor, listed) for floor, listed in floors(found).items()]

    # -- acting ---------------------------------------------------------------------------------------------------

    async def create(self, form: forms.NewOrder, by: str) -> str:
        """An order by hand; its number. Raises: Refusal."""
        if form.kid not in self._parts.kiosks.kiosks:
            raise Refusal("kiosk_unknown", "there is no such kiosk in the registry", status=404)
        if form.kind is OrderKind.INCIDENT:
            raise Refusal("kind_invalid", "orders of incidents are made by the evidence", status=422)
        clock, now = self._parts.clock, self._parts.clock.utc()
        place = form.kid if form.component is None else f"{form.kid}/{form.component}"
        async with self._store.writing(now) as writing:
            order = Order(
                id=ulid(clock),
                number=await writing.number(now.year),
                kind=form.kind,
                state=OrderState.NEW,
                cause=form.kind.value,
                place=place,
                severity=form.severity,
                incident=None,
                since=now,
                opened_at=now,
                text=form.text,
            )
            await writing.put(order, [News(NewsKind.OPENED, now, by, {"text": form.text})])
            await writing.aim(order.id, [Target(form.kid, form.component or "", "", now)])
        return order.number

    async def assign(self, identifier: str, to: str, by: str) -> None:
        """Give it to a person. Raises: Refusal."""

        async def act(_writing: Writing, order: Order, now: datetime) -> Found:
            return progress.assign(order, to, by, now)

        await self._act(identifier, act)

    async def respond(self, identifier: str, by: str) -> None:
        """Take it. Raises: Refusal."""

        async def act(_writing: Writing, order: Order, now: datetime) -> Found:
            return progress.respond(order, Stop(now, by, "person"))

        await self._act(identifier, act)

    async def check_in(self, code: str, identifier: str | None, by: str) -> list[str]:
        """Whoever scanned the kiosk's code stands before it; the numbers of the orders. Raises: Refusal."""
        said, signature = read_code(code)
        now = self._parts.clock.utc()
        verify(said, signature, await self._parts.certificates.certificates_of(said.kid), now)
        orders = [order for order in await self._store.orders(sorted(UNPROVED), kid=said.kid) if _is(order, identifier)]
        if identifier is None:
            orders = [order for order in orders if order.assignee in {None, by}]
        if not orders:
            raise Refusal("order_unknown", "there is no open order of yours at this kiosk", status=404)
        async with self._store.writing(now) as writing:
            if not await writing.use(said.nonce, orders[0].id, said.kid, by):
                raise Refusal("checkin_replayed", "this code was used already: scan the one on the screen", status=403)
            for order in orders:
                current = await writing.order(order.id)
                if current is not None and current.state in UNPROVED:
                    await writing.put(*progress.check_in(current, Stop(now, by, f"checkin:{said.nonce}")))
        return [order.number for order in orders]

    async def check_in_by_visit(self, identifier: str, by: str) -> None:
        """The kiosk's record of a maintenance visit says that the engineer was there. Raises: Refusal."""
        order = await self._order(identifier)
        for kid in sorted({target.kid for target in await self._store.targets(order.id)}):
            visit = await self._parts.evidence.visit(kid, order.since, by)
            if visit is not None:
                stop = Stop(visit[1], by, f"record:{visit[0]}")

                async def act(_writing: Writing, order: Order, _now: datetime, stop: Stop = stop) -> Found:
                    return progress.check_in(order, stop)

                await self._act(order.id, act)
                return
        raise Refusal("visit_missing", "no kiosk of this order has a record of a visit of yours since the fault")

    async def pause(self, identifier: str, form: forms.PauseForm, by: str) -> None:
        """Let the clocks stand still, or ask for it. Raises: Refusal."""
        await self._check_evidence(await self._order(identifier), form)
        clock = self._parts.clock

        async def act(writing: Writing, order: Order, now: datetime) -> Found:
            since = form.since or now
            asked = Pause(
                ulid(clock),
                order.id,
                form.reason,
                form.evidence_kind,
                form.evidence,
                since,
                form.until,
                by,
                None,
                False,  # noqa: FBT003 - a column
            )
            pause = progress.check_pause(order, asked, now)
            await writing.put_pause(pause)
            kind = NewsKind.PAUSED if pause.counts else NewsKind.PAUSE_ASKED
            stands = pause.counts and pause.until is None
            changed = replace(order, state=progress.moved(order, OrderEvent.PAUSE)) if stands else order
            return changed, [News(kind, pause.since, by, {"pause": pause.id, "reason": pause.reason.value})]

        await self._act(identifier, act)

    async def approve_pause(self, identifier: str, pause_id: str, by: str) -> None:
        """Stand for somebody else's pause. Raises: Refusal."""

        async def act(writing: Writing, order: Order, _now: datetime) -> Found:
            asked = next((one for one in await writing.pauses(order.id) if one.id == pause_id), None)
            if asked is None:
                raise Refusal("pause_unknown", "this order has no such pause", status=404)
            pause = progress.approve(asked, by)
            await writing.put_pause(pause)
            stands = pause.until is None and order.state in UNPROVED
            changed = replace(order, state=progress.moved(order, OrderEvent.PAUSE)) if stands else order
            fields = {"pause": pause.id, "reason": pause.reason.value, "asked_by": pause.by}
            return changed, [News(NewsKind.PAUSED, pause.since, by, fields)]

        await self._act(identifier, act)

    async def resume(self, identifier: str, by: str) -> None:
        """The clocks run on. Raises: Refusal."""

        async def act(writing: Writing, order: Order, now: datetime) -> Found:
            changed = replace(order, state=progress.moved(order, progress.stage(order)))
            for pause in await writing.pauses(order.id):
                if pause.until is None:
                    await writing.put_pause(replace(pause, until=max(pause.since, now)))
            return changed, [News(NewsKind.RESUMED, now, by)]

        await self._act(identifier, act)

    async def repair(self, identifier: str, by: str) -> None:
        """Say that it is repaired; the kiosk's own word counts when it is there, or as soon as it comes."""

        async def act(_writing: Writing, order: Order, now: datetime) -> Found:
            return progress.claim(order, by, now)

        order = await self._act(identifier, act)
        await self._duty.judge_one(order)

    async def ask_waiver(self, identifier: str, reason: str, by: str) -> None:
        """Ask a second person to let it pass. Raises: Refusal."""

        async def act(_writing: Writing, order: Order, now: datetime) -> Found:
            return progress.ask_waiver(order, by, reason, now)

        await self._act(identifier, act)

    async def waive(self, identifier: str, by: str) -> None:
        """Let it pass for somebody else. Raises: Refusal."""
        order = await self._order(identifier)
        cleared: list[datetime] = []
        targets = await self._store.targets(order.id)
        for target in targets:
            status = (await self._parts.evidence.faults(target.kid)).get((target.component, target.code))
            if status is not None and not status.is_open and status.cleared_at is not None:
                cleared.append(status.cleared_at)
        seen_at = max(cleared) if cleared and len(cleared) == len(targets) else None
        probation = self._parts.probation.longest

        async def act(writing: Writing, order: Order, now: datetime) -> Found:
            changed, news = progress.waive(order, by, seen_at, now)
            assert changed.repair is not None  # noqa: S101 - a waiver is a stop
            for pause in await writing.pauses(order.id):
                if pause.until is None:
                    await writing.put_pause(replace(pause, until=max(pause.since, changed.repair.at)))
            return replace(changed, probation_until=now + probation), news

        await self._act(identifier, act)

    async def close(self, identifier: str) -> None:
        """Close it, or say why it cannot be closed yet. Raises: Refusal."""
        order = await self._duty.judge_one(await self._order(identifier))
        if order.state is OrderState.VERIFIED:
            order = await self._duty.judge_one(order)
        if order.state is OrderState.CLOSED:
            return
        if order.state is OrderState.VERIFIED:
            raise Refusal(
                "on_probation", f"patients try it first: closes by itself, {order.probation_until} at the latest"
            )
        _, missing = await proof_of(order, await self._store.targets(order.id), self._parts.evidence)
        raise Refusal("repair_unproved", "; ".join(missing)[:500] or f"the order is {order.state.value}")

    async def cancel(self, identifier: str, reason: str, by: str) -> None:
        """It should not be there. Raises: Refusal."""

        async def act(_writing: Writing, order: Order, now: datetime) -> Found:
            return progress.cancel(order, by, reason, now)

        await self._act(identifier, act)

    async def note(self, identifier: str, text: str, by: str) -> None:
        """Write something down. Raises: Refusal."""

        async def act(_writing: Writing, order: Order, now: datetime) -> Found:
            return order, [News(NewsKind.NOTED, now, by, {"text": text})]

        await self._act(identifier, act)

    async def use_part(self, identifier: str, form: forms.PartForm, by: str) -> None:
        """A part was changed. Raises: Refusal."""
        clock = self._parts.clock

        async def act(writing: Writing, order: Order, now: datetime) -> Found:
            used = PartUse(id=ulid(clock), order=order.id, at=now, by=by, **form.model_dump())
            await writing.add(used)
            fields = {**form.model_dump(exclude={"warranty_until"}), "id": used.id}
            return order, [News(NewsKind.PART_USED, now, by, fields)]

        await self._act(identifier, act)

    async def add_photo(self, identifier: str, content: bytes, by: str) -> None:
        """Keep a picture. Raises: Refusal."""
        await self._order(identifier)
        media_type, picture = await asyncio.to_thread(cleaned, content)
        digest = await asyncio.to_thread(self._photos.keep, picture)
        clock = self._parts.clock

        async def act(writing: Writing, order: Order, now: datetime) -> Found:
            photo = Photo(ulid(clock), order.id, digest, media_type, len(picture), now, by)
            await writing.add(photo)
            return order, [News(NewsKind.PHOTO_ADDED, now, by, {"photo": photo.id, "digest": digest})]

        await self._act(identifier, act)

    async def photo(self, identifier: str, photo_id: str) -> tuple[Photo, Path]:
        """A picture and where it lies. Raises: Refusal."""
        order = await self._order(identifier)
        for photo in await self._store.photos(order.id):
            if photo.id == photo_id:
                return photo, self._photos.path(photo.digest)
        raise Refusal("photo_unknown", "this order has no such photo", status=404)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _order(self, identifier: str) -> Order:
        found = await self._store.order(identifier)
        if found is None:
            raise Refusal("order_unknown", "there is no such work order", status=404)
        return found

    async def _act(self, identifier: str, act: Act) -> Order:
        now = self._parts.clock.utc()
        async with self._store.writing(now) as writing:
            order = await writing.order(identifier)
            if order is None:
                raise Refusal("order_unknown", "there is no such work order", status=404)
            changed, news = await act(writing, order, now)
            return await writing.put(changed, news)

    async def _check_evidence(self, order: Order, form: forms.PauseForm) -> None:
        """What a pause refers to must be there, where we can look it up."""
        parts = form.evidence.split("/")
        if form.evidence_kind is EvidenceKind.INCIDENT:
            await self._parts.incidents.incident(form.evidence)
        elif form.evidence_kind is EvidenceKind.PHOTO:
            await self.photo(order.id, form.evidence)
        elif form.evidence_kind is EvidenceKind.ALARM:
            known = await self._parts.evidence.faults(parts[0])
            if len(parts) != 3 or (parts[1], parts[2]) not in known:  # noqa: PLR2004 - kid/component/code
                raise Refusal("evidence_unknown", "there is no such alarm: kid/component/code", status=422)


def _is(order: Order, identifier: str | None) -> bool:
    return identifier is None or identifier in {order.id, order.number}


def _plain(record: Stop | Target | Pause | PartUse | Photo) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__slots__}


def _line(line: Line) -> dict[str, object]:
    news = line.news
    return {
        "seq": line.seq,
        "kind": news.kind,
        "at": news.at,
        "written_at": line.written_at,
        "by": news.by,
        "fields": dict(news.fields),
    }


def _round(floor: str, listed: Sequence[Need]) -> forms.RoundView:
    return forms.RoundView(
        floor=floor,
        bring=sorted({item for need in listed for item in need.items}),
        stops=[
            forms.StopOver(kid=need.kiosk.kid, place=need.kiosk.place, bring=list(need.items), days_left=need.days_left)
            for need in listed
        ],
    )
