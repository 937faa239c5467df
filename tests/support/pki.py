"""Throwaway certificates, right ones and every wrong kind, for tests of TLS (fault F-16 of the reference).

Valid for a month around the given moment; P-256 unless the point is a weak key. Nothing here is a secret.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kit.clock import SystemClock

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_MONTH = timedelta(days=30)
_WEAK_BITS = 1024


class Usage(StrEnum):
    """What a certificate may be used for."""

    CLIENT = "client"
    SERVER = "server"


_USAGE_OID = {Usage.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH, Usage.SERVER: ExtendedKeyUsageOID.SERVER_AUTH}


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "kiosk test"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, as objects, as PEM, and (after `write`) as files."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def common_name(self) -> str:
        """Name in the certificate."""
        attribute = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0]
        return str(attribute.value)

    @property
    def certificate_pem(self) -> bytes:
        """Certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Private key as PEM, unencrypted."""
        return _key_pem(self.key)

    def write(self, directory: Path, stem: str) -> Files:
        """Write `stem`.pem and `stem`.key (0600) and return their paths."""
        files = Files(directory / f"{stem}.pem", directory / f"{stem}.key")
        files.certificate.write_bytes(self.certificate_pem)
        files.key.touch(mode=0o600)
        files.key.write_bytes(self.key_pem)
        return files


@dataclass(frozen=True, slots=True)
class Files:
    """Where an identity lies."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority made for one test; `moment` is the middle of what it issues."""

    identity: Identity
    moment: datetime

    @classmethod
    def new(cls, common_name: str = "Test CA", *, moment: datetime | None = None) -> Self:
        """Make one, valid for a month before and after `moment` (default: now)."""
        middle = moment or SystemClock().utc()
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(common_name, key, (middle - _MONTH, middle + _MONTH)).issuer_name(_name(common_name))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs=True), critical=True)
        return cls(Identity(builder.sign(key, hashes.SHA256()), key), middle)

    @property
    def pem(self) -> bytes:
        """The authority's certificate as PEM."""
        return self.identity.certificate_pem

    def issue(
        self,
        common_name: str,
        usage: Usage = Usage.CLIENT,
        *,
        names: Sequence[str] = (),
        validity: tuple[datetime, datetime] | None = None,
        key: PrivateKey | None = None,
    ) -> Identity:
        """Issue a certificate; a server is for localhost and 127.0.0.1 unless `names` say otherwise."""
        own_key = key or ec.generate_private_key(ec.SECP256R1())
        span = validity or (self.moment - _MONTH / 2, self.moment + _MONTH / 2)
        builder = _builder(common_name, own_key, span).issuer_name(self.identity.certificate.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([_USAGE_OID[usage]]), critical=False)
        builder = builder.add_extension(_key_usage(signs=False), critical=True)
        alternative = list(names) or (["localhost", "127.0.0.1"] if usage is Usage.SERVER else [])
        if alternative:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(text) for text in alternative]), critical=False
            )
        return Identity(builder.sign(self._signing_key, hashes.SHA256()), own_key)

    def revocation_list(self, *revoked: Identity) -> bytes:
        """CRL as PEM that names these certificates."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.identity.certificate.subject)
            .last_update(self.moment - timedelta(days=1))
            .next_update(self.moment + _MONTH)
            .add_extension(x509.CRLNumber(len(revoked) + 1), critical=False)
        )
        for identity in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(identity.certificate.serial_number)
                .revocation_date(self.moment - timedelta(days=1))
                .build()
            )
        return builder.sign(self._signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @property
    def _signing_key(self) -> PrivateKey:
        return self.identity.key


def _builder(common_name: str, key: PrivateKey, span: tuple[datetime, datetime]) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0].astimezone(UTC))
        .not_valid_after(span[1].astimezone(UTC))
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@dataclass(frozen=True, slots=True)
class Pki:
    """A right authority with a right server and client, and one client of every wrong kind.

    `foreign` has the client's name from another authority with the same authority's name; `wrong_usage` is a server
    certificate with the client's name; `self_signed` vouches for itself; `weak` has a 1024-bit RSA key; `wrong_host`
    is a server for another host.
    """

    authority: Authority
    server: Identity
    client: Identity
    other_client: Identity
    expired: Identity
    not_yet_valid: Identity
    foreign: Identity
    wrong_usage: Identity
    self_signed: Identity
    weak: Identity
    revoked: Identity
    wrong_host: Identity
    foreign_authority: Authority = field(repr=False)

    @classmethod
    def new(cls, client_name: str = "kiosk-001", *, moment: datetime | None = None) -> Self:
        """Make all of them; 10 ms, plus the weak RSA key."""
        ca = Authority.new(moment=moment)
        stranger = Authority.new(moment=moment)
        middle = ca.moment
        day = timedelta(days=1)
        past, future = (middle - 20 * day, middle - day), (middle + day, middle + 20 * day)
        weak_key = rsa.generate_private_key(public_exponent=65_537, key_size=_WEAK_BITS)
        return cls(
            authority=ca,
            server=ca.issue("localhost", Usage.SERVER),
            client=ca.issue(client_name),
            other_client=ca.issue("kiosk-002"),
            expired=ca.issue(client_name, validity=past),
            not_yet_valid=ca.issue(client_name, validity=future),
            foreign=stranger.issue(client_name),
            wrong_usage=ca.issue(client_name, Usage.SERVER),
            self_signed=Authority.new(client_name, moment=moment).identity,
            weak=ca.issue(client_name, key=weak_key),
            revoked=ca.issue(client_name),
            wrong_host=ca.issue("elsewhere", Usage.SERVER, names=["elsewhere.example"]),
            foreign_authority=stranger,
        )

    def write(self, directory: Path) -> Path:
        """Write ca.pem, crl.pem (naming `revoked`) and a pair of files for each identity; returns `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ca.pem").write_bytes(self.authority.pem)
        (directory / "crl.pem").write_bytes(self.authority.revocation_list(self.revoked))
        for stem, identity in self.identities().items():
            identity.write(directory, stem)
        return directory

    def identities(self) -> dict[str, Identity]:
        """All identities by their name here."""
        return {name: value for name in self.__dataclass_fields__ if isinstance(value := getattr(self, name), Identity)}


def client_context(ca_file: Path, identity: Files | None = None, *, shows_weak: bool = False) -> ssl.SSLContext:
    """TLS 1.3 client that trusts one authority, checks the host name, and shows `identity` when given.

    OpenSSL refuses to load a weak key; with `shows_weak` an attacker's client loads it all the same.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if shows_weak:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_verify_locations(cafile=ca_file)
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def server_context(ca_file: Path, identity: Files, *, crl_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.3 server that demands a certificate of one authority, not revoked when a CRL is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity.certificate, identity.key)
    context.load_verify_locations(cafile=ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    if crl_file is not None:
        context.load_verify_locations(cafile=crl_file)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return context
