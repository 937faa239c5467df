"""The duty that makes revocations true at the broker, within seconds and until proved."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

from fleet_server.errors import BrokerError
from fleet_server.registry.broker import BrokerControl
from fleet_server.registry.machine import TABLE
from fleet_server.registry.model import CertificateState, IssuedCertificate, KioskEvent
from fleet_server.registry.pki import Revocation
from fleet_server.registry.ports import AlarmSink
from fleet_server.registry.store import RegistryStore
from kit.clock import Clock
from kit.logs import get_logger
from kit.machine import step
from kit.store import StoreBusy
from wire.envelope import Scalar
from wire.faults import Fault

POLL_S: Final = 2.0
REFRESH: Final = timedelta(days=1)
"""How often the list is signed anew, so that it never runs out."""
FORGOTTEN: Final = "named by the revocation list"
ALARM_AFTER_S: Final = 30.0
"""A broker that is only started again is back sooner."""
SERVER: Final = "server"
"""Stands for a kiosk in alarms about the server itself; no kiosk may be called so."""
BROKER: Final = "broker"
log = get_logger(__name__)


class RevocationDuty:
    """Follows the registry: writes the list, has the broker take it, and ends connections."""

    name = "registry-revocations"

    def __init__(
        self, store: RegistryStore, broker: BrokerControl, clock: Clock, alarms: AlarmSink | None = None
    ) -> None:
        """Work on this store and broker, and tell `alarms` when the broker does not obey."""
        self._store = store
        self._broker = broker
        self._clock = clock
        self._alarms = alarms
        self._wake = asyncio.Event()
        self._refreshed_s: float | None = None
        self._waiting: frozenset[str] = frozenset()
        """Kiosks that may still be connected though they are revoked."""
        self._failing_since_s: float | None = None
        self._alarmed: set[str] | None = None
        """For whom an alarm is up; None: as an earlier process left it."""

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
        self._waiting = frozenset(certificate.kid for certificate in waiting if certificate.cut)
        if not waiting and not await self._refresh_is_due():
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
            await self._all_clear()
        except BrokerError as error:
            await self._failed(str(error))
        except StoreBusy:
            log.info("revocation.store_busy")

    async def _failed(self, reason: str) -> None:
        now_s = self._clock.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
            log.warning("revocation.delayed", reason=reason, kiosks=sorted(self._waiting))
        if self._alarms is None or now_s - self._failing_since_s < ALARM_AFTER_S:
            return
        alarmed = self._alarmed if self._alarmed is not None else set()
        with suppress(StoreBusy):
            for kid in sorted({SERVER, *self._waiting} - alarmed):
                detail: dict[str, Scalar] = {"reason": reason[:200], "waiting": len(self._waiting)}
                await self._alarms.raise_alarm(kid, BROKER, Fault.REVOCATION_NOT_ENFORCED, detail)
                alarmed.add(kid)
        self._alarmed = alarmed

    async def _all_clear(self) -> None:
        if self._failing_since_s is not None:
            log.info("revocation.obeyed")
            self._failing_since_s = None
        if self._alarms is None or self._alarmed == set():
            return
        for kid in sorted({SERVER, *self._waiting, *(self._alarmed or ())}):
            await self._alarms.clear_alarm(kid, BROKER, Fault.REVOCATION_NOT_ENFORCED)
        self._alarmed = set()

    async def _refresh_is_due(self) -> bool:
        if self._refreshed_s is None or not await asyncio.to_thread(self._broker.is_proved):
            return True
        return self._clock.monotonic() - self._refreshed_s >= REFRESH.total_seconds()

    async def _revocations(self) -> list[Revocation]:
        revoked = await self._store.revoked_certificates(self._clock.utc())
        return [_line(certificate) for certificate in revoked]


def _line(certificate: IssuedCertificate) -> Revocation:
    return Revocation(certificate.serial, certificate.revoked_at or certificate.issued_at)
