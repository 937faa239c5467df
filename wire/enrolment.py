"""How a new kiosk gets its identity: request, pairing code, certificate; and renewal later.

The pairing code is a short authentication string: both sides compute it from the kiosk's public key and
a nonce the server chose afterwards. The engineer types what the kiosk shows, so the key the server signs
is the key of the machine the engineer stands in front of.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from wire.envelope import Moment, ShortText, WireModel
from wire.identity import KioskId

CODE_DIGITS = 6
REQUEST_LIFETIME_S = 600.0
WRONG_CODE_LIMIT = 5

Pem = Annotated[str, Field(max_length=16_384)]
PairingCode = Annotated[str, Field(pattern=r"^[0-9]{6}$")]


class EnrolmentState(StrEnum):
    """Where a request stands."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    EXPIRED = "expired"


class EnrolmentRequest(WireModel):
    """POST /enrol/v1/requests."""

    csr: Pem
    serial: ShortText
    model: ShortText | None = None
    hostname: ShortText | None = None
    agent_version: ShortText | None = None


class EnrolmentTicket(WireModel):
    """The server's answer to a request."""

    request_id: ShortText
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    poll_token: Annotated[str, Field(min_length=20, max_length=128)]
    expires_at: Moment


class BrokerAddress(WireModel):
    """Where the kiosk finds its broker."""

    host: ShortText
    port: int = Field(ge=1, le=65_535)


class EnrolmentStatus(WireModel):
    """GET /enrol/v1/requests/{id}: with `confirmed` come the identity and the way to the broker."""

    state: EnrolmentState
    kid: KioskId | None = None
    certificate: Pem | None = None
    ca: Pem | None = None
    broker: BrokerAddress | None = None
    reason: ShortText | None = None


class RenewalRequest(WireModel):
    """POST /kiosk/v1/renew, authenticated by the certificate that is about to expire."""

    csr: Pem


class RenewalAnswer(WireModel):
    """The renewed certificate and the current CA certificates."""

    certificate: Pem
    ca: Pem


class ServerClock(WireModel):
    """GET /kiosk/v1/time."""

    utc: Moment


def pairing_code(public_key_der: bytes, nonce: str) -> str:
    """Six digits both sides compute.

    Args:
        public_key_der: SubjectPublicKeyInfo of the kiosk's key.
        nonce: 32 hex digits chosen by the server after it received the key.
    """
    digest = hashlib.sha256(b"kiosk-pairing-v1\0" + bytes.fromhex(nonce) + public_key_der).digest()
    return f"{int.from_bytes(digest[:8]) % 10**CODE_DIGITS:0{CODE_DIGITS}d}"
