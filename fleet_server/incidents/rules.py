"""Where a cause may lie: how far one alarm reaches by itself, and which place those that fail together share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from fleet_server.alerts.catalogue import Entry, Family
from fleet_server.incidents.model import Scope

GROUP_LEAST: Final = 3
GROUP_SHARE: Final = 0.8
KIOSK_COMPONENT: Final = "kiosk"
SERVER: Final = "server"
"""Under this name the fleet server speaks of itself; no kiosk may be called so."""
ORDER: Final[Mapping[Family, tuple[Scope, ...]]] = MappingProxyType(
    {
        Family.POWER: (Scope.POWER_FEED, Scope.SWITCH, Scope.AREA, Scope.FLOOR, Scope.SITE),
        Family.CONNECTION: (Scope.SWITCH, Scope.POWER_FEED, Scope.AREA, Scope.FLOOR, Scope.SITE),
    }
)
"""Which place is named when several have the same kiosks, the likeliest cause first."""
WIDE: Final = (Scope.POWER_FEED, Scope.SWITCH, Scope.AREA, Scope.FLOOR, Scope.SITE)


class Topology(Protocol):
    """What is asked about places."""

    def places(self, kid: str) -> Mapping[Scope, str]:
        """The node of each scope in which this kiosk stands."""

    def size(self, scope: Scope, name: str) -> int:
        """How many kiosks in service stand there."""


def common_places(
    kids: Sequence[str], topology: Topology, order: Sequence[Scope]
) -> list[tuple[Scope, str, list[str]]]:
    """Places most of whose kiosks are among these, the largest first; each kiosk in one of them at most."""
    left, found = dict.fromkeys(kids), list[tuple[Scope, str, list[str]]]()
    while True:
        nodes: defaultdict[tuple[Scope, str], list[str]] = defaultdict(list)
        for kid in left:
            for scope, name in topology.places(kid).items():
                nodes[scope, name].append(kid)
        likely = [
            (len(there), -order.index(scope), scope, name)
            for (scope, name), there in nodes.items()
            if scope in order and len(there) >= GROUP_LEAST and len(there) >= GROUP_SHARE * topology.size(scope, name)
        ]
        if not likely:
            return found
        _, _, scope, name = max(likely)
        there = nodes[scope, name]
        found.append((scope, name, there))
        for kid in there:
            del left[kid]


def reach(kid: str, component: str, entry: Entry) -> tuple[Scope, str]:
    """How far one alarm reaches by itself, and what that is called."""
    if entry.family is Family.OUTSIDE:
        return Scope.OUTSIDE, component
    if kid == SERVER:
        return Scope.SERVER, component
    if entry.family is not None or component == KIOSK_COMPONENT:
        return Scope.KIOSK, kid
    return Scope.COMPONENT, f"{kid}/{component}"
