"""Whether a code was made by the kiosk it names, by the key of a certificate that still opens doors."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_server.errors import Refusal
from fleet_server.registry.model import CertificateState, IssuedCertificate
from wire.checkin import CheckIn, CheckInError, parse

TOLERANCE: Final = timedelta(minutes=10)
"""The kiosk's clock may be off, and a picture of the screen may be shown a little later: not more."""


def read_code(code: str) -> tuple[CheckIn, str]:
    """What a code says. Raises: Refusal."""
    try:
        return parse(code)
    except CheckInError:
        raise Refusal("checkin_invalid", "this is no check-in code of a kiosk", status=422) from None


def verify(said: CheckIn, signature: str, certificates: Sequence[IssuedCertificate], now: datetime) -> None:
    """Let a code pass that is the kiosk's own, and fresh. Raises: Refusal."""
    at = datetime.fromtimestamp(min(said.at_s, 32_503_680_000), UTC)
    if abs(at - now) > TOLERANCE:
        raise Refusal("checkin_stale", "the code is not of now: scan the one on the screen", status=403)
    own = [
        one
        for one in certificates
        if one.serial == said.certificate
        and one.kid == said.kid
        and one.state is not CertificateState.REVOKED
        and one.not_before <= now <= one.not_after
    ]
    if not own or not _holds(said, signature, own[0]):
        raise Refusal("checkin_forged", "the code was not made by this kiosk", status=403)


def _holds(said: CheckIn, signature: str, certificate: IssuedCertificate) -> bool:
    key = x509.load_pem_x509_certificate(certificate.pem.encode()).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        key.verify(given, said.said().encode(), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
