"""The duty that makes revocations true at the broker, within seconds and until proved."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from fleet_server.errors import BrokerError
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.machine import TABLE
from fleet_server.registry.model import CertificateState, IssuedCertificate, KioskEvent
from fleet_server.registry.pki import Revocation
from fleet_server.registry.store import RegistryStore
from kit.clock import Clock
from kit.logs import get_logger
from kit.machine import step
from kit.store import StoreBusy

POLL_S: Final = 2.0
REFRESH: Final = timedelta(days=1)
"""How often the list is signed anew, so that it never runs out."""
FORGOTTEN: Final = "named by the revocation list"
log = get_logger(__name__)


class RevocationDuty:
    """Follows the registry: writes the list, has the broker take it, and ends connections."""

    name = "registry-revocations"

    def __init__(self, store: RegistryStore, broker: BrokerControl, clock: Clock) -> None:
        """Work on this store and broker."""
        self._store = store
        self._broker = broker
        self._clock = clock
        self._wake = asyncio.Event()
        self._refreshed_s: float | None = None
        self._is_failing = False

    def wake(self) -> None:
        """Look at once: something was revoked in this process."""
        self._wake.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self._try()
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def enforce(self) -> list[str]:
        """Enforce what is not enforced yet; the names that were cut off.

        Raises:
            BrokerError: the broker could not be told or does not obey; it is tried again.
        """
        if self._refreshed_s is None:
            await self.reconcile()
        waiting = await self._store.unenforced()
        if not waiting and not self._refresh_is_due():
            return []
        await self._broker.put_revocations_in_force(await self._revocations())
        self._refreshed_s = self._clock.monotonic()
        kids = sorted({certificate.kid for certificate in waiting if certificate.cut})
        for kid in kids:
            await self._broker.kick(kid)
        if waiting:
            await self._store.enforced([item.fingerprint for item in waiting], self._clock.utc())
            log.info("revocation.enforced", certificates=len(waiting), kiosks=kids)
        return kids

    async def reconcile(self) -> list[str]:
        """Revoke in the store what the present list names and the store, restored from a backup, forgot."""
        listed = {item.serial for item in await asyncio.to_thread(self._broker.listed)}
        forgotten = [item for item in await self._store.live_certificates() if item.serial in listed]
        for certificate in forgotten:
            now = self._clock.utc()
            async with self._store.writing() as work:
                await work.revoke_certificates([certificate.fingerprint], at=now, reason=FORGOTTEN, cut=True)
                kiosk = await work.kiosk(certificate.kid)
                others = await work.certificates_of(certificate.kid)
                is_last = all(item.state is CertificateState.REVOKED for item in others)
                if kiosk is not None and is_last and (kiosk.state, KioskEvent.REVOKE) in TABLE:
                    state = step(TABLE, kiosk.state, KioskEvent.REVOKE)
                    await work.set_state(kiosk.kid, state, at=now, reason=FORGOTTEN)
        if forgotten:
            log.warning("revocation.restored", kiosks=sorted({item.kid for item in forgotten}))
        return sorted({item.kid for item in forgotten})

    async def write_list(self) -> None:
        """Write the list without telling the broker: for one that is not started yet."""
        await asyncio.to_thread(self._broker.write_revocations, await self._revocations())

    async def _try(self) -> None:
        try:
            await self.enforce()
            self._is_failing = False
        except (BrokerError, StoreBusy) as error:
            if not self._is_failing:
                log.warning("revocation.delayed", reason=str(error))
            self._is_failing = True

    def _refresh_is_due(self) -> bool:
        return self._refreshed_s is None or self._clock.monotonic() - self._refreshed_s >= REFRESH.total_seconds()

    async def _revocations(self) -> list[Revocation]:
        revoked = await self._store.revoked_certificates(self._clock.utc())
        return [_line(certificate) for certificate in revoked]


def _line(certificate: IssuedCertificate) -> Revocation:
    return Revocation(certificate.serial, certificate.revoked_at or certificate.issued_at)
