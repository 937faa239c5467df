"""Seals what identifies people: AES-256-GCM with key ids, and a blind index to find a number without opening any.

The key file is made once, belongs to its owner only, and must be in the backup: without it the sealed columns are
lost. A new key is added by `patient-platform keys rotate`; old ones stay for what they sealed. In a hospital the
keys belong into a hardware module; this class is the place where one is put.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, ValidationError

from patient_platform.errors import PlatformError, SetupError

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32


class Unsealable(PlatformError):
    """The text was sealed with a key that is gone, for another field, or was changed."""


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    active: str
    keys: dict[str, str]
    index: str


@dataclass(frozen=True, slots=True)
class Vault:
    """Opens and seals."""

    active: str
    keys: dict[str, bytes]
    index_key: bytes

    def seal(self, text: str, field: str) -> str:
        """A text that can be opened for this field only: `<key id>.<nonce and ciphertext>`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self.keys[self.active]).encrypt(nonce, text.encode(), field.encode())
        return f"{self.active}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, field: str) -> str:
        """The text again.

        Raises:
            Unsealable: see the class.
        """
        name, _, body = sealed.partition(".")
        key = self.keys.get(name)
        if key is None:
            raise Unsealable("the key this was sealed with is not in the key file")
        try:
            data = base64.urlsafe_b64decode(body)
            return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], field.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Unsealable("what was sealed here was changed, or sealed for another field") from error

    def blind(self, text: str, field: str) -> str:
        """The same short text for the same number, and no way back."""
        return hmac.new(self.index_key, f"{field}\0{text}".encode(), hashlib.sha256).hexdigest()


def open_vault(path: Path) -> Vault:
    """The keys of this installation, made if there are none.

    Raises:
        SetupError: the file cannot be used.
    """
    try:
        if not path.exists():
            _write(path, _KeyFile(active="k1", keys={"k1": _fresh()}, index=_fresh()))
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path} may be read by others: run chmod 600 on it")
        file = _KeyFile.model_validate_json(path.read_bytes())
        keys = {name: base64.b64decode(key, validate=True) for name, key in file.keys.items()}
        index = base64.b64decode(file.index, validate=True)
    except (OSError, ValidationError, binascii.Error) as error:
        raise SetupError(f"the key file {path} cannot be used") from error
    if file.active not in keys or any(len(key) != KEY_BYTES for key in (*keys.values(), index)):
        raise SetupError(f"the key file {path} cannot be used")
    return Vault(file.active, keys, index)


def rotate(path: Path) -> str:
    """Add a key and seal with it from now on; its name."""
    vault = open_vault(path)
    name = f"k{1 + max(int(known[1:]) for known in vault.keys)}"
    keys = {known: base64.b64encode(key).decode() for known, key in vault.keys.items()}
    _write(path, _KeyFile(active=name, keys={**keys, name: _fresh()}, index=base64.b64encode(vault.index_key).decode()))
    return name


def _fresh() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _write(path: Path, file: _KeyFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(json.dumps(file.model_dump()))
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)
