"""What every wire message shares: version, decoding with limits, encoding, canonical bytes.

Inbound messages ignore unknown fields, so an older reader accepts a newer writer of the same wire version.
Errors never carry the received values: a payload may hold what must not reach a log.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

WIRE_VERSION = 1
MESSAGE_LIMIT_BYTES = 262_144
"""The largest MQTT payload either side accepts, in bytes."""


def _iso_utc(moment: datetime) -> str:
    """ISO 8601 with offset; one place so that both sides print the same bytes."""
    return moment.isoformat()


Moment = Annotated[AwareDatetime, PlainSerializer(_iso_utc, return_type=str, when_used="json")]
"""An instant with a time zone; naive times are refused."""

Scalar = bool | int | float | str | None
ShortText = Annotated[str, Field(max_length=64)]
Text = Annotated[str, Field(max_length=512)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Ulid = Annotated[str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,63}$")]
ComponentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]


class WireModel(BaseModel):
    """A message or a part of one: immutable, unknown fields ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", defer_build=True, ser_json_inf_nan="null", allow_inf_nan=False
    )


class WireMessage(WireModel):
    """A whole message of one topic."""

    v: int = Field(default=WIRE_VERSION, ge=1, le=WIRE_VERSION, description="wire version")


class WireFault(StrEnum):
    """Why a received message was refused."""

    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    UNSUPPORTED_VERSION = "unsupported_version"
    WRONG_SCHEMA = "wrong_schema"


class WireError(ValueError):
    """A received message is refused; `detail` names fields and rules, never values."""

    def __init__(self, fault: WireFault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail


M = TypeVar("M", bound=BaseModel)


def encode(message: BaseModel) -> bytes:
    """The message as compact JSON, absent optional fields left out."""
    return message.model_dump_json(exclude_none=True).encode()


def decode(model: type[M], payload: bytes, *, limit_bytes: int = MESSAGE_LIMIT_BYTES) -> M:
    """Parse and validate one message.

    Raises:
        WireError: too large, not JSON, from a newer wire version, or not of this schema.
    """
    if len(payload) > limit_bytes:
        raise WireError(WireFault.TOO_LARGE, f"{len(payload)} bytes, at most {limit_bytes} are taken")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise _explain(error, payload) from None


def _explain(error: ValidationError, payload: bytes) -> WireError:
    """Turn a validation failure into a wire error that does not repeat the input."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return WireError(WireFault.NOT_JSON, "the payload is not a JSON document")
    version = document.get("v", WIRE_VERSION) if isinstance(document, dict) else WIRE_VERSION
    if isinstance(version, int) and version > WIRE_VERSION:
        return WireError(
            WireFault.UNSUPPORTED_VERSION, f"wire version {version}, this side speaks up to {WIRE_VERSION}"
        )
    problems = [
        f"{'.'.join(str(part) for part in item['loc'])}: {item['type']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:5]
    ]
    return WireError(WireFault.WRONG_SCHEMA, "; ".join(problems))


def canonical_bytes(document: Any) -> bytes:  # noqa: ANN401 - any JSON value is canonicalised
    """Sorted keys, no spaces, UTF-8: the bytes that hashes and signatures cover."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def canonical_digest(document: Any) -> str:  # noqa: ANN401 - any JSON value is canonicalised
    """SHA-256 of `canonical_bytes`, 64 hex digits."""
    return hashlib.sha256(canonical_bytes(document)).hexdigest()
