"""The leader's duty: notes that somebody watches, and seals every day soon after its end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import sqlalchemy.exc

from fleet_server.errors import SetupError
from fleet_server.sla.seal import SealKey
from fleet_server.sla.service import Fence, SlaService
from kit.logs import get_logger
from kit.store import LeaseLost, StoreBusy

BEAT_S: Final = 30.0
log = get_logger(__name__)


class SlaDuty:
    """Runs on one process at a time; what it knows is in the store."""

    name = "sla"

    def __init__(self, service: SlaService, key_file: Path, fence: Fence) -> None:
        """Sign with the key in this file, which is made when there is none."""
        self._service = service
        self._key_file = key_file
        self._fence = fence

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.beat()
            except (StoreBusy, LeaseLost, SetupError, sqlalchemy.exc.DBAPIError, OSError) as error:
                log.warning("sla.delayed", error=type(error).__name__)
            await asyncio.sleep(BEAT_S)

    async def beat(self) -> None:
        """Note that somebody watches, and seal what is over."""
        await self._service.watch(self._fence)
        key = await asyncio.to_thread(SealKey.at, self._key_file)
        days = await self._service.seal(key, self._fence)
        if days:
            log.info("evidence.sealed", first_day=days[0], last_day=days[-1])
