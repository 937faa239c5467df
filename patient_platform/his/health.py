"""Whether the HIS answers: every call says so in passing, and while it does not, it is asked now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from kit.logs import get_logger
from patient_platform.his.client import Wire
from patient_platform.his.ports import HisRefused, HisUnreachable

LOST_MAX: Final = 2
ASK_EVERY_S: Final = 5.0
log = get_logger(__name__)


class HisHealth:
    """A wire that notes how it goes; see `client.Wire`."""

    name = "his-health"

    def __init__(self, wire: Wire, campus: str) -> None:
        self._wire = wire
        self._campus = campus
        self._lost = 0

    @property
    def is_up(self) -> bool:
        """Whether it answered lately."""
        return self._lost < LOST_MAX

    async def call(self, operation: str, parameters: Mapping[str, Any], *, ok: int = 1) -> Any:  # noqa: ANN401 - JSON
        """See `client.Wire`."""
        try:
            data = await self._wire.call(operation, parameters, ok=ok)
        except HisRefused:
            self._heard(answered=True)
            raise
        except HisUnreachable:
            self._heard(answered=False)
            raise
        self._heard(answered=True)
        return data

    async def run(self) -> None:
        """Ask a cheap question every few seconds while nobody knows better."""
        while True:
            with suppress(HisRefused, HisUnreachable):
                await self.call("register/department_list", {"campus": self._campus})
            await asyncio.sleep(ASK_EVERY_S)

    def _heard(self, *, answered: bool) -> None:
        was_up = self.is_up
        self._lost = 0 if answered else self._lost + 1
        if was_up is not self.is_up:
            log.warning("his.back" if self.is_up else "his.lost")
