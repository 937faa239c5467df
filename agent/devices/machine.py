"""The life of one device: one table, the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class DeviceState(StrEnum):
    """Where a device is in its life."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    FAULTED = "faulted"
    RECOVERING = "recovering"
    UPDATING = "updating"
    """Its driver is away: something else has its link, to give it other firmware."""


class DeviceEvent(StrEnum):
    """What moves it on."""

    OPENED = "opened"
    STARTED = "started"
    JOB = "job"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    RETRY = "retry"
    TAKEN = "taken"
    GIVEN_BACK = "given_back"


_S, _E = DeviceState, DeviceEvent
INITIAL = DeviceState.ABSENT
TABLE: Mapping[tuple[DeviceState, DeviceEvent], DeviceState] = MappingProxyType(
    {
        (_S.ABSENT, _E.OPENED): _S.STARTING,
        (_S.ABSENT, _E.LOST): _S.ABSENT,
        (_S.ABSENT, _E.FAILED): _S.FAULTED,
        (_S.ABSENT, _E.RETRY): _S.ABSENT,
        (_S.STARTING, _E.STARTED): _S.READY,
        (_S.STARTING, _E.FAILED): _S.FAULTED,
        (_S.STARTING, _E.LOST): _S.ABSENT,
        (_S.READY, _E.JOB): _S.BUSY,
        (_S.READY, _E.FAILED): _S.FAULTED,
        (_S.READY, _E.LOST): _S.ABSENT,
        (_S.BUSY, _E.DONE): _S.READY,
        (_S.BUSY, _E.FAILED): _S.FAULTED,
        (_S.BUSY, _E.LOST): _S.ABSENT,
        (_S.FAULTED, _E.RETRY): _S.RECOVERING,
        (_S.RECOVERING, _E.OPENED): _S.STARTING,
        (_S.RECOVERING, _E.LOST): _S.ABSENT,
        (_S.RECOVERING, _E.FAILED): _S.FAULTED,
        (_S.ABSENT, _E.TAKEN): _S.UPDATING,
        (_S.STARTING, _E.TAKEN): _S.UPDATING,
        (_S.READY, _E.TAKEN): _S.UPDATING,
        (_S.FAULTED, _E.TAKEN): _S.UPDATING,
        (_S.RECOVERING, _E.TAKEN): _S.UPDATING,
        (_S.UPDATING, _E.GIVEN_BACK): _S.RECOVERING,
    }
)
