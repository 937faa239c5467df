"""The fleet's certificate authority: ECDSA P-256, one level, kept on the fleet server.

Profiles follow RFC 5280: critical basic constraints and key usage, subject and authority key identifiers.
Nothing of a request but its public key goes into a certificate; name and purpose are ours.
Certificates of servers are dated back to 1970, so that a kiosk whose clock battery died can still verify
them and learn the time; their ends are far enough away for a clock that runs a year ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.errors import Refusal, SetupError

ORGANIZATION: Final = "Hospital kiosk fleet"
CA_LIFE: Final = timedelta(days=3_652)
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
SKEW: Final = timedelta(hours=1)
"""How far the clocks of fleet server and broker may differ."""
CSR_BYTES_MAX: Final = 16_384
RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 8_192
RSA_EXPONENT_MIN: Final = 65_537
RSA_EXPONENT_MAX: Final = 2**32
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

SubjectKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Leaf:
    """An issued certificate and what is looked up by; digests and serial are lower-case hex."""

    pem: str
    name: str
    serial: str
    fingerprint: str
    """SHA-256 of the DER form."""
    key_digest: str
    """SHA-256 of the SubjectPublicKeyInfo."""
    not_before: datetime
    not_after: datetime
    sans: tuple[str, ...] = ()
    """DNS names and addresses of a server."""


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A request that passed every check."""

    public_key_der: bytes
    key_digest: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """One line of the revocation list; a probe only serves to see whether the list is in force."""

    serial: str
    at: datetime
    is_probe: bool = False


class CsrRefused(Refusal):
    """The signing request cannot be used; nothing of it is kept."""

    def __init__(self, reason: str) -> None:
        """Say what is wrong with it, without repeating it."""
        super().__init__("csr_refused", f"the certificate request is refused: {reason}", status=422)


def check_csr(pem: str) -> SigningRequest:
    """Accept a PKCS #10 request whose key is strong and whose sender holds the key.

    Raises:
        CsrRefused: garbage, too large, a weak or unknown key, or not signed by that key.
    """
    raw = pem.encode("ascii", errors="replace")
    if len(raw) > CSR_BYTES_MAX:
        raise CsrRefused(f"larger than {CSR_BYTES_MAX} bytes")
    if raw.count(b"-----BEGIN ") != 1:
        raise CsrRefused("exactly one PEM block is expected")
    try:
        request = x509.load_pem_x509_csr(raw)
        key = request.public_key()
        digest = request.signature_hash_algorithm
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CsrRefused("it is not a PKCS #10 request with a known key type") from None
    strong = _strong(key)
    if not isinstance(digest, _DIGESTS):
        raise CsrRefused("it must be signed with SHA-256 or stronger")
    if not _signature_holds(request):
        raise CsrRefused("its signature does not match its key")
    der = strong.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return SigningRequest(der, _hex_digest(der))


def _strong(key: object) -> SubjectKey:
    match key:
        case ec.EllipticCurvePublicKey():
            if not isinstance(key.curve, _CURVES):
                raise CsrRefused("the elliptic curve must be P-256, P-384 or P-521")
            return key
        case rsa.RSAPublicKey():
            if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
                raise CsrRefused(f"an RSA key must have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")
            if not RSA_EXPONENT_MIN <= key.public_numbers().e < RSA_EXPONENT_MAX:
                raise CsrRefused("the RSA exponent is out of range")
            return key
        case _:
            raise CsrRefused("the key must be ECDSA or RSA")


def _signature_holds(request: x509.CertificateSigningRequest) -> bool:
    try:
        return request.is_signature_valid
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False


def read_leaf(certificate: bytes | str) -> Leaf:
    """Read a certificate from DER, or from PEM text.

    Raises:
        ValueError: it is not a certificate with a common name.
    """
    if isinstance(certificate, str):
        return _leaf(x509.load_pem_x509_certificate(certificate.encode()))
    return _leaf(x509.load_der_x509_certificate(certificate))


def _leaf(certificate: x509.Certificate) -> Leaf:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise ValueError("a certificate of the fleet has exactly one common name")
    public = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Leaf(
        pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        name=str(names[0].value),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key_digest=_hex_digest(public),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sans=_sans(certificate),
    )


def _sans(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in found)


def _hex_digest(data: bytes) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize().hex()


class KeyPair:
    """A private key of ours, ECDSA P-256."""

    def __init__(self) -> None:
        """Make a new key."""
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> SubjectKey:
        """The half that goes into a certificate."""
        return self._key.public_key()

    @property
    def pem(self) -> bytes:
        """The private key in PKCS #8; never log or keep it readable by others."""
        return _private_pem(self._key)

    def csr_pem(self, name: str) -> str:
        """A signing request of this key, as a kiosk makes one."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self._key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class CertificateAuthority:
    """Signs certificates and revocation lists."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Use a key and its certificate; `create` and `load` are the ways to get here."""
        self._certificate = certificate
        self._key = key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        self.not_after = certificate.not_valid_after_utc

    @classmethod
    def create(cls, now: datetime) -> CertificateAuthority:
        """Make a new authority for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        tag = _hex_digest(
            key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )[:8]
        name = _name(f"Fleet CA {tag}")
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(LONG_AGO)
            .not_valid_after(now + CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> CertificateAuthority:
        """Take an authority up again.

        Raises:
            SetupError: not PEM, not P-256, or key and certificate do not belong together.
        """
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SetupError("the CA's files are not a certificate and an unencrypted key in PEM") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise SetupError("the CA's key does not belong to its certificate")
        return cls(certificate, key)

    @property
    def key_pem(self) -> bytes:
        """The private key in PKCS #8, for the file that only its owner may read."""
        return _private_pem(self._key)

    def issue_client(self, name: str, public_key: SubjectKey | bytes, *, now: datetime, life: timedelta) -> Leaf:
        """A certificate for one MQTT client: kiosk or worker.

        `public_key` may be a SubjectPublicKeyInfo that passed `check_csr`.
        """
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._issue(name, public_key, usage, (), now - SKEW, now + life)

    def issue_server(self, names: Sequence[str], public_key: SubjectKey, *, now: datetime, life: timedelta) -> Leaf:
        """A certificate for a server that is reached by these DNS names and addresses."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return self._issue(names[0], public_key, usage, names, LONG_AGO, now + life)

    def mint(self, name: str, *, now: datetime, life: timedelta) -> tuple[Leaf, bytes]:
        """A client certificate with a key made here, as PEM."""
        pair = KeyPair()
        return self.issue_client(name, pair.public_key, now=now, life=life), pair.pem

    def revocation_list(self, revoked: Iterable[Revocation], *, now: datetime, life: timedelta) -> bytes:
        """The signed list (CRL) in PEM; its number rises with time."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - SKEW)
            .next_update(now + life)
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1_000)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for item in revoked:
            builder = builder.add_revoked_certificate(_crl_line(item))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _issue(
        self,
        name: str,
        public_key: SubjectKey | bytes,
        usage: x509.ExtendedKeyUsage,
        sans: Sequence[str],
        not_before: datetime,
        not_after: datetime,
    ) -> Leaf:
        key = _subject_key(public_key) if isinstance(public_key, bytes) else public_key
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(min(not_after, self.not_after))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if sans:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(text) for text in sans]), critical=False
            )
        return _leaf(builder.sign(self._key, hashes.SHA256()))


def read_revocations(pem: bytes) -> list[Revocation]:
    """What a revocation list of ours names.

    Raises:
        ValueError: it is not a revocation list.
    """
    return [
        Revocation(f"{item.serial_number:x}", item.revocation_date_utc, is_probe=_is_probe(item))
        for item in x509.load_pem_x509_crl(pem)
    ]


def _crl_line(item: Revocation) -> x509.RevokedCertificate:
    reason = x509.ReasonFlags.certificate_hold if item.is_probe else x509.ReasonFlags.cessation_of_operation
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(int(item.serial, 16))
        .revocation_date(item.at)
        .add_extension(x509.CRLReason(reason), critical=False)
        .build()
    )


def _is_probe(item: x509.RevokedCertificate) -> bool:
    try:
        reason = item.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return False
    return reason is x509.ReasonFlags.certificate_hold


def _subject_key(der: bytes) -> SubjectKey:
    return _strong(serialization.load_der_public_key(der))


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
