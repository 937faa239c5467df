"""The one table of presence. Heartbeats keep a kiosk online, silence and wills take it off, goodbyes are planned.

`unstable` is a kiosk that came and went several times in a short while; it becomes `online` when it has stayed.
`unknown` is what the server says of everybody it has not heard since it could not hear.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from fleet_server.registry.model import PresenceState as S


class Evidence(StrEnum):
    """What the server learned of a kiosk."""

    HEARD = "heard"
    """A connect, a birth or a heartbeat of the current session."""
    FLAPPING = "flapping"
    """Heard, but it came and went too often lately."""
    STEADY = "steady"
    """It has stayed long enough."""
    LOST = "lost"
    """Its will of the current session came, or it was silent for too long."""
    GOODBYE = "goodbye"
    """It said that it leaves, and why."""
    OVERDUE = "overdue"
    """It said that it would be back by now."""
    BLIND = "blind"
    """The server itself cannot see any more."""


_E = Evidence
TABLE: Mapping[tuple[S, Evidence], S] = MappingProxyType(
    {
        **{(state, _E.HEARD): S.ONLINE for state in S if state is not S.UNSTABLE},
        (S.UNSTABLE, _E.HEARD): S.UNSTABLE,
        **{(state, _E.FLAPPING): S.UNSTABLE for state in S},
        **{(state, _E.STEADY): S.ONLINE for state in (S.ONLINE, S.UNSTABLE)},
        **{(state, _E.STEADY): state for state in (S.OFFLINE, S.PLANNED, S.UNKNOWN, S.NEVER)},
        **{(state, _E.LOST): S.OFFLINE for state in (S.ONLINE, S.UNSTABLE, S.OFFLINE, S.UNKNOWN)},
        (S.PLANNED, _E.LOST): S.PLANNED,
        (S.NEVER, _E.LOST): S.NEVER,
        **{(state, _E.OVERDUE): S.OFFLINE if state is S.PLANNED else state for state in S},
        **{(state, _E.GOODBYE): S.PLANNED for state in S},
        **{(state, _E.BLIND): S.UNKNOWN for state in (S.ONLINE, S.UNSTABLE, S.UNKNOWN)},
        **{(state, _E.BLIND): state for state in (S.OFFLINE, S.PLANNED, S.NEVER)},
    }
)
