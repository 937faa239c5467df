"""Remote commands: the signed envelope and the one table of their life."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from wire.envelope import Code, Moment, Scalar, ShortText, Text, Ulid, WireMessage, canonical_bytes
from wire.identity import KioskId

Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class CommandState(StrEnum):
    """Where a command stands; the last seven are final."""

    CREATED = "created"
    QUEUED = "queued"
    DELIVERED = "delivered"
    WAITING_IDLE = "waiting_idle"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class CommandEvent(StrEnum):
    """What moves a command on."""

    QUEUE = "queue"
    DELIVER = "deliver"
    WAIT = "wait"
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    REJECT = "reject"
    TIME_OUT = "time_out"
    EXPIRE = "expire"
    CANCEL = "cancel"
    LOSE = "lose"
    """The agent died between intent and result: nobody knows, nobody retries blindly."""


FINAL_STATES = frozenset(
    {
        CommandState.SUCCEEDED,
        CommandState.FAILED,
        CommandState.REJECTED,
        CommandState.TIMED_OUT,
        CommandState.EXPIRED,
        CommandState.CANCELLED,
        CommandState.UNKNOWN,
    }
)

_S, _E = CommandState, CommandEvent
TABLE: Mapping[tuple[CommandState, CommandEvent], CommandState] = MappingProxyType(
    {
        (_S.CREATED, _E.QUEUE): _S.QUEUED,
        (_S.CREATED, _E.CANCEL): _S.CANCELLED,
        (_S.CREATED, _E.EXPIRE): _S.EXPIRED,
        (_S.QUEUED, _E.DELIVER): _S.DELIVERED,
        (_S.QUEUED, _E.CANCEL): _S.CANCELLED,
        (_S.QUEUED, _E.EXPIRE): _S.EXPIRED,
        (_S.DELIVERED, _E.WAIT): _S.WAITING_IDLE,
        (_S.DELIVERED, _E.START): _S.RUNNING,
        (_S.DELIVERED, _E.REJECT): _S.REJECTED,
        (_S.DELIVERED, _E.CANCEL): _S.CANCELLED,
        (_S.DELIVERED, _E.EXPIRE): _S.EXPIRED,
        (_S.WAITING_IDLE, _E.START): _S.RUNNING,
        (_S.WAITING_IDLE, _E.CANCEL): _S.CANCELLED,
        (_S.WAITING_IDLE, _E.EXPIRE): _S.EXPIRED,
        (_S.RUNNING, _E.SUCCEED): _S.SUCCEEDED,
        (_S.RUNNING, _E.FAIL): _S.FAILED,
        (_S.RUNNING, _E.TIME_OUT): _S.TIMED_OUT,
        (_S.RUNNING, _E.CANCEL): _S.CANCELLED,
        (_S.RUNNING, _E.LOSE): _S.UNKNOWN,
    }
)


class CommandEnvelope(WireMessage):
    """`down/command`: what to do, until when, signed over everything but the signature (Ed25519)."""

    command_id: Ulid
    kid: KioskId
    counter: int = Field(ge=1)
    verb: Code
    arguments: dict[ShortText, Scalar] = Field(default_factory=dict, max_length=64)
    not_before: Moment
    expires_at: Moment
    timeout_s: float = Field(gt=0.0, le=604_800.0)
    step_timeout_s: float | None = Field(default=None, gt=0.0)
    precondition: ShortText = "idle"
    reason: Text | None = None
    actor: ShortText
    approver: ShortText | None = None
    key_id: ShortText
    signature: Signature | None = None


def signing_bytes(envelope: CommandEnvelope) -> bytes:
    """The canonical bytes the signature covers."""
    document: dict[str, Any] = envelope.model_dump(mode="json", exclude_none=True, exclude={"signature"})
    return canonical_bytes(document)
