"""The patient platform on real sockets in a time that only tests move; its process can lose its power at any step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import select

from kit.clock import ManualClock
from kit.supervise import TaskGroup, spawn
from patient_platform.app import build
from patient_platform.payment.channels.breaker import Breaker
from patient_platform.payment.driver import LEASE_S, Driver, Lost
from patient_platform.payment.model import ChannelName, Leg, Order
from patient_platform.payment.ports import Change, Charge, Evidence, PostEvidence
from patient_platform.payment.posting import HisPoster
from patient_platform.payment.store import ORDERS, SqlOrderStore
from patient_platform.settings import Settings
from simulators.payments.keys import Keys
from support.patient_site import Answer, PatientSite, kiosk_server, patient_site
from support.payment_fakes import Crash

START: Final = datetime(2026, 11, 23, 2, tzinfo=UTC)
"""Ten o'clock in China."""
A_MOMENT: Final = timedelta(milliseconds=1)
ROUNDS: Final = 20


class CutWallet(Breaker):
    """The power fails around a call of a wallet: `before submit`, `after submit`, `before reverse`, `after reverse`."""

    def __init__(self, channel: Breaker, clock: ManualClock, moment: str) -> None:
        super().__init__(channel, clock)
        self._moment = moment

    async def submit(self, charge: Charge) -> Evidence:
        """See the port."""
        self._cut("before submit")
        evidence = await super().submit(charge)
        self._cut("after submit")
        return evidence

    async def reverse(self, leg: Leg) -> Evidence:
        """See the port."""
        self._cut("before reverse")
        evidence = await super().reverse(leg)
        self._cut("after reverse")
        return evidence

    def _cut(self, moment: str) -> None:
        if moment == self._moment:
            raise Crash


class CutPoster(HisPoster):
    """The power fails around the call of the HIS: `before post`, `after post`."""

    moment = ""

    async def post(self, order: Order, leg: Leg) -> PostEvidence:
        """See the port."""
        if self.moment == "before post":
            raise Crash
        evidence = await super().post(order, leg)
        if self.moment == "after post":
            raise Crash
        return evidence


class CutStore(SqlOrderStore):
    """The power fails before a step is written down that has this note."""

    note = ""

    async def save(self, change: Change, owner: str) -> bool:
        """See the port."""
        if change.note == self.note:
            raise Crash
        return await super().save(change, owner)


@dataclass(slots=True)
class SteppedSite:
    """A site, its time, and whoever drives its orders."""

    site: PatientSite
    clock: ManualClock
    group: TaskGroup
    servers: list[asyncio.Task[None]] = field(default_factory=list)
    """Of processes that were started later."""

    @property
    def driver(self) -> Driver:
        """Of the process that runs now."""
        return self.site.platform.driver

    async def drive(self) -> None:
        """Do what is due now, as the process's loop would."""
        driver, now = self.driver, self.clock.utc()
        for _ in range(ROUNDS):
            due = await driver.store.claim(driver.owner, now, now + timedelta(seconds=LEASE_S), 50)
            for order in due:
                with suppress(Lost):
                    await driver.drive(order)
            if not due:
                return
        raise AssertionError("there is no end of what is due")

    async def pass_time(self, seconds: float) -> None:
        """Let time go on, and do what becomes due when it does."""
        end = self.clock.utc() + timedelta(seconds=seconds)
        while True:
            now, due = self.clock.utc(), await self._next_due()
            if due is None or due > end:
                self.clock.advance((end - now).total_seconds())
                return
            self.clock.advance(max((due - now).total_seconds(), 0.0))
            await self.drive()

    async def _next_due(self) -> datetime | None:
        statement = select(ORDERS.c.due_at, ORDERS.c.lease_until).where(ORDERS.c.due_at.is_not(None))
        async with self.site.platform.database.read() as connection:
            rows = (await connection.execute(statement)).all()
        return min((due if until is None else max(due, until + A_MOMENT) for due, until in rows), default=None)

    async def order_bills(self, number: int = 1, kiosk: str = "kiosk-1") -> str:
        """An order for everything patient `number` has to pay."""
        made = await self.site.order_bills(await self.site.identify(number, kiosk), kiosk)
        assert made.status == 201, made
        return str(made["order"])

    async def order_registration(self, number: int = 1, kiosk: str = "kiosk-1") -> str:
        """An order for the first slot of a doctor, which patient `number` has locked."""
        here = f"sessions/{await self.site.identify(number, kiosk)}"
        doctors = await self.site.call("GET", f"{here}/departments/D01/doctors", kiosk=kiosk)
        doctor = doctors["doctors"][0]["doctor"]
        slots = await self.site.call("GET", f"{here}/departments/D01/doctors/{doctor}/slots", kiosk=kiosk)
        slot = {name: slots["slots"][0][name] for name in ("schedule", "number")}
        lock = await self.site.call("POST", f"{here}/slot-locks", slot, kiosk=kiosk)
        body = {"business": "registration", "lock": lock["lock"]}
        made = await self.site.call("POST", f"{here}/orders", body, kiosk=kiosk)
        assert made.status == 201, made
        return str(made["order"])

    async def pay(self, number: str, kiosk: str = "kiosk-1", **body: object) -> Answer:
        """Begin to pay, and do what is due."""
        begun = await self.site.pay(number, kiosk, **body)
        assert begun.status == 202, begun
        order = await self.driver.store.get(number)
        assert order is not None
        await self.driver.drive(order)
        return await self.show(number, kiosk)

    async def pay_by_code(self, number: str, kiosk: str = "kiosk-1", wallet: str = "wechat", **phone: object) -> Answer:
        """Show a payment code, and do what is due."""
        code = await self.site.code(wallet, **phone)
        return await self.pay(number, kiosk, channel=wallet, method="payment_code", code=code)

    async def show(self, number: str, kiosk: str = "kiosk-1") -> Answer:
        """The order as the page has it."""
        return await self.site.call("GET", f"orders/{number}", kiosk=kiosk)

    async def kept(self, number: str) -> Order:
        """The order as the store has it."""
        found = await self.site.platform.orders.get(number)
        assert found is not None
        return found

    async def charged(self) -> int:
        """What phones were charged and did not get back, as the wallets know it."""
        self.site.wallets.ledger.settle()
        trades = self.site.wallets.ledger.book.trades.values()
        return sum(trade.amount_fen - trade.refunded_fen for trade in trades if trade.paid_at is not None)

    async def balances(self) -> dict[str, int]:
        """What ledger accounts hold; empty ones left out."""
        found = await self.site.platform.orders.balances()
        assert sum(found.values()) == 0
        return {name: int(amount) for name, amount in found.items() if amount}

    def cut_wallet(self, name: ChannelName, moment: str) -> None:
        """Let the power fail there."""
        channels = dict(self.driver.channels)
        channels[name] = CutWallet(self.site.platform.channels[name], self.clock, moment)
        self.driver.channels = channels

    def cut_posting(self, moment: str) -> None:
        """Let the power fail there; `before the intent` is before the posting is written down."""
        if moment == "before the intent":
            store = CutStore(self.site.platform.database)
            store.note = "his post"
            self.driver.store = store
            return
        poster = CutPoster(self.site.platform.his, self.clock)
        poster.moment = moment
        self.driver.poster = poster

    async def restart(self, settings: Settings | None = None) -> None:
        """A new process on the same store: nothing else is left of the old one."""
        old = self.site
        await old.platform.database.close()
        platform = await asyncio.to_thread(build, settings or old.platform.settings, self.clock, old.http)
        api = kiosk_server(platform)
        self.servers.append(spawn(self.group, api.run(), api.name))
        await api.started()
        self.site = replace(old, platform=platform, url=api.url)


@asynccontextmanager
async def stepped_site(keys: Keys, folder: Path, store_url: str, start: datetime = START) -> AsyncIterator[SteppedSite]:
    """Run everything but time."""
    clock = ManualClock(start)
    async with patient_site(keys, folder, store_url, clock=clock, drives=False) as site, TaskGroup() as group:
        found = SteppedSite(site, clock, group)
        try:
            yield found
        finally:
            for task in found.servers:
                task.cancel()
            await found.site.platform.database.close()
