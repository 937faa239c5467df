"""What the kiosk signs can be checked with its certificate, and the agent itself never holds the key."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.errors import IdentityError
from agent.uplink.identity import CERTIFICATE, CURRENT, KEY, Identity, IdentityFacts
from agent.uplink.signing import KioskSigner

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SERIAL = 0x1F


def _write(directory: Path) -> x509.Certificate:
    """An identity whose certificate it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "zzj-021")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), SERIAL, BEGIN, BEGIN + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (directory / CURRENT).mkdir(parents=True)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / CURRENT / KEY).write_bytes(pem)
    (directory / CURRENT / CERTIFICATE).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    facts = IdentityFacts(kid="zzj-021", not_before=BEGIN, not_after=BEGIN + timedelta(days=1))
    return Identity(facts, tmp_path / "identity")


async def test_the_signature_is_the_certificates(identity: Identity) -> None:
    certificate = await asyncio.to_thread(_write, identity.directory)
    signature = await KioskSigner(lambda: identity).sign("abc")
    assert signature is not None
    assert signature.certificate == f"{SERIAL:x}"
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(base64.b64decode(signature.value), b"abc", ec.ECDSA(hashes.SHA256()))


async def test_no_identity_no_signature(identity: Identity) -> None:
    assert await KioskSigner(lambda: None).sign("abc") is None
    with pytest.raises(IdentityError, match="key program"):
        await KioskSigner(lambda: identity).sign("abc")
