"""Two processes with one order, and a store that does not answer (section 16 of the reference), on both stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy.exc
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.clock import Clock
from kit.store import Database, Dialect, StoreBusy, StoreOptions, upgrade
from kit.supervise import TaskGroup, spawn
from patient_platform.app import MIGRATIONS, build
from patient_platform.payment.channels.breaker import Breaker
from patient_platform.payment.driver import LEASE_S, Lost
from patient_platform.payment.model import ChannelName, Leg, Order
from patient_platform.payment.ports import Change, Channel, Charge, Evidence, PostEvidence
from patient_platform.payment.posting import HisPoster
from patient_platform.payment.store import ORDERS, SqlOrderStore
from simulators.payments.keys import Keys
from support.stepped_site import SteppedSite, stepped_site
from support.stores import StoreFactory

AWAY = (StoreBusy, sqlalchemy.exc.DBAPIError)


@pytest.fixture
async def till(site_keys: Keys, tmp_path: Path, platform_url: str) -> AsyncIterator[SteppedSite]:
    """Run everything but time, on either store."""
    async with stepped_site(site_keys, tmp_path, platform_url) as found:
        yield found


class SleepyPoster(HisPoster):
    """Its process stops in the middle of a call, for longer than its lease."""

    def __init__(self, poster: HisPoster, clock: Clock) -> None:
        super().__init__(poster._his, clock)
        self.asleep, self.woken = asyncio.Event(), asyncio.Event()

    async def post(self, order: Order, leg: Leg) -> PostEvidence:
        """See the port."""
        self.asleep.set()
        await self.woken.wait()
        return await super().post(order, leg)


async def test_41_a_process_that_slept_beyond_its_lease_changes_nothing(till: SteppedSite) -> None:
    first = till.driver
    assert isinstance(first.poster, HisPoster)
    first.poster = sleepy = SleepyPoster(first.poster, till.clock)
    order = await till.order_bills()
    begun = await till.site.pay(order, channel="wechat", method="payment_code", code=await till.site.code("wechat"))
    assert begun.status == 202
    async with TaskGroup() as group:
        _ = spawn(group, _driven(till, order), "slow")
        await sleepy.asleep.wait()
        till.clock.advance(LEASE_S + 1)
        platform = till.site.platform
        other = await asyncio.to_thread(build, platform.settings, till.clock, till.site.http)
        assert other.driver.owner != first.owner
        for _ in range(20):
            due = await other.orders.claim(
                other.driver.owner, till.clock.utc(), till.clock.utc() + timedelta(seconds=LEASE_S), 10
            )
            for one in due:
                await other.driver.drive(one)
            if not due:
                till.clock.advance(5)
            kept = await other.orders.get(order)
            if kept is not None and kept.posting.value == "posted":
                break
        else:
            raise AssertionError("the other process never posted it")
        before, balances = await other.orders.get(order), await till.balances()
        sleepy.woken.set()
    after = await till.kept(order)
    assert before is not None
    assert replace(after, version=before.version) == before
    assert await till.balances() == balances
    assert till.site.his.desk.calls["charge_commit"] == 2  # the same trade number: the HIS has it once
    assert len(till.site.his.desk.hospital.books.trades) == 1
    assert await till.charged() == after.amount_fen
    await other.database.close()


async def _driven(till: SteppedSite, number: str) -> None:
    order = await till.driver.store.get(number)
    assert order is not None
    with suppress(Lost):
        await till.driver.drive(order)


@asynccontextmanager
async def locked(database: Database) -> AsyncIterator[None]:
    """Somebody holds the table of orders for as long as this lasts."""
    async with database.write() as connection:
        if database.dialect is Dialect.POSTGRESQL:
            await connection.execute(text(f"LOCK TABLE {ORDERS.name} IN ACCESS EXCLUSIVE MODE"))
        yield
        await _touch(connection)


async def _touch(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 1"))


class LockingWallet(Breaker):
    """The store is locked by the time the wallet has answered."""

    def __init__(self, channel: Channel, clock: Clock, lock: Callable[[], Awaitable[object]]) -> None:
        super().__init__(channel, clock)
        self._lock = lock
        self.sent = 0

    async def submit(self, charge: Charge) -> Evidence:
        """See the port."""
        self.sent += 1
        evidence = await super().submit(charge)
        await self._lock()
        return evidence


async def test_40_the_store_is_away_when_the_money_has_moved(till: SteppedSite) -> None:
    platform = till.site.platform
    impatient = Database(platform.settings.store_url, StoreOptions(busy_timeout_s=0.2, statement_timeout_s=0.2))
    holder = Database(platform.settings.store_url, StoreOptions())
    till.driver.store = SqlOrderStore(impatient)
    order = await till.order_bills()
    lock = locked(holder)
    wallet = LockingWallet(platform.raw[ChannelName.WECHAT], till.clock, lock.__aenter__)
    till.driver.channels = {**till.driver.channels, ChannelName.WECHAT: wallet}
    with pytest.raises(AWAY):
        await till.pay_by_code(order)
    await lock.__aexit__(None, None, None)
    assert await till.charged() > 0
    assert (await till.kept(order)).posting.value == "not_ready"
    await till.pass_time(LEASE_S + 30)
    kept = await till.kept(order)
    assert (kept.posting.value, wallet.sent) == ("posted", 1)
    assert await till.charged() == kept.amount_fen
    assert len(till.site.his.desk.hospital.books.trades) == 1
    for one in (impatient, holder):
        await one.close()


@pytest.fixture
def postgresql_url(stores: StoreFactory) -> Iterator[str]:
    """Give the store whose connections somebody else can end."""
    url = stores.prepared("postgresql", "patient", lambda empty: upgrade(empty, MIGRATIONS))
    yield url
    stores.discard(url)


@pytest.fixture
async def on_postgresql(site_keys: Keys, tmp_path: Path, postgresql_url: str) -> AsyncIterator[SteppedSite]:
    """Run everything but time, on that store."""
    async with stepped_site(site_keys, tmp_path, postgresql_url) as found:
        yield found


class DyingStore(SqlOrderStore):
    """The database fails over in the middle of the transaction that saves one step: its backend is gone."""

    def __init__(self, database: Database, note: str) -> None:
        super().__init__(database)
        self._note, self._url = note, database.url
        self.deaths = 0

    async def _save(self, connection: AsyncConnection, change: Change, owner: str) -> bool:
        is_saved = await super()._save(connection, change, owner)
        if change.note == self._note and not self.deaths:
            self.deaths += 1
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await end_backends(self._url, f"pid = {int(pid)}")
        return is_saved


async def end_backends(url: URL, which: str) -> None:
    """What a failover does to connections; returns when they are gone."""
    other = Database(url.render_as_string(hide_password=False))
    async with other.write() as connection:
        ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
        ended = await connection.execute(text(f"{ending} AND pid <> pg_backend_pid() AND {which}"))
        assert all(ended.scalars())
    await other.close()


@pytest.mark.parametrize(
    ("note", "posting"),
    [
        ("wechat submit", "not_ready"),  # the intent was not kept, so nothing was sent
        ("wechat submit paid", "posted"),
        ("his post", "posted"),
        ("his post posted", "posted"),
    ],
)
async def test_40_the_backend_is_ended_in_the_middle_of_a_step(
    on_postgresql: SteppedSite, note: str, posting: str
) -> None:
    till = on_postgresql
    order = await till.order_bills()
    till.driver.store = store = DyingStore(till.site.platform.database, note)
    with pytest.raises(AWAY):
        await till.pay_by_code(order)
    assert store.deaths == 1
    await till.pass_time(LEASE_S + 60)
    kept = await till.kept(order)
    assert kept.posting.value == posting
    is_posted = posting == "posted"
    assert await till.charged() == (kept.amount_fen if is_posted else 0)
    assert len(till.site.his.desk.hospital.books.trades) == is_posted
    assert [leg.state.value for leg in kept.legs] == ["paid" if is_posted else "closed"]
    expected = {"1001:channel:wechat": kept.amount_fen, "4001:his-clearing": -kept.amount_fen}
    assert await till.balances() == (expected if is_posted else {})
    assert await till.site.platform.audit.verify() is None


async def test_40_a_kiosk_that_was_told_of_a_lost_connection_asks_again_and_pays_once(
    on_postgresql: SteppedSite,
) -> None:
    till = on_postgresql
    order = await till.order_bills()
    till.site.platform.payments.store = DyingStore(till.site.platform.database, "pay wechat payment_code")
    body = {"channel": "wechat", "method": "payment_code", "code": await till.site.code("wechat")}
    away = await till.site.call("POST", f"orders/{order}/pay", body, key="one-key")
    assert (away.status, away["code"]) == (503, "store_busy")
    assert (await till.site.call("POST", f"orders/{order}/pay", body, key="one-key")).status == 202
    begun = await till.kept(order)
    await end_backends(till.site.platform.database.url, "true")  # those that wait in the pool, too
    await till.driver.drive(begun)
    kept = await till.kept(order)
    assert (kept.posting.value, len(kept.legs)) == ("posted", 1)
    assert await till.charged() == kept.amount_fen
