"""What kiosk and server say to each other about updates; signatures and trust are TUF's business."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field

from wire.envelope import Digest, ShortText, WireModel


class UpdateState(StrEnum):
    """How far an update is on one kiosk."""

    PENDING = "pending"
    OFFERED = "offered"
    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    WAITING_IDLE = "waiting_idle"
    INSTALLING = "installing"
    RESTARTING = "restarting"
    VERIFYING = "verifying"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    DEFERRED = "deferred"
    SKIPPED = "skipped"


class UpdateEvent(StrEnum):
    """What moves an update on."""

    OFFER = "offer"
    DOWNLOAD = "download"
    VERIFY = "verify"
    WAIT = "wait"
    INSTALL = "install"
    RESTART = "restart"
    CHECK = "check"
    COMMIT = "commit"
    ROLL_BACK = "roll_back"
    FAIL = "fail"
    TIME_OUT = "time_out"
    DEFER = "defer"
    SKIP = "skip"


_S, _E = UpdateState, UpdateEvent
_RUNNING = (_S.OFFERED, _S.DOWNLOADING, _S.VERIFIED, _S.WAITING_IDLE, _S.INSTALLING, _S.RESTARTING, _S.VERIFYING)
TABLE: Mapping[tuple[UpdateState, UpdateEvent], UpdateState] = MappingProxyType(
    {
        (_S.PENDING, _E.OFFER): _S.OFFERED,
        (_S.PENDING, _E.DEFER): _S.DEFERRED,
        (_S.PENDING, _E.SKIP): _S.SKIPPED,
        (_S.DEFERRED, _E.OFFER): _S.OFFERED,
        (_S.OFFERED, _E.DOWNLOAD): _S.DOWNLOADING,
        (_S.OFFERED, _E.DEFER): _S.DEFERRED,
        (_S.DOWNLOADING, _E.VERIFY): _S.VERIFIED,
        (_S.VERIFIED, _E.WAIT): _S.WAITING_IDLE,
        (_S.WAITING_IDLE, _E.INSTALL): _S.INSTALLING,
        (_S.INSTALLING, _E.RESTART): _S.RESTARTING,
        (_S.RESTARTING, _E.CHECK): _S.VERIFYING,
        (_S.VERIFYING, _E.COMMIT): _S.COMMITTED,
        (_S.RESTARTING, _E.ROLL_BACK): _S.ROLLED_BACK,
        (_S.VERIFYING, _E.ROLL_BACK): _S.ROLLED_BACK,
        **{(state, _E.FAIL): _S.FAILED for state in _RUNNING},
        **{(state, _E.TIME_OUT): _S.TIMED_OUT for state in _RUNNING},
    }
)


class UpdateOffer(WireModel):
    """The server's choice for one kiosk; it names a release, it cannot make one trustworthy."""

    rollout_id: ShortText
    release: ShortText
    target: ShortText
    length_bytes: int = Field(ge=1)
    sha256: Digest
    deadline_s: float = Field(gt=0.0)
