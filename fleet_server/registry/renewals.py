"""Ends a certificate once its successor was seen in use, and not before.

A kiosk may lose the answer to its renewal and be offline for weeks; until it was born with the new
certificate the old one must go on working.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from fleet_server.registry.model import CertificateState
from fleet_server.registry.store import RegistryStore
from kit.clock import Clock

SWEEP_S: Final = 60.0
_SAME: Final = timedelta(seconds=1)
"""Certificates carry whole seconds."""
REASON: Final = "replaced by renewal"


class RenewalWatch:
    """Remembers which certificate each kiosk shows; runs where presence runs."""

    name = "registry-renewals"

    def __init__(self, store: RegistryStore, clock: Clock) -> None:
        """Start with no memory: the broker keeps the births."""
        self._store = store
        self._clock = clock
        self._shown: dict[str, datetime] = {}

    def note(self, kid: str, not_after: datetime) -> None:
        """A birth said when the certificate in use ends."""
        self._shown[kid] = not_after

    async def sweep(self) -> list[str]:
        """Revoke the replaced certificates of kiosks that were seen with the newest one; their names."""
        ended: list[str] = []
        for kid in await self._store.kids_with_superseded():
            certificates = await self._store.certificates_of(kid)
            newest = next((item for item in certificates if item.state is CertificateState.ACTIVE), None)
            shown = self._shown.get(kid)
            if newest is None or shown is None or abs(newest.not_after - shown) >= _SAME:
                continue
            old = [item.fingerprint for item in certificates if item.state is CertificateState.SUPERSEDED]
            async with self._store.writing() as work:
                await work.revoke_certificates(old, at=self._clock.utc(), reason=REASON, cut=False)
            ended.append(kid)
        return ended

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_S)
