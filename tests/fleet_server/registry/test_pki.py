from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from fleet_server.errors import SetupError
from fleet_server.registry import pki
from fleet_server.registry.pki import CertificateAuthority, CsrRefused, KeyPair, Revocation, check_csr, read_leaf

NOW = datetime(2026, 3, 2, tzinfo=UTC)
YEAR = timedelta(days=365)


def csr_of(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, name: str = "whatever"
) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return request.public_bytes(serialization.Encoding.PEM).decode()


def spoilt(pem: str) -> str:
    """The request with another signature's last byte."""
    der = bytearray(x509.load_pem_x509_csr(pem.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 0x01
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(NOW)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_strong_elliptic_keys_are_taken(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    request = check_csr(csr_of(key))
    assert request.public_key_der == key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_2048_bit_rsa_key_is_taken() -> None:
    assert check_csr(csr_of(rsa.generate_private_key(65_537, 2_048))).key_digest


@pytest.mark.parametrize(
    ("csr", "reason"),
    [
        pytest.param(csr_of(rsa.generate_private_key(65_537, 1_024)), "2048", id="rsa-1024"),  # noqa: S505 - the point
        pytest.param(csr_of(rsa.generate_private_key(3, 2_048)), "exponent", id="rsa-exponent-3"),
        pytest.param(csr_of(ec.generate_private_key(ec.SECP256K1())), "P-256", id="secp256k1"),
        pytest.param(csr_of(ed25519.Ed25519PrivateKey.generate()), "ECDSA or RSA", id="ed25519"),
        pytest.param(spoilt(KeyPair().csr_pem("a")), "signature", id="not-the-holder"),
        pytest.param("", "PEM", id="empty"),
        pytest.param("-----BEGIN nothing", "PKCS #10", id="garbage"),
        pytest.param("密钥", "PEM", id="not-ascii"),
        pytest.param(KeyPair().csr_pem("a") * 2, "exactly one", id="two"),
        pytest.param("-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 20_000, "16384", id="huge"),
        pytest.param(KeyPair().csr_pem("a")[:200], "PKCS #10", id="cut-off"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(csr: str, reason: str) -> None:
    with pytest.raises(CsrRefused, match=reason):
        check_csr(csr)


def test_a_p192_key_is_refused() -> None:
    """Made by OpenSSL 3.0: `ecparam -name prime192v1 -genkey`, `req -new -subj /CN=a`."""
    with pytest.raises(CsrRefused):
        check_csr(P192_CSR)


def test_only_the_key_of_a_request_goes_into_the_certificate(authority: CertificateAuthority) -> None:
    request = check_csr(csr_of(ec.generate_private_key(ec.SECP256R1()), name="fleet-main"))
    leaf = authority.issue_client("zzj-001", request.public_key_der, now=NOW, life=YEAR)
    assert leaf.name == "zzj-001"
    assert leaf.key_digest == request.key_digest
    assert leaf.not_after == NOW + YEAR
    assert read_leaf(leaf.pem) == leaf


def test_a_kiosk_certificate_serves_clients_only(authority: CertificateAuthority) -> None:
    leaf, _ = authority.mint("zzj-001", now=NOW, life=YEAR)
    certificate = x509.load_pem_x509_certificate(leaf.pem.encode())
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [item.dotted_string for item in usage] == ["1.3.6.1.5.5.7.3.2"]
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca


def test_a_server_certificate_names_hosts_and_addresses_and_outlives_wrong_clocks(
    authority: CertificateAuthority,
) -> None:
    leaf = authority.issue_server(
        ["fleet.example", "10.0.0.7"], KeyPair().public_key, now=NOW, life=timedelta(days=1_826)
    )
    assert leaf.sans == ("fleet.example", "10.0.0.7")
    for days in (-400, 400):
        assert leaf.not_before < NOW + timedelta(days=days) < leaf.not_after


def test_nothing_outlives_the_authority(authority: CertificateAuthority) -> None:
    leaf, _ = authority.mint("zzj-001", now=NOW, life=timedelta(days=36_500))
    assert leaf.not_after == authority.not_after


def test_a_certificate_verifies_against_its_authority_and_no_other(authority: CertificateAuthority) -> None:
    leaf, _ = authority.mint("zzj-001", now=NOW, life=YEAR)
    certificate = x509.load_pem_x509_certificate(leaf.pem.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem.encode()))
    other = x509.load_pem_x509_certificate(CertificateAuthority.create(NOW).pem.encode())
    with pytest.raises(ValueError, match="does not match"):
        certificate.verify_directly_issued_by(other)


def test_the_revocation_list_names_exactly_the_revoked(authority: CertificateAuthority) -> None:
    revoked, _ = authority.mint("zzj-001", now=NOW, life=YEAR)
    kept, _ = authority.mint("zzj-002", now=NOW, life=YEAR)
    pem = authority.revocation_list([Revocation(revoked.serial, NOW)], now=NOW, life=timedelta(days=90))
    crl = x509.load_pem_x509_crl(pem)
    assert crl.get_revoked_certificate_by_serial_number(int(revoked.serial, 16)) is not None
    assert crl.get_revoked_certificate_by_serial_number(int(kept.serial, 16)) is None
    assert crl.next_update_utc == NOW + timedelta(days=90)
    assert crl.is_signature_valid(x509.load_pem_x509_certificate(authority.pem.encode()).public_key())  # type: ignore[arg-type]  # EC, by construction


def test_an_authority_survives_being_stored(authority: CertificateAuthority) -> None:
    again = CertificateAuthority.load(authority.pem.encode(), authority.key_pem)
    leaf, _ = again.mint("zzj-001", now=NOW, life=YEAR)
    certificate = x509.load_pem_x509_certificate(leaf.pem.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem.encode()))


def test_a_key_that_is_not_the_authoritys_is_refused(authority: CertificateAuthority) -> None:
    with pytest.raises(SetupError, match="does not belong"):
        CertificateAuthority.load(authority.pem.encode(), KeyPair().pem)
    with pytest.raises(SetupError, match="PEM"):
        CertificateAuthority.load(b"no certificate", authority.key_pem)


def test_names_are_written_where_they_are_looked_up(authority: CertificateAuthority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.pem.encode())
    assert certificate.fingerprint(hashes.SHA256()).hex() == authority.fingerprint
    organization = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
    assert organization == pki.ORGANIZATION


P192_CSR = """-----BEGIN CERTIFICATE REQUEST-----
MIGlMF4CAQAwDDEKMAgGA1UEAwwBYTBJMBMGByqGSM49AgEGCCqGSM49AwEBAzIA
BCTMuKzJc0WHusL9PwJEaviOWY40uxk0j0nkDC//I81SrrPLHVUHh92M4kwg+MnW
MqAAMAoGCCqGSM49BAMCAzcAMDQCGBg71JUBrUgqecEJ0mZxDOBhlu9opjnljAIY
LDaJ/MZA+fN8txD31uUyqZAk+v2iebpw
-----END CERTIFICATE REQUEST-----
"""
