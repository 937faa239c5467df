"""The program that is killed at every durable call of paying and posting.

python crash_work.py pay|look STATE

The outside world (channels, HIS) keeps its truth in a file of its own that nobody is killed on. `pay` makes orders of
every kind and drives them; `look` is the next process: later, with a new name, until nothing is left to do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from kit.clock import ManualClock
from kit.store import Database, StoreOptions, Synchronous
from patient_platform.errors import Refusal
from patient_platform.money import Fen
from patient_platform.payment import rules
from patient_platform.payment.driver import Driver, Lost
from patient_platform.payment.model import (
    Business,
    ChannelName,
    FulfilmentEvent,
    Leg,
    Method,
    MoneyEvent,
    Order,
    Posting,
    Reason,
    Refund,
)
from patient_platform.payment.movements import movements_of
from patient_platform.payment.ports import (
    BillRow,
    Charge,
    Evidence,
    PostAnswer,
    PostEvidence,
    RefundAnswer,
    Source,
)
from patient_platform.payment.service import NewOrder, Payments, PayRequest
from patient_platform.payment.store import SqlOrderStore

START = datetime(2026, 11, 23, 2, tzinfo=UTC)
BILLS = ("plain", "shown", "void", "returned", "slow-his", "lost-answer")


def say(*words: object) -> None:
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Outside:
    """What channel and HIS know, kept in one file."""

    file: Path

    def read(self) -> dict[str, dict[str, int]]:
        if not self.file.exists():
            return {"paid": {}, "refunds": {}, "posted": {}, "unposted": {}}
        found: dict[str, dict[str, int]] = json.loads(self.file.read_text())
        return found

    def note(self, book: str, number: str, amount: int) -> None:
        books = self.read()
        books[book][number] = amount
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(books))
        beside.replace(self.file)


class TruthfulChannel:
    """Charges at once; the answers for one bill are lost."""

    def __init__(self, outside: Outside) -> None:
        self.name = ChannelName.WECHAT
        self._outside = outside

    def _say(self, trade_no: str, source: Source) -> Evidence:
        amount = self._outside.read()["paid"].get(trade_no)
        if amount is None:
            return Evidence(MoneyEvent.NOT_FOUND, source)
        return Evidence(MoneyEvent.PAID, source, f"C{trade_no}", Fen(amount))

    async def submit(self, charge: Charge) -> Evidence:
        if charge.method is Method.QR_CODE:
            self._outside.note("paid", charge.trade_no, charge.amount_fen)
            return Evidence(MoneyEvent.WAITING, Source.RESPONSE, qr_text="weixin://x")
        if charge.trade_no not in self._outside.read()["paid"]:
            self._outside.note("paid", charge.trade_no, charge.amount_fen)
        if charge.description == "lost-answer":
            return Evidence(MoneyEvent.LOST, Source.RESPONSE)
        return self._say(charge.trade_no, Source.RESPONSE)

    async def query(self, leg: Leg) -> Evidence:
        return self._say(leg.trade_no, Source.QUERY)

    async def reverse(self, leg: Leg) -> Evidence:
        books = self._outside.read()
        if leg.trade_no in books["paid"]:
            self._outside.note("refunds", f"{leg.trade_no}-reversal", books["paid"][leg.trade_no])
            return Evidence(MoneyEvent.REFUNDED, Source.RESPONSE)
        return Evidence(MoneyEvent.CLOSED, Source.RESPONSE)

    async def refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        self._outside.note("refunds", refund.refund_no, refund.amount_fen)
        return RefundAnswer.SUCCESS

    async def query_refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        known = refund.refund_no in self._outside.read()["refunds"]
        return RefundAnswer.SUCCESS if known else RefundAnswer.NOT_FOUND

    async def bill(self, day: date) -> list[BillRow]:
        raise NotImplementedError


class TruthfulHis:
    """Posts what is paid, except for one bill; is slow with another."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def post(self, order: Order, leg: Leg) -> PostEvidence:
        if order.subject["title"] == "void":
            return PostEvidence(PostAnswer.REJECTED, reason=Reason.BILL_VOID)
        self._outside.note("posted", leg.trade_no, leg.amount_fen)
        if order.subject["title"] == "slow-his":
            return PostEvidence(PostAnswer.LOST)
        return PostEvidence(PostAnswer.POSTED, {"reconciliation_no": f"H{leg.trade_no}"})

    async def check(self, order: Order, leg: Leg) -> PostEvidence:
        known = leg.trade_no in self._outside.read()["posted"]
        facts: dict[str, object] = {"reconciliation_no": f"H{leg.trade_no}"}
        return PostEvidence(PostAnswer.POSTED, facts) if known else PostEvidence(PostAnswer.NOT_FOUND)

    async def unpost(self, order: Order, leg: Leg, refund: Refund) -> PostEvidence:
        self._outside.note("unposted", leg.trade_no, leg.amount_fen)
        return PostEvidence(PostAnswer.POSTED, {"reconciliation_no": f"U{leg.trade_no}"})

    async def release(self, order: Order) -> bool:
        return True


class Nobody:
    def changed(self, before: Order, after: Order) -> None:
        """Nobody watches."""


@dataclass(slots=True)
class Process:
    """One life of the platform."""

    database: Database
    store: SqlOrderStore
    driver: Driver
    payments: Payments
    clock: ManualClock

    async def settle(self) -> None:
        """Drive until nothing is left to do."""
        for _ in range(400):
            now = self.clock.utc()
            for order in await self.store.claim(self.driver.owner, now, now + timedelta(seconds=90), 50):
                try:
                    await self.driver.drive(order)
                except Lost:
                    continue
            orders = await self.store.open_of("kiosk")
            ahead = [order.due_at for order in orders if order.due_at is not None]
            if not ahead:
                return
            gap = (min(ahead) - self.clock.utc()).total_seconds()
            self.clock.advance(max(gap, 0.0) + 0.5)


async def live(task: str, state: Path) -> None:
    clock = ManualClock(START + timedelta(seconds=0 if task == "pay" else 2_000))
    database = Database(f"sqlite:///{state / 'patient.sqlite3'}", StoreOptions(synchronous=Synchronous.FULL))
    store = SqlOrderStore(database)
    outside = Outside(state / "outside.json")
    channels: Mapping[ChannelName, TruthfulChannel] = {ChannelName.WECHAT: TruthfulChannel(outside)}
    driver = Driver(store, channels, TruthfulHis(outside), clock, task, Nobody())
    process = Process(database, store, driver, Payments(store, driver, clock), clock)
    if task == "pay":
        for number, bill in enumerate(BILLS):
            await pay(process, bill, number)
    await process.settle()
    if task == "look":
        await tell(process, outside)
    await database.close()


async def pay(process: Process, bill: str, number: int) -> None:
    new = NewOrder("kiosk", "s", "p", Business.BILL, (f"bill:{bill}",), {"title": bill}, Fen(100 + number), 600.0)
    order = await process.payments.create(new)
    say("order", bill, order.order)
    method = Method.QR_CODE if bill == "shown" else Method.PAYMENT_CODE
    code = None if method is Method.QR_CODE else f"10{number:016d}"
    order = await process.payments.pay(order.order, "kiosk", PayRequest(ChannelName.WECHAT, method, "k", code))
    await process.driver.drive(order)
    if bill == "returned":
        try:
            await process.payments.give_back(order.order, "kiosk")
        except Refusal:
            say("refused", bill)
    if bill == "plain":
        await process.payments.fulfil(order.order, "kiosk", FulfilmentEvent.PRINT)
        await process.payments.fulfil(order.order, "kiosk", FulfilmentEvent.PRINTED)


async def tell(process: Process, outside: Outside) -> None:
    """What the books say in the end."""
    books = outside.read()
    say("outside", books)
    say("ledger", await process.store.balances())
    numbers = [*books["paid"], *books["posted"]]
    window = (START - timedelta(days=1), START + timedelta(days=3))
    moved = await movements_of(process.database, ChannelName.WECHAT, window, numbers)
    say("legs", [[leg.trade_no, leg.is_held, leg.is_posted, leg.amount_fen] for leg in moved.legs])
    for order in await process.store.open_of("kiosk"):
        is_done = rules.is_over(order) or order.posting is Posting.POSTED
        say("open", order.order, is_done)


if __name__ == "__main__":
    asyncio.run(live(sys.argv[1], Path(sys.argv[2])))
