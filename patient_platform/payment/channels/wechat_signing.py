"""Signatures and sealed messages of WeChat Pay V3 (WECHATPAY2-SHA256-RSA2048, AEAD_AES_256_GCM).

A message counts when it is signed by a key we know and not older than five minutes. An unknown key is no reason to
fetch one: keys are put into the settings by people, two at a time while one is being replaced.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from kit.clock import Clock
from patient_platform.errors import SetupError

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
AGE_MAX_S: Final = 300.0
PROBE: Final = "WECHATPAY/SIGNTEST/"
"""Signatures that begin like this are WeChat's own test that wrong ones are refused."""


class BadSignature(Exception):
    """The message is not from the channel, or too old."""


class ClockDiffers(BadSignature):
    """The message is from the channel and of another time: an old one sent again, or one of the two clocks is wrong."""

    def __init__(self, skew_s: float) -> None:
        super().__init__(f"not of the last five minutes: {skew_s:+.0f} s")
        self.skew_s = skew_s


@dataclass(frozen=True, slots=True)
class WechatKeys:
    """Our key and theirs."""

    mchid: str
    serial: str
    private: rsa.RSAPrivateKey
    public: Mapping[str, rsa.RSAPublicKey]
    apiv3: bytes

    def sign(self, text: str) -> str:
        """RSA-SHA256 in base64."""
        return base64.b64encode(self.private.sign(text.encode(), padding.PKCS1v15(), SHA256())).decode()

    def authorization(self, method: str, target: str, body: str, clock: Clock) -> str:
        """The Authorization header of a request; `target` is path and query."""
        stamp, nonce = str(int(clock.utc().timestamp())), secrets.token_hex(16)
        signature = self.sign(f"{method}\n{target}\n{stamp}\n{nonce}\n{body}\n")
        return (
            f'{SCHEME} mchid="{self.mchid}",nonce_str="{nonce}",signature="{signature}",'
            f'timestamp="{stamp}",serial_no="{self.serial}"'
        )

    def verify(self, headers: Mapping[str, str], body: bytes, clock: Clock) -> float:
        """Insist on the signature of an answer or a notification; by how many seconds its clock is ahead of ours.

        Raises:
            BadSignature: none, wrong, of an unknown key, or a probe.
            ClockDiffers: rightly signed, and not of the last five minutes.
        """
        serial, stamp = headers.get("Wechatpay-Serial", ""), headers.get("Wechatpay-Timestamp", "")
        nonce, signature = headers.get("Wechatpay-Nonce", ""), headers.get("Wechatpay-Signature", "")
        key = self.public.get(serial)
        if key is None or not signature or signature.startswith(PROBE):
            raise BadSignature("no signature of a known key")
        if not stamp.isdecimal():
            raise BadSignature("no time")
        message = f"{stamp}\n{nonce}\n".encode() + body + b"\n"
        try:
            key.verify(base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise BadSignature("the signature does not fit") from error
        skew_s = int(stamp) - clock.utc().timestamp()
        if abs(skew_s) > AGE_MAX_S:
            raise ClockDiffers(skew_s)
        return skew_s

    def unseal(self, nonce: str, associated_data: str, ciphertext: str) -> bytes:
        """Open the resource of a notification.

        Raises:
            BadSignature: it was not sealed with our key, or was changed.
        """
        try:
            sealed = base64.b64decode(ciphertext, validate=True)
            return AESGCM(self.apiv3).decrypt(nonce.encode(), sealed, associated_data.encode())
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise BadSignature("the resource cannot be opened") from error


def private_key(pem: str) -> rsa.RSAPrivateKey:
    """An RSA key of a merchant.

    Raises:
        SetupError: it is none.
    """
    try:
        key = load_pem_private_key(pem.encode(), None)
    except ValueError as error:
        raise SetupError("the merchant key is no private key in PEM") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SetupError("the merchant key is no RSA key")
    return key


def public_key(pem: bytes) -> rsa.RSAPublicKey:
    """An RSA key of a channel: the key itself, or the certificate that is around it.

    Raises:
        SetupError: it is none.
    """
    try:
        is_certificate = b"BEGIN CERTIFICATE" in pem
        key = load_pem_x509_certificate(pem).public_key() if is_certificate else load_pem_public_key(pem)
    except ValueError as error:
        raise SetupError("the channel's key is no public key in PEM") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise SetupError("the channel's key is no RSA key")
    return key
