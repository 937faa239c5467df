"""The signatures of both wallets, as their documents write them: WeChat Pay V3 and V2, Alipay RSA2."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"


def request_text(method: str, target: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What a merchant signs for V3; `target` is the path with its query."""
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def answer_text(timestamp: str, nonce: str, body: bytes) -> bytes:
    """What WeChat Pay signs for V3: answers and notices."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def rsa_sign(key: RSAPrivateKey, text: bytes) -> str:
    """SHA256 with RSA, Base64."""
    return base64.b64encode(key.sign(text, PKCS1v15(), SHA256())).decode()


def rsa_verifies(key: RSAPublicKey, text: bytes, signature: str) -> bool:
    """Whether the signature is this key's over this text."""
    try:
        key.verify(base64.b64decode(signature, validate=True), text, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def seal(key: bytes, nonce: str, associated: str, text: bytes) -> str:
    """AEAD_AES_256_GCM as in V3 notices: ciphertext and tag, Base64."""
    return base64.b64encode(AESGCM(key).encrypt(nonce.encode(), text, associated.encode())).decode()


def v2_sign(fields: Mapping[str, str], key: str, sign_type: str) -> str:
    """V2: sorted `name=value` without empty ones and without `sign`, then the key; MD5 or HMAC-SHA256."""
    pairs = "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value and name != "sign")
    text = f"{pairs}&key={key}".encode()
    if sign_type == "HMAC-SHA256":
        return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def alipay_text(fields: Mapping[str, str], *, without: frozenset[str] = frozenset({"sign"})) -> bytes:
    """Alipay: sorted `name=value` without empty ones; a notice leaves `sign_type` out as well."""
    return "&".join(
        f"{name}={value}" for name, value in sorted(fields.items()) if value and name not in without
    ).encode()
