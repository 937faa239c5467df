"""The audit trail: who was told what, nothing of a person in it, and no edit unnoticed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from sqlalchemy import text

from kit.clock import ManualClock
from kit.store import Database, Dialect
from patient_platform.audit.model import AuditEntry, AuditHead, AuditRow
from patient_platform.audit.service import AuditTrail
from patient_platform.audit.store import AuditStore
from patient_platform.payment.model import Money
from patient_platform.payment.ports import Change
from patient_platform.payment.rules import REVERSALS_MAX
from simulators.payments.keys import Keys
from support.stepped_site import SteppedSite, stepped_site

ROWS = 30


@pytest.fixture
async def till(site_keys: Keys, tmp_path: Path, platform_url: str) -> AsyncIterator[SteppedSite]:
    """Run everything but time, on either store."""
    async with stepped_site(site_keys, tmp_path, platform_url) as found:
        yield found


async def test_what_a_kiosk_asked_for_is_noted_and_nobody_is_named(till: SteppedSite) -> None:
    order = await till.order_bills(1)
    await till.pay_by_code(order)
    await till.site.call("POST", f"orders/{order}/fulfilment", {"state": "printing"})
    await till.site.call("POST", f"orders/{order}/pay", {"channel": "wechat", "method": "qr_code"}, key="key-again-1")
    rows = list(await till.site.platform.audit.rows(100))[::-1]
    assert [(row.actor, row.action, row.outcome) for row in rows[:5]] == [
        ("kiosk-1", "patient.identified", "ok"),
        ("kiosk-1", rows[1].action, "ok"),
        ("kiosk-1", rows[2].action, "ok"),
        ("kiosk-1", rows[3].action, "ok"),
        ("kiosk-1", rows[4].action, "ok"),
    ]
    assert rows[0].fields == {"medium": "id_card", "is_new": False}
    assert [row.outcome for row in rows if row.target == order] == ["ok", "ok", "order_ended"]
    patient = till.site.his.desk.hospital.books.patients["P000001"]
    session = (await till.kept(order)).session
    everything = str(rows)
    for secret in (patient.name, patient.id_card, patient.phone, patient.mzh, patient.card_no, session):
        assert secret not in everything
    assert await till.site.platform.audit.verify() is None


async def test_who_could_not_be_found_is_noted_too(till: SteppedSite) -> None:
    medium = {"kind": "visit_number", "text": "99999999"}
    assert (await till.site.call("POST", "sessions", {"medium": medium})).status == 404
    (row,) = await till.site.platform.audit.rows(10)
    assert (row.actor, row.outcome) == ("kiosk-1", "patient_unknown")


async def told(till: SteppedSite, order: str) -> list[tuple[str, dict[str, Any]]]:  # Any: a JSON document
    """What workers decided about an order, the first decision first."""
    rows = [row for row in await till.site.platform.audit.rows(100, order) if row.actor == "worker"]
    assert await till.site.platform.audit.verify() is None
    return [(row.action, dict(row.fields)) for row in rows[::-1]]


async def test_a_worker_answers_for_a_refund_it_decided(till: SteppedSite) -> None:
    order = await till.order_bills(1)
    hospital = till.site.his.desk.hospital
    shown = await till.pay(order, channel="wechat", method="qr_code")
    bills = [bill.recipe_id for bill in hospital.books.bills.values() if bill.patient_id == "P000001"]
    hospital.change_bill(bills[0], "void")
    await till.site.phone("pay", qr=shown["qr_text"])
    await till.pass_time(60.0)
    amount = (await till.kept(order)).amount_fen
    facts = {"refund_no": f"{order}01R1", "reason": "bill_void", "amount_fen": amount}
    assert await told(till, order) == [("refund.decided", facts), ("refund.done", facts)]


async def test_a_worker_answers_for_a_reversal_and_for_what_it_leaves_to_people(till: SteppedSite) -> None:
    order = await till.order_bills(1)
    begun = await till.pay_by_code(order, asks_password=True)
    assert begun["advice"] == "confirm_on_phone"
    for _ in range(REVERSALS_MAX):
        await till.site.wallet_fault("wechat.reverse", "drop_before")
    await till.pass_time(24 * 3_600.0)
    kept = await till.kept(order)
    facts = {"trade_no": f"{order}01", "channel": "wechat", "reason": "timed_out", "amount_fen": kept.amount_fen}
    assert await told(till, order) == [("payment.reverse", facts), ("payment.manual", facts)]


async def test_a_step_that_was_not_saved_is_not_told_of(till: SteppedSite) -> None:
    order = await till.order_bills(1)
    await till.pay_by_code(order, asks_password=True)
    kept = await till.kept(order)
    leg = replace(kept.legs[0], state=Money.REVERSING)
    stale = Change(replace(kept, version=kept.version - 1), replace(kept.with_leg(leg), version=kept.version + 1))
    assert not await till.site.platform.orders.save(stale, "paused too long")
    assert await told(till, order) == []


async def trail(database: Database, clock: ManualClock) -> AuditTrail:
    found = AuditTrail(AuditStore(database), clock)
    for number in range(ROWS):
        clock.advance(1)
        await found.note(AuditEntry(f"kiosk-{number % 3}", "pay", f"order-{number}", "ok", {"n": number}))
    return found


@pytest.mark.parametrize("act", ["UPDATE audit_line SET outcome = 'ok'", "DELETE FROM audit_line"])
async def test_the_database_itself_changes_no_row(database: Database, manual_clock: ManualClock, act: str) -> None:
    await trail(database, manual_clock)
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="append only"):
        async with database.write() as connection:
            await connection.execute(text(act))


class Copy(AuditStore):
    """A trail somebody has worked on."""

    def __init__(self, kept: list[AuditRow], head: AuditHead) -> None:
        self.kept, self.end = kept, head

    async def head(self) -> AuditHead:
        """See the store."""
        return self.end

    async def rows(
        self, *, after_no: int = 0, limit: int, target: str | None = None, newest_first: bool = False
    ) -> list[AuditRow]:
        """See the store."""
        return sorted((row for row in self.kept if row.no > after_no), key=lambda row: row.no)[:limit]


@pytest.mark.parametrize("kind", ["edit", "delete", "insert", "swap", "cut", "put back"])
async def test_a_hundred_edits_of_every_kind_are_found_where_they_begin(
    kind: str, database: Database, manual_clock: ManualClock
) -> None:
    found = await trail(database, manual_clock)
    rows, head = list(await found.rows(ROWS))[::-1], await found.head()
    chance = random.Random(kind)
    for _ in range(100):
        no = chance.randint(2, ROWS - 2)
        kept, end = _damaged(kind, rows, head, no, chance)
        broken = await AuditTrail(Copy(kept, end), manual_clock).verify(head)
        assert broken is not None
        assert broken.no == no, (kind, no, broken)
    assert await AuditTrail(Copy(rows, head), manual_clock).verify(head) is None


async def test_a_trail_put_back_shows_against_a_noted_head(database: Database, manual_clock: ManualClock) -> None:
    found = await trail(database, manual_clock)
    early = await found.head()
    await found.note(AuditEntry("kiosk-1", "pay", None, "ok"))
    late = await found.head()
    await _disarm(database)
    async with database.write() as connection:
        await connection.execute(text("DELETE FROM audit_line WHERE no > :no"), {"no": early.no})
        await connection.execute(
            text("UPDATE audit_head SET no = :no, chain = :chain"), {"no": early.no, "chain": early.chain}
        )
    assert await found.verify() is None
    assert await found.verify(early) is None
    broken = await found.verify(late)
    assert broken is not None
    assert broken.no == late.no


def _damaged(
    kind: str, rows: list[AuditRow], head: AuditHead, no: int, chance: random.Random
) -> tuple[list[AuditRow], AuditHead]:
    before, at, after = rows[: no - 1], rows[no - 1], rows[no:]
    match kind:
        case "edit":
            changes: list[dict[str, Any]] = [  # Any: one field each
                {"actor": "x"}, {"action": "x"}, {"outcome": "x"}, {"target": None}, {"fields": {}}, {"at": rows[0].at},
            ]  # fmt: skip
            change = chance.choice(changes)
            return [*before, replace(at, **change), *after], head
        case "delete":
            return [*before, *after], head
        case "insert":
            return [*before, replace(before[-1], no=no), *(replace(row, no=row.no + 1) for row in (at, *after))], head
        case "swap":
            return [*before, replace(after[0], no=no), replace(at, no=no + 1), *after[1:]], head
        case "cut":
            return before, head
        case _:
            return before, AuditHead(no - 1, before[-1].chain)


async def _disarm(database: Database) -> None:
    async with database.write() as connection:
        for act in ("update", "delete"):
            on = " ON audit_line" if database.dialect is Dialect.POSTGRESQL else ""
            await connection.execute(text(f"DROP TRIGGER audit_line_no_{act}{on}"))
