"""The registry in memory: who may be listened to, asked for every message without touching the store.

Every process has its own copy and follows the store by the change counter, so a revocation in one process
is known in all within `POLL_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from fleet_server.registry.model import Kiosk, KioskState
from fleet_server.registry.store import RegistryStore
from kit.logs import get_logger
from kit.store import StoreBusy

POLL_S: Final = 1.0
Listener = Callable[[Sequence[Kiosk]], None]
log = get_logger(__name__)


class Directory:
    """All kiosks by id."""

    name = "registry-directory"

    def __init__(self, store: RegistryStore) -> None:
        """Start empty; `refresh` or `run` fill it."""
        self._store = store
        self._kiosks: dict[str, Kiosk] = {}
        self._change_seq = -1
        self._listeners: list[Listener] = []
        self._refreshing = asyncio.Lock()

    def accepts(self, kid: str) -> bool:
        """Whether this kiosk's messages are taken: it is enrolled and not quarantined."""
        kiosk = self._kiosks.get(kid)
        return kiosk is not None and kiosk.state is KioskState.ENROLLED

    def number_of(self, kid: str) -> int | None:
        """The kiosk's number in tables, None for a stranger."""
        kiosk = self._kiosks.get(kid)
        return None if kiosk is None else kiosk.no

    def name_of(self, number: int) -> str | None:
        """The id of the kiosk with this number in tables."""
        return next((kiosk.kid for kiosk in self._kiosks.values() if kiosk.no == number), None)

    def get(self, kid: str) -> Kiosk | None:
        """The kiosk as last read."""
        return self._kiosks.get(kid)

    @property
    def kiosks(self) -> Mapping[str, Kiosk]:
        """Every kiosk, by id."""
        return MappingProxyType(self._kiosks)

    def on_change(self, listener: Listener) -> None:
        """Have `listener` called with the kiosks that changed, after each refresh that found some."""
        self._listeners.append(listener)

    async def refresh(self) -> None:
        """Take over what changed in the store since the last time."""
        async with self._refreshing:
            changed = await self._store.changed_since(self._change_seq)
            for kiosk in changed:
                self._kiosks[kiosk.kid] = kiosk
                self._change_seq = max(self._change_seq, kiosk.change_seq)
        if changed:
            for listener in self._listeners:
                listener(changed)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            try:
                await self.refresh()
            except StoreBusy:
                log.warning("directory.delayed")
            await asyncio.sleep(POLL_S)
