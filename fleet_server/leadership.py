"""Duties are done by one process at a time: the one that holds the lease in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import sqlalchemy.exc

from kit.logs import get_logger
from kit.store import Lease, LeaseLost, Leases, StoreBusy
from kit.supervise import Service, Supervised, TaskGroup, spawn

DUTIES_LEASE: Final = "duties"
LEASE_S: Final = 15.0
RENEW_S: Final = 5.0
log = get_logger(__name__)


class Leadership:
    """Runs services on one process of the fleet at a time, by a lease in the store."""

    name = "duties"

    def __init__(
        self, leases: Leases, holder: str, services: Sequence[Service], show: Callable[[float], None] = lambda _: None
    ) -> None:
        """Compete as `holder`; `show` gets 1 while this process leads and 0 afterwards."""
        self._leases = leases
        self._holder = holder
        self._services = services
        self._show = show
        self.lease: Lease | None = None

    async def run(self) -> None:
        """Wait for the lease, lead until it is lost, and so on until cancelled."""
        while True:
            lease = await self._acquire()
            if lease is not None:
                await self._lead(lease)
            await asyncio.sleep(RENEW_S)

    async def _acquire(self) -> Lease | None:
        try:
            return await self._leases.acquire(DUTIES_LEASE, self._holder, LEASE_S)
        except (StoreBusy, sqlalchemy.exc.DBAPIError):
            return None

    async def _lead(self, lease: Lease) -> None:
        log.info("duties.taken", version=lease.version)
        self.lease = lease
        self._show(1.0)
        try:
            async with TaskGroup() as group:
                tasks = [spawn(group, Supervised(item.name, item.run).run(), item.name) for item in self._services]
                await self._keep(lease)
                for task in tasks:
                    task.cancel()
        finally:
            self.lease = None
            self._show(0.0)
            log.info("duties.left", version=lease.version)
            with suppress(StoreBusy, sqlalchemy.exc.DBAPIError):
                await self._leases.release(lease)

    async def _keep(self, lease: Lease) -> None:
        """Prolong the lease; return when it is lost or could not be prolonged for a whole term."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LEASE_S
        while loop.time() < until_s - RENEW_S:
            await asyncio.sleep(RENEW_S)
            try:
                lease = await self._leases.renew(lease, LEASE_S)
                until_s = loop.time() + LEASE_S
            except LeaseLost:
                return
            except (StoreBusy, sqlalchemy.exc.DBAPIError):
                continue
