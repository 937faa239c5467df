"""Clone detection over the sessions that presence reports; the rules are in `rules`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fleet_server.registry.model import Kiosk, KioskState
from fleet_server.registry.rules import Sighting, is_repeat, judge, remembered
from fleet_server.registry.service import RegistryService
from fleet_server.registry.store import RegistryStore
from kit.clock import Clock
from kit.logs import get_logger
from kit.store import StoreBusy

FLUSH_S: Final = 5.0
log = get_logger(__name__)


class CloneWatch:
    """Remembers the latest sessions of every kiosk; runs where presence runs, on the leader."""

    name = "registry-clones"

    def __init__(self, store: RegistryStore, registry: RegistryService, clock: Clock) -> None:
        """Start with no memory; `load` or `run` brings back what was kept."""
        self._store = store
        self._registry = registry
        self._clock = clock
        self._sightings: dict[str, list[Sighting]] = {}
        self._dirty: set[str] = set()
        self._states: dict[str, KioskState] = {}

    async def note_session(self, kid: str, *, boot: str, session: int, fingerprint: str, at: datetime) -> bool:
        """Judge a birth; True when it proves a clone, and both machines are in quarantine then.

        Args:
            kid: the identity.
            boot: the boot id in the birth.
            session: the session counter in the birth.
            fingerprint: the host's hardware fingerprint in the birth.
            at: when the server received it.
        """
        history = self._sightings.get(kid, [])
        new = Sighting(boot, session, fingerprint, at)
        if is_repeat(history, new):
            return False
        evidence = judge(history, new)
        self._sightings[kid] = remembered(history, new)
        self._dirty.add(kid)
        if evidence is None:
            return False
        await self._registry.report_clone(
            kid, {"evidence": evidence.value, "boot": boot, "other_boot": history[-1].boot}
        )
        return True

    def history(self, kid: str) -> tuple[Sighting, ...]:
        """The sessions remembered of a kiosk, oldest first."""
        return tuple(self._sightings.get(kid, ()))

    def forget(self, changed: Sequence[Kiosk]) -> None:
        """Start over for kiosks that an engineer released or enrolled anew; a listener of the directory."""
        for kiosk in changed:
            before = self._states.get(kiosk.kid)
            self._states[kiosk.kid] = kiosk.state
            if before is not None and before is not KioskState.ENROLLED and kiosk.state is KioskState.ENROLLED:
                self._sightings.pop(kiosk.kid, None)
                self._dirty.add(kiosk.kid)

    async def load(self) -> None:
        """Bring back what was kept before this process started."""
        self._sightings = {**await self._store.sightings(), **self._sightings}

    async def flush(self) -> None:
        """Keep what changed."""
        kids, self._dirty = self._dirty, set()
        if kids:
            await self._store.keep_sightings({kid: self._sightings.get(kid, []) for kid in kids}, self._clock.utc())

    async def run(self) -> None:
        """Load, then keep what changes every few seconds until cancelled."""
        await self.load()
        while True:
            await asyncio.sleep(FLUSH_S)
            waiting = set(self._dirty)
            try:
                await self.flush()
            except StoreBusy:
                self._dirty |= waiting
                log.warning("clones.flush_delayed")
