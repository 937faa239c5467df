"""Desired and reported configuration of a kiosk: whole documents with rising versions, never deltas."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pydantic import Field

from wire.envelope import Digest, WireMessage, canonical_digest


class DesiredTwin(WireMessage):
    """`down/twin`: the whole merged document. `version` never falls, not even after a deletion."""

    version: int = Field(ge=1)
    hash: Digest
    document: dict[str, Any]


class TwinState(StrEnum):
    """What the kiosk did with a desired version."""

    RECEIVED = "received"
    VALIDATED = "validated"
    STAGED = "staged"
    TRIAL = "trial"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    REFUSED = "refused"


class TwinEvent(StrEnum):
    """What moves a desired version on."""

    VALID = "valid"
    INVALID = "invalid"
    STAGE = "stage"
    APPLY = "apply"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


TABLE: Mapping[tuple[TwinState, TwinEvent], TwinState] = MappingProxyType(
    {
        (TwinState.RECEIVED, TwinEvent.VALID): TwinState.VALIDATED,
        (TwinState.RECEIVED, TwinEvent.INVALID): TwinState.REFUSED,
        (TwinState.VALIDATED, TwinEvent.STAGE): TwinState.STAGED,
        (TwinState.STAGED, TwinEvent.APPLY): TwinState.TRIAL,
        (TwinState.TRIAL, TwinEvent.HEALTHY): TwinState.CONFIRMED,
        (TwinState.TRIAL, TwinEvent.UNHEALTHY): TwinState.REVERTED,
    }
)


def twin_hash(document: Mapping[str, Any]) -> str:
    """The digest both sides compare, 64 hex digits."""
    return canonical_digest(dict(document))
