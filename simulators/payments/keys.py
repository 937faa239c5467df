"""Keys of both wallets and their merchant, made where there are none; what the merchant may have is in files."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

MCHID: Final = "1900000109"
APPID: Final = "wx8888888888888888"
APP_ID: Final = "2021000000000001"
SELLER_ID: Final = "2088000000000000"
_RSA_BITS: Final = 2048
_PRIVATE: Final = ("merchant", "platform", "app", "alipay")
_TEXTS: Final = {"apiv2": 16, "apiv3": 16, "merchant_serial": 20, "public_key_number": 15}
"""Bytes of randomness; written as hexadecimal digits, so an APIv3 key has its 32 characters."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Everything secret here."""

    folder: Path
    merchant: RSAPrivateKey
    platform: RSAPrivateKey
    app: RSAPrivateKey
    alipay: RSAPrivateKey
    apiv2: str
    apiv3: str
    merchant_serial: str
    public_key_id: str

    def facts(self, base_url: str) -> dict[str, dict[str, str]]:
        """What the merchant's side needs to know."""
        return {
            "wechat": {
                "base_url": base_url,
                "mchid": MCHID,
                "appid": APPID,
                "apiv2_key_file": str(self.folder / "apiv2"),
                "apiv3_key_file": str(self.folder / "apiv3"),
                "merchant_key_file": str(self.folder / "merchant.pem"),
                "merchant_serial": self.merchant_serial,
                "platform_public_key_file": str(self.folder / "platform.pub.pem"),
                "public_key_id": self.public_key_id,
            },
            "alipay": {
                "gateway_url": f"{base_url}/gateway.do",
                "app_id": APP_ID,
                "app_private_key_file": str(self.folder / "app.pem"),
                "alipay_public_key_file": str(self.folder / "alipay.pub.pem"),
                "seller_id": SELLER_ID,
            },
        }


def prepare(folder: Path) -> Keys:
    """Take the keys of a folder; make what is missing, readable by nobody else."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = {name: _private(folder, name) for name in _PRIVATE}
    texts = {name: _text(folder / name, size) for name, size in _TEXTS.items()}
    return Keys(
        folder=folder,
        apiv2=texts["apiv2"],
        apiv3=texts["apiv3"],
        merchant_serial=texts["merchant_serial"].upper(),
        public_key_id=f"PUB_KEY_ID_{texts['public_key_number'].upper()}",
        **private,
    )


def write_private(path: Path, content: bytes) -> None:
    """Replace a file as a whole; nobody else may read it."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _private(folder: Path, name: str) -> RSAPrivateKey:
    path = folder / f"{name}.pem"
    if not path.exists():
        made = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
        content = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, content)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError(f"{path} is no RSA key")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(folder / f"{name}.pub.pem", public)
    return key


def _text(path: Path, size: int) -> str:
    if not path.exists():
        write_private(path, secrets.token_hex(size).encode())
    return path.read_text()
