"""Takes new rows of evidence out of the features below: each source is read once, from where the last reading ended.

The reader locks nothing of theirs. Event records are the only rows that several processes write at once: what came in
the last minutes is left for the next reading, so that a slower transaction is not passed by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts import store as alerts_store
from fleet_server.incidents import store as incidents_store
from fleet_server.incidents.model import EventKind, Part
from fleet_server.presence import store as presence_store
from fleet_server.registry import store as registry_store
from fleet_server.registry.model import KioskState
from fleet_server.sla.clocks import MarkKind
from fleet_server.sla.evidence import Kind, Row
from fleet_server.sla.order_sources import order_rows
from fleet_server.sla.spans import SECOND_US, to_us
from fleet_server.sla.store import CONTRACT, WATCH
from fleet_server.telemetry import store as telemetry_store
from fleet_server.uplink.times import Basis
from wire.faults import Fault
from wire.functions import FUNCTIONS_CHANGED, decode_fields

SETTLED: Final = timedelta(minutes=5)
FIRST_READING: Final = timedelta(days=40)
"""How far back what kiosks said is taken up when nothing was read before: a month that began can still be judged."""
REPEATED_US: Final = 4_500 * SECOND_US
"""A kiosk says all of it again every hour: two equal statements this close are one."""
_EVENT: Final[Table] = telemetry_store.EVENT
_METADATA: Final = alerts_store.METADATA
_MARKS: Final = {
    EventKind.ACKNOWLEDGED.value: MarkKind.RESPONDED,
    EventKind.RECOVERED.value: MarkKind.RESTORED,
    EventKind.RELAPSED.value: MarkKind.RELAPSED,
}
_ = presence_store, registry_store, incidents_store  # their tables are read by name


def _table(name: str) -> Table:
    return _METADATA.tables[name]


@dataclass(slots=True)
class Collected:
    """New rows, and where the next reading begins."""

    rows: list[Row] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)


async def collect(
    connection: AsyncConnection, cursors: Mapping[str, int], known: Mapping[str, Mapping[str, Any]], now: datetime
) -> Collected:
    """What is new since the cursors; `known` has the last row of each kiosk."""
    found = Collected(cursors=dict(cursors))
    kids = await _kiosks(connection, found, known)
    await _contracts(connection, found)
    await _watch(connection, found)
    await _presence(connection, found, kids)
    await _functions(connection, found, kids, now)
    await _alarms(connection, found)
    await _incidents(connection, found)
    rows, found.cursors[Kind.ORDER] = await order_rows(connection, found.cursors.get(Kind.ORDER, 0))
    found.rows += rows
    return found


async def _kiosks(
    connection: AsyncConnection, found: Collected, known: Mapping[str, Mapping[str, Any]]
) -> dict[int, str]:
    """Every kiosk as it is: in service since it was first seen enrolled, until it was retired or revoked."""
    kiosk, presence = _table("registry_kiosk"), _table("presence_kiosk")
    births = {row.kid: row.birth for row in await connection.execute(select(presence.c.kid, presence.c.birth))}
    names: dict[int, str] = {}
    for row in await connection.execute(select(kiosk).order_by(kiosk.c.kid)):
        names[row.no] = row.kid
        before = known.get(row.kid)
        is_in_service = row.state in {KioskState.ENROLLED, KioskState.QUARANTINED}
        if before is None and not is_in_service:
            continue
        since_us = to_us(row.state_since) if before is None else before["since_us"]
        ended_us = to_us(row.state_since) if before is None or before["until_us"] is None else before["until_us"]
        body = {
            "kid": row.kid,
            "area": row.area,
            "floor": row.floor,
            "place": row.place,
            "model": row.profile,
            "since_us": since_us,
            "until_us": None if is_in_service else ended_us,
            "components": _components(births.get(row.kid)) or ({} if before is None else before["components"]),
        }
        found.rows.append((Kind.KIOSK, body))
    return names


def _components(birth: Mapping[str, Any] | None) -> dict[str, list[str]]:
    parts: Iterable[Mapping[str, Any]] = () if birth is None else birth.get("components", ())
    return {part["name"]: [part.get("model") or "-", part.get("firmware") or "-"] for part in parts}


async def _contracts(connection: AsyncConnection, found: Collected) -> None:
    columns = CONTRACT.c
    statement = select(columns.no, columns.body).where(columns.no > found.cursors.get(Kind.CONTRACT, 0))
    for number, body in await connection.execute(statement.order_by(columns.no)):
        found.rows.append((Kind.CONTRACT, body))
        found.cursors[Kind.CONTRACT] = number


async def _watch(connection: AsyncConnection, found: Collected) -> None:
    seen_us = found.cursors.get(Kind.WATCH, 0)
    for row in await connection.execute(select(WATCH).order_by(WATCH.c.no)):
        since_us, until_us = max(to_us(row.since), seen_us), to_us(row.until)
        if until_us > since_us:
            found.rows.append((Kind.WATCH, {"since_us": since_us, "until_us": until_us}))
            found.cursors[Kind.WATCH] = max(found.cursors.get(Kind.WATCH, 0), until_us)


async def _presence(connection: AsyncConnection, found: Collected, kids: Mapping[int, str]) -> None:
    edge = _table("presence_edge")
    statement = select(edge).where(edge.c.no > found.cursors.get(Kind.PRESENCE, 0)).order_by(edge.c.no)
    for row in await connection.execute(statement):
        found.cursors[Kind.PRESENCE] = row.no
        if row.kiosk_no in kids:
            body = {
                "kid": kids[row.kiosk_no],
                "state": row.state,
                "since_us": to_us(row.since),
                "detected_us": to_us(row.detected_at),
                "reason": row.reason,
            }
            found.rows.append((Kind.PRESENCE, body))


async def _functions(connection: AsyncConnection, found: Collected, kids: Mapping[int, str], now: datetime) -> None:
    columns = _EVENT.c
    after = found.cursors.get(Kind.FUNCTIONS, 0)
    oldest_open = select(columns.no).where(columns.no > after, columns.received_at > now - SETTLED)
    before = await connection.scalar(oldest_open.order_by(columns.no).limit(1))
    statement = select(columns.no, columns.kiosk_no, columns.at, columns.basis, columns.body)
    statement = statement.where(columns.no > after, columns.kind == "event", columns.name == FUNCTIONS_CHANGED)
    if Kind.FUNCTIONS not in found.cursors:  # the first reading of a server that is older than this table
        statement = statement.where(columns.received_at > now - FIRST_READING)
    if before is not None:
        statement = statement.where(columns.no < before)
    said: dict[str, list[dict[str, Any]]] = {}
    for number, kiosk_no, at, basis, text in await connection.execute(statement.order_by(columns.no)):
        found.cursors[Kind.FUNCTIONS] = number
        states = {item.function: item.state.value for item in decode_fields(json.loads(text).get("fields", {}))}
        if kiosk_no in kids and states:
            is_timed = basis in {Basis.OFFSET, Basis.BOOT}
            said.setdefault(kids[kiosk_no], []).append({"at_us": to_us(at), "is_timed": is_timed, "states": states})
    for kid, items in sorted(said.items()):
        found.rows += [(Kind.FUNCTIONS, {"kid": kid, **body}) for body in repeated(items)]


def repeated(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Statements of one kiosk, with those that say the same again within their time made one."""
    found: list[dict[str, Any]] = []
    for item in sorted(items, key=_at):
        last = found[-1] if found else None
        is_same = last is not None and all(last[name] == item[name] for name in ("is_timed", "states"))
        if last is not None and is_same and item["at_us"] - last["until_us"] <= REPEATED_US:
            last["until_us"] = item["at_us"]
            last["records"] += 1
        else:
            found.append({**item, "until_us": item["at_us"], "records": 1})
    return found


def _at(item: Mapping[str, Any]) -> int:
    at_us: int = item["at_us"]
    return at_us


async def _alarms(connection: AsyncConnection, found: Collected) -> None:
    edge = _table("alerts_edge")
    statement = select(edge).where(edge.c.change_seq > found.cursors.get(Kind.ALARM, 0))
    for row in await connection.execute(statement.order_by(edge.c.change_seq, edge.c.n)):
        found.cursors[Kind.ALARM] = row.change_seq
        body = {
            "seq": row.change_seq,
            "n": row.n,
            "kid": row.kid,
            "component": row.component,
            "code": row.code,
            "edge": row.edge,
            "severity": row.severity,
            "at_us": to_us(row.at),
            "detected_us": to_us(row.detected_at),
            "origin": row.origin,
            "is_hist": row.is_hist,
        }
        found.rows.append((Kind.ALARM, body))


async def _incidents(connection: AsyncConnection, found: Collected) -> None:
    """Each incident that changed: as it stands now, when it began, and what its feed says since.

    Late evidence moves a beginning without a line in the feed; the incident's number of changes tells of that. Both
    count in the same numbers, read up to where the feed's end was before.
    """
    event, incident, member = (_table(f"incidents_{name}") for name in ("event", "incident", "member"))
    after = found.cursors.get(Kind.CASE, 0)
    end = int(await connection.scalar(select(_table("incidents_cursor").c.next_seq)) or 1) - 1
    marks: dict[str, list[Row]] = {}
    fresh = select(event).where(event.c.seq > after, event.c.seq <= end).order_by(event.c.seq)
    for row in await connection.execute(fresh):
        own = marks.setdefault(row.incident, [])
        if row.kind in _MARKS:
            own.append(_mark(row.incident, _MARKS[row.kind], row.at, row.by))
    changed = select(incident.c.id).where(incident.c.change_seq > after, incident.c.change_seq <= end)
    for (name,) in await connection.execute(changed.where(incident.c.number > 0).order_by(incident.c.change_seq)):
        marks.setdefault(name, [])
    for name, own in marks.items():
        known = (await connection.execute(select(incident).where(incident.c.id == name))).first()
        if known is None:
            continue  # taken back before anybody was told
        members = (await connection.execute(select(member).where(member.c.incident == name))).all()
        found.rows += [(Kind.CASE, _case(known, members)), _mark(name, MarkKind.BEGAN, known.since, None), *own]
    found.cursors[Kind.CASE] = max(after, end)


def _mark(case: str, kind: MarkKind, at: datetime, by: str | None) -> Row:
    return Kind.MARK, {"case": case, "kind": kind.value, "at_us": to_us(at), "by": by, "source": "incident"}


def _case(row: Any, members: Sequence[Any]) -> dict[str, Any]:  # noqa: ANN401 - rows of tables read by name
    causes = sorted((item.kid, item.component) for item in members if item.part == Part.CAUSE)
    return {
        "id": row.id,
        "number": row.number,
        "cause": row.cause,
        "scope": row.scope,
        "scope_name": row.scope_name,
        "severity": row.severity,
        "kids": sorted({item.kid for item in members}),
        "part": list(causes[0]) if causes else ["", ""],
        "is_preventive": row.cause == Fault.HELP_REQUESTED,  # nothing is broken, so no clock of the contract runs
        "is_hist": row.is_hist,
        "detected_us": to_us(row.detected_at),
        "closed_us": None if row.closed_at is None else to_us(row.closed_at),
    }
