"""The life of a kiosk in the registry: one table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fleet_server.registry.model import KioskEvent, KioskState

_S, _E = KioskState, KioskEvent
TABLE: Mapping[tuple[KioskState, KioskEvent], KioskState] = MappingProxyType(
    {
        (_S.PLANNED, _E.ENROL): _S.ENROLLED,
        (_S.PLANNED, _E.RETIRE): _S.RETIRED,
        (_S.ENROLLED, _E.ENROL): _S.ENROLLED,
        (_S.ENROLLED, _E.QUARANTINE): _S.QUARANTINED,
        (_S.ENROLLED, _E.REVOKE): _S.REVOKED,
        (_S.QUARANTINED, _E.ENROL): _S.ENROLLED,
        (_S.QUARANTINED, _E.QUARANTINE): _S.QUARANTINED,
        (_S.QUARANTINED, _E.RELEASE): _S.ENROLLED,
        (_S.QUARANTINED, _E.REVOKE): _S.REVOKED,
        (_S.REVOKED, _E.ENROL): _S.ENROLLED,
        (_S.REVOKED, _E.RETIRE): _S.RETIRED,
    }
)
"""A retired name is never used again: nothing leaves `retired`."""
