"""The life of a work order: one table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fleet_server.orders.model import OrderEvent, OrderState

_S, _E = OrderState, OrderEvent
TABLE: Final[Mapping[tuple[OrderState, OrderEvent], OrderState]] = MappingProxyType(
    {
        (_S.NEW, _E.ASSIGN): _S.ASSIGNED,
        (_S.NEW, _E.RESPOND): _S.RESPONDED,
        (_S.NEW, _E.CHECK_IN): _S.ON_SITE,
        (_S.NEW, _E.PROVE): _S.VERIFIED,
        (_S.NEW, _E.PAUSE): _S.PAUSED,
        (_S.NEW, _E.CANCEL): _S.CANCELLED,
        (_S.ASSIGNED, _E.ASSIGN): _S.ASSIGNED,
        (_S.ASSIGNED, _E.RESPOND): _S.RESPONDED,
        (_S.ASSIGNED, _E.CHECK_IN): _S.ON_SITE,
        (_S.ASSIGNED, _E.PROVE): _S.VERIFIED,
        (_S.ASSIGNED, _E.PAUSE): _S.PAUSED,
        (_S.ASSIGNED, _E.CANCEL): _S.CANCELLED,
        (_S.RESPONDED, _E.ASSIGN): _S.RESPONDED,
        (_S.RESPONDED, _E.CHECK_IN): _S.ON_SITE,
        (_S.RESPONDED, _E.CLAIM): _S.REPAIRED,
        (_S.RESPONDED, _E.PROVE): _S.VERIFIED,
        (_S.RESPONDED, _E.WAIVE): _S.VERIFIED,
        (_S.RESPONDED, _E.PAUSE): _S.PAUSED,
        (_S.RESPONDED, _E.CANCEL): _S.CANCELLED,
        (_S.ON_SITE, _E.ASSIGN): _S.ON_SITE,
        (_S.ON_SITE, _E.CHECK_IN): _S.ON_SITE,
        (_S.ON_SITE, _E.CLAIM): _S.REPAIRED,
        (_S.ON_SITE, _E.PROVE): _S.VERIFIED,
        (_S.ON_SITE, _E.WAIVE): _S.VERIFIED,
        (_S.ON_SITE, _E.PAUSE): _S.PAUSED,
        (_S.ON_SITE, _E.CANCEL): _S.CANCELLED,
        (_S.REPAIRED, _E.ASSIGN): _S.REPAIRED,
        (_S.REPAIRED, _E.CHECK_IN): _S.ON_SITE,
        (_S.REPAIRED, _E.PROVE): _S.VERIFIED,
        (_S.REPAIRED, _E.WAIVE): _S.VERIFIED,
        (_S.REPAIRED, _E.RELAPSE): _S.RESPONDED,
        (_S.REPAIRED, _E.PAUSE): _S.PAUSED,
        (_S.VERIFIED, _E.PASS): _S.CLOSED,
        (_S.VERIFIED, _E.RELAPSE): _S.RESPONDED,
        (_S.CLOSED, _E.RELAPSE): _S.RESPONDED,
        (_S.PAUSED, _E.ASSIGN): _S.PAUSED,
        (_S.PAUSED, _E.RESPOND): _S.PAUSED,
        (_S.PAUSED, _E.CHECK_IN): _S.PAUSED,
        (_S.PAUSED, _E.PAUSE): _S.PAUSED,
        (_S.PAUSED, _E.PROVE): _S.VERIFIED,
        (_S.PAUSED, _E.RESUME_NEW): _S.NEW,
        (_S.PAUSED, _E.RESUME_ASSIGNED): _S.ASSIGNED,
        (_S.PAUSED, _E.RESUME_RESPONDED): _S.RESPONDED,
        (_S.PAUSED, _E.RESUME_ON_SITE): _S.ON_SITE,
        (_S.PAUSED, _E.RESUME_REPAIRED): _S.REPAIRED,
    }
)
"""Nothing leaves `cancelled`. What is proved or closed only opens again by the fault itself."""
OPEN: Final = frozenset(OrderState) - {_S.CLOSED, _S.CANCELLED}
UNPROVED: Final = OPEN - {_S.VERIFIED}
