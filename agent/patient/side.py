"""A kiosk's side of the patient platform as one part: the way there, what may pass it, and the orders under way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.patient.link import Credentials, PlatformLink
from agent.patient.proxy import PlatformProxy
from agent.patient.watch import FILE, OrderWatch, Surroundings
from agent.reporter import Reporter
from agent.settings import PlatformSettings
from kit.clock import Clock
from wire.device_api import OrdersChanged


class PatientSide:
    """Built for kiosks with a platform only."""

    def __init__(  # noqa: PLR0913 - what it needs of the rest of the agent
        self,
        settings: PlatformSettings,
        data: Path,
        *,
        identity: Callable[[], Credentials | None],
        lease: Callable[[], str | None],
        told: Callable[[OrdersChanged], None],
        reporter: Reporter,
        write: Callable[[Path, bytes], None],
        clock: Clock,
    ) -> None:
        """Nothing is asked yet. `told` hears of orders, `lease` says which session is open on this kiosk."""
        assert settings.url is not None  # noqa: S101 - without one there is no such side
        self.link = PlatformLink(settings.url, identity, settings.ca_file)
        self.orders = OrderWatch(Surroundings(self.link, data / FILE, write, reporter, clock, told))
        self.proxy = PlatformProxy(self.link, self.orders, lease)

    async def run(self) -> None:
        """Watch the orders; until cancelled. `orders.load` comes first."""
        try:
            await self.orders.run()
        finally:
            await self.link.close()
