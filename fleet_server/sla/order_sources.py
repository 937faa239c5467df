"""New rows of evidence out of work orders; an order without an incident is its own case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.orders import store as orders_store
from fleet_server.orders.model import SERVICE, NewsKind, OrderState
from fleet_server.sla.clocks import MarkKind
from fleet_server.sla.evidence import Kind, Row
from fleet_server.sla.spans import to_us

MARKS: Final = {
    NewsKind.RESPONDED.value: MarkKind.RESPONDED,
    NewsKind.CHECKED_IN.value: MarkKind.RESPONDED,
    NewsKind.PROVED.value: MarkKind.RESTORED,
    NewsKind.WAIVED.value: MarkKind.RESTORED,
    NewsKind.RELAPSED.value: MarkKind.RELAPSED,
}
"""What a line of the orders' feed says about a case; its time is that of the evidence."""


def _table(name: str) -> Table:
    return orders_store.METADATA.tables[name]


async def order_rows(connection: AsyncConnection, after: int) -> tuple[list[Row], int]:
    """The rows of every order of which something was written after that line of the feed, and its last line."""
    event, order = _table("orders_event"), _table("orders_order")
    lines: dict[str, list[Any]] = {}  # Any: rows of tables read by name
    for line in await connection.execute(select(event).where(event.c.seq > after).order_by(event.c.seq)):
        lines.setdefault(line.order, []).append(line)
        after = line.seq
    rows: list[Row] = []
    for name, own in lines.items():
        found = (await connection.execute(select(order).where(order.c.id == name))).one()
        case = found.incident or found.id
        if found.incident is None:
            rows += await _own_case(connection, found)
        rows.append((Kind.ORDER, _order(found, case)))
        marks = ((MARKS[line.kind], line) for line in own if line.kind in MARKS)
        rows += [_mark(case, kind, to_us(line.at), line.by) for kind, line in marks]
        rows += await _pauses(connection, name, case)
        rows += await _parts(connection, found)
    return rows, after


async def _own_case(connection: AsyncConnection, found: Any) -> list[Row]:  # noqa: ANN401 - a row of a table read by name
    target = _table("orders_target")
    statement = select(target).where(target.c.order == found.id).order_by(target.c.kid, target.c.component)
    targets = (await connection.execute(statement)).all()
    body = {
        "id": found.id,
        "number": int(found.number.rpartition("-")[2]),
        "cause": found.cause,
        "scope": "component" if targets else "order",
        "scope_name": found.place,
        "severity": found.severity,
        "kids": sorted({item.kid for item in targets}),
        "part": [targets[0].kid, targets[0].component] if targets else ["", ""],
        "is_preventive": found.kind in SERVICE,
        "is_hist": False,
        "detected_us": to_us(found.opened_at),
        "closed_us": None if found.closed_at is None else to_us(found.closed_at),
    }
    return [(Kind.CASE, body), _mark(found.id, MarkKind.BEGAN, to_us(found.since), None)]


def _order(found: Any, case: str) -> dict[str, Any]:  # noqa: ANN401 - the same
    return {
        "id": found.id,
        "number": found.number,
        "case": case,
        "kind": found.kind,
        "state": found.state,
        "is_void": found.state == OrderState.CANCELLED,
        "assignee": found.assignee,
        "repair_evidence": found.repair_evidence,
        "waiver_by": found.waiver_by,
    }


async def _pauses(connection: AsyncConnection, order: str, case: str) -> list[Row]:
    """What is not approved yet has no evidence: it is listed, and the clocks run on."""
    pause = _table("orders_pause")
    found: Sequence[Any] = (await connection.execute(select(pause).where(pause.c.order == order))).all()
    return [
        (
            Kind.PAUSE,
            {
                "id": item.id,
                "case": case,
                "reason": item.reason,
                "since_us": to_us(item.since),
                "until_us": None if item.until is None else to_us(item.until),
                "evidence": {item.evidence_kind: item.evidence} if item.counts else {},
                "by": item.by,
                "approved_by": item.approved_by,
            },
        )
        for item in sorted(found, key=_name)
    ]


async def _parts(connection: AsyncConnection, order: Any) -> list[Row]:  # noqa: ANN401 - the same
    part = _table("orders_part")
    found: Sequence[Any] = (await connection.execute(select(part).where(part.c.order == order.id))).all()
    names = ("id", "kid", "component", "part", "serial_out", "serial_in")
    return [
        (Kind.PART, {"order": order.number, "at_us": to_us(item.at), **{name: getattr(item, name) for name in names}})
        for item in sorted(found, key=_name)
    ]


def _mark(case: str, kind: MarkKind, at_us: int, by: str | None) -> Row:
    return Kind.MARK, {"case": case, "kind": kind.value, "at_us": at_us, "by": by, "source": "order"}


def _name(row: Any) -> str:  # noqa: ANN401 - the same
    name: str = row.id
    return name
