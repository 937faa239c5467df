"""What kiosks have in common: the places of the registry, asked by the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from fleet_server.incidents.model import Scope
from fleet_server.registry.directory import Directory
from fleet_server.registry.model import Kiosk, KioskState

FLEET: Final = ""
"""The name of the one site there is."""
_COUNTED: Final = frozenset({KioskState.ENROLLED, KioskState.QUARANTINED})


class RegistryTopology:
    """Places by the registry as this process last read it."""

    def __init__(self, directory: Directory) -> None:
        """Follow this directory."""
        self._directory = directory
        self._sizes: Counter[tuple[Scope, str]] | None = None
        directory.on_change(self._forget)

    def places(self, kid: str) -> Mapping[Scope, str]:
        """The node of each scope in which this kiosk stands; nothing for a stranger."""
        kiosk = self._directory.get(kid)
        return {} if kiosk is None else _places(kiosk)

    def size(self, scope: Scope, name: str) -> int:
        """How many kiosks in service stand there."""
        if self._sizes is None:
            kiosks = [one for one in self._directory.kiosks.values() if one.state in _COUNTED]
            self._sizes = Counter(place for one in kiosks for place in _places(one).items())
        return self._sizes[scope, name]

    def _forget(self, _changed: object) -> None:
        self._sizes = None


def _places(kiosk: Kiosk) -> dict[Scope, str]:
    """What is not known of a kiosk is in common with nobody; floors of two buildings are two."""
    floor = f"{kiosk.site} {kiosk.floor}" if kiosk.site and kiosk.floor else kiosk.floor
    found = {
        Scope.POWER_FEED: kiosk.power_feed,
        Scope.SWITCH: kiosk.switch,
        Scope.AREA: kiosk.area,
        Scope.FLOOR: floor,
    }
    return {**{scope: name for scope, name in found.items() if name}, Scope.SITE: kiosk.site or FLEET}
