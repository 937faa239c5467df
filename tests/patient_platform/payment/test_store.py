"""Orders in SQLite and PostgreSQL: saved whole or not at all, one active order a key, a ledger nobody changes."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import sqlalchemy.exc
from sqlalchemy import text

from kit.store import Database, check
from kit.supervise import TaskGroup, spawn
from patient_platform.app import MIGRATIONS
from patient_platform.money import Fen
from patient_platform.payment import ledger, rules, transitions
from patient_platform.payment.model import (
    Business,
    ChannelName,
    Leg,
    LegKind,
    Method,
    Money,
    MoneyEvent,
    Order,
    Posting,
    Reason,
    RefundEvent,
)
from patient_platform.payment.movements import movements_of
from patient_platform.payment.ports import (
    Change,
    CodeSeen,
    Evidence,
    KeyTaken,
    Lease,
    PostAnswer,
    PostEvidence,
    RefundAnswer,
    Source,
)
from patient_platform.payment.store import SqlOrderStore

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
TRADE = "01K000000000000000000000AB01"


T = TypeVar("T")


async def together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:  # Any: a coroutine's own types
    async with TaskGroup() as group:
        tasks = [spawn(group, work, f"work-{number}") for number, work in enumerate(works)]
    return [task.result() for task in tasks]


def order(number: str = TRADE[:26], *keys: str) -> Order:
    made = Order(
        order=number,
        version=1,
        kiosk="kiosk-1",
        session="s1",
        patient="p1",
        business=Business.BILL,
        keys=keys or ("bill:R1",),
        subject={"title": "门诊缴费", "bills": ["R1"], "his_patient": "H1"},
        amount_fen=Fen(1234),
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=10),
        due_at=None,
    )
    return replace(made, due_at=rules.due_at(made))


def paid(found: Order) -> tuple[Order, tuple[ledger.Booking, ...]]:
    leg = Leg(
        TRADE,
        LegKind.CASH,
        ChannelName.WECHAT,
        Method.PAYMENT_CODE,
        found.amount_fen,
        Money.SUBMITTED,
        NOW,
        submitted_at=NOW,
        touched_at=NOW,
    )
    evidence = Evidence(MoneyEvent.PAID, Source.RESPONSE, "C1", found.amount_fen, NOW)
    after, bookings = transitions.apply(found.with_leg(leg), TRADE, evidence, NOW)
    return replace(after, version=found.version + 1, due_at=rules.due_at(after)), bookings


async def test_the_schema_is_what_the_models_say(database: Database, platform_url: str) -> None:
    await check(platform_url, MIGRATIONS)


async def test_what_is_saved_is_read_back_whole(database: Database) -> None:
    store = SqlOrderStore(database)
    first = order()
    await store.create(first)
    assert await store.get(first.order) == first
    after, bookings = paid(first)
    assert await store.save(Change(first, after, bookings, "wechat submit paid"), "me")
    assert await store.get(first.order) == after
    assert await store.by_trade(TRADE) == after
    assert await store.by_trade("unknown") is None
    assert [note for _, note in await store.history(first.order)] == ["created", "wechat submit paid"]
    rejected, more = transitions.apply_posting(
        transitions.begin_posting(after, NOW), PostEvidence(PostAnswer.REJECTED, reason=Reason.BILL_VOID), NOW
    )
    rejected = replace(rejected, version=after.version + 1)
    assert await store.save(Change(after, rejected, more, "rejected"), "me")
    assert await store.get(first.order) == rejected
    assert sum((await store.balances()).values()) == 0


async def test_the_slower_one_saves_nothing(database: Database) -> None:
    store = SqlOrderStore(database)
    first = order()
    await store.create(first)
    after, bookings = paid(first)
    changes = [Change(first, after, bookings, "a"), Change(first, after, bookings, "b")]
    results = await together([store.save(change, "me") for change in changes])
    assert sorted(results) == [False, True]
    assert len(await store.history(first.order)) == 2
    assert await store.balances() == {"1001:channel:wechat": 1234, "2002:suspense": -1234}


async def test_one_active_order_for_a_bill(database: Database) -> None:
    store = SqlOrderStore(database)
    first = order()
    await store.create(first)
    with pytest.raises(KeyTaken) as taken:
        await store.create(order("01K000000000000000000000CD", "bill:R0", "bill:R1"))
    assert taken.value.order == first.order
    await store.create(order("01K000000000000000000000EF", "bill:R0"))
    ended = replace(first, version=2, ended_at=NOW, due_at=None)
    assert await store.save(Change(first, ended, note="cancelled"), "me")
    await store.create(order("01K000000000000000000000GH", "bill:R1"))


async def test_twenty_kiosks_want_the_same_bill(database: Database) -> None:
    store = SqlOrderStore(database)

    async def wants(number: int) -> bool:
        try:
            await store.create(order(f"01K0000000000000000000{number:04d}", "bill:R9"))
        except KeyTaken:
            return False
        return True

    assert sum(await together([wants(number) for number in range(20)])) == 1


async def test_an_order_is_worked_on_by_one_process(database: Database) -> None:
    store = SqlOrderStore(database)
    first = replace(order(), due_at=NOW)
    await store.create(first)
    until = NOW + timedelta(seconds=90)
    claims = await together([store.claim(f"p{number}", NOW, until, 10) for number in range(8)])
    [claimed] = [found for claim in claims for found in claim]
    assert claimed.version == first.version + 1
    assert await store.claim("late", until, until + timedelta(seconds=90), 10) == []
    [again] = await store.claim("late", until + timedelta(seconds=1), until + timedelta(seconds=90), 10)
    stale = replace(claimed, version=claimed.version + 1)
    assert not await store.save(Change(claimed, stale, note="paused too long"), "p0")
    free = replace(again, version=again.version + 1)
    assert await store.save(Change(again, free, lease=Lease.FREE), "late")
    assert len(await store.claim("next", NOW, until, 10)) == 1


async def test_a_booking_is_made_once(database: Database) -> None:
    store = SqlOrderStore(database)
    first = order()
    await store.create(first)
    after, bookings = paid(first)
    assert await store.save(Change(first, after, bookings, "paid"), "me")
    again = replace(after, version=after.version + 1)
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        await store.save(Change(after, again, bookings, "paid again"), "me")
    assert await store.get(first.order) == after


@pytest.mark.parametrize("table", ["pay_ledger", "pay_history"])
@pytest.mark.parametrize("act", ["UPDATE {} SET at = at", "DELETE FROM {}"])
async def test_what_is_booked_stays(database: Database, table: str, act: str) -> None:
    store = SqlOrderStore(database)
    first = order()
    await store.create(first)
    after, bookings = paid(first)
    await store.save(Change(first, after, bookings, "paid"), "me")
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="append only"):
        async with database.write() as connection:
            await connection.execute(text(act.format(table)))


async def test_a_payment_code_is_known_for_a_while(database: Database) -> None:
    store = SqlOrderStore(database)
    found = order()
    await store.create(found)

    async def use(after_min: int) -> bool:
        nonlocal found
        change = Change(found, replace(found, version=found.version + 1), note="pay", code_digest="d")
        saved = await store.save(replace(change, at=NOW + timedelta(minutes=after_min)), "me")
        found = change.after if saved else found
        return saved

    stale = replace(found, version=0)
    assert not await store.save(Change(stale, found, note="pay", code_digest="d", at=NOW), "me")
    assert await use(0)  # what was not saved used nothing up
    with pytest.raises(CodeSeen):
        await use(9)
    assert await store.get(found.order) == found
    assert await use(11)


async def test_what_a_kiosk_shows_again_after_a_restart(database: Database) -> None:
    store = SqlOrderStore(database)
    first = order()
    await store.create(first)
    assert [found.order for found in await store.open_of("kiosk-1")] == [first.order]
    assert await store.open_of("kiosk-2") == []
    after, bookings = paid(first)
    await store.save(Change(first, after, bookings, "paid"), "me")
    posted, more = transitions.apply_posting(
        transitions.begin_posting(after, NOW), PostEvidence(PostAnswer.POSTED, {"reconciliation_no": "H1"}), NOW
    )
    posted = replace(posted, version=after.version + 1)
    await store.save(Change(after, posted, more, "posted"), "me")
    [owed] = await store.open_of("kiosk-1")
    assert (owed.posting, owed.fulfilment.value) == (Posting.POSTED, "waiting")


async def test_movements_of_a_day(database: Database) -> None:
    store = SqlOrderStore(database)
    first = order()
    await store.create(first)
    after, bookings = paid(first)
    await store.save(Change(first, after, bookings, "paid"), "me")
    window = (NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    moved = await movements_of(database, ChannelName.WECHAT, window, [])
    assert [(leg.trade_no, leg.is_held, leg.is_posted) for leg in moved.legs] == [(TRADE, True, False)]
    assert (await movements_of(database, ChannelName.ALIPAY, window, [])).legs == []
    elsewhere = (NOW + timedelta(days=1), NOW + timedelta(days=2))
    assert (await movements_of(database, ChannelName.WECHAT, elsewhere, [])).legs == []
    assert len((await movements_of(database, ChannelName.WECHAT, elsewhere, [TRADE, "other"])).legs) == 1


def test_a_refund_that_came_back_is_booked() -> None:
    after, _ = paid(order())
    leg = after.paid_leg
    assert leg is not None
    going, due = transitions.refund(after, leg, Reason.BILL_VOID, NOW)
    number = going.refunds[0].refund_no
    sent = going.with_refund(transitions.begin_refund(going.refunds[0], RefundEvent.SUBMIT, NOW))
    done, back = transitions.apply_refund(sent, number, RefundAnswer.SUCCESS, NOW)
    assert done.refunded_fen() == 1234
    assert ledger.balance((ledger.paid(leg), *due, *back)) == {
        "1001:channel:wechat": 0,
        "2002:suspense": 0,
        "2003:refund-payable": 0,
    }
