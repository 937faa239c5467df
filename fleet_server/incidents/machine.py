"""The one table of incidents."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from fleet_server.incidents.model import IncidentState as S


class Turn(StrEnum):
    """What moves an incident on."""

    GATHER = "gather"
    """Its members are complete and it was not over before anybody had to be told."""
    DROP = "drop"
    """Too short, or it belongs to another incident."""
    ACKNOWLEDGE = "acknowledge"
    WORSEN = "worsen"
    RECOVER = "recover"
    RELAPSE = "relapse"
    CLOSE = "close"


_T = Turn
TABLE: Mapping[tuple[S, Turn], S] = MappingProxyType(
    {
        (S.FORMING, _T.GATHER): S.OPEN,
        (S.FORMING, _T.DROP): S.CLOSED,
        (S.OPEN, _T.ACKNOWLEDGE): S.ACKNOWLEDGED,
        (S.OPEN, _T.WORSEN): S.OPEN,
        (S.OPEN, _T.RECOVER): S.RECOVERED,
        (S.OPEN, _T.DROP): S.CLOSED,
        (S.ACKNOWLEDGED, _T.ACKNOWLEDGE): S.ACKNOWLEDGED,
        (S.ACKNOWLEDGED, _T.WORSEN): S.OPEN,
        (S.ACKNOWLEDGED, _T.RECOVER): S.RECOVERED,
        (S.ACKNOWLEDGED, _T.DROP): S.CLOSED,
        (S.RECOVERED, _T.RELAPSE): S.OPEN,
        (S.RECOVERED, _T.CLOSE): S.CLOSED,
    }
)
