"""The chain over the rows of evidence, and the seal that ends a day.

A row is one line of canonical JSON: `{"body":…,"day":…,"kind":…,"no":…}`. Its chain value is SHA-256 over the chain
value of the row before it and that line; the line that is exported carries it at its end. A seal names the day, how
many rows there are, the chain value of the last of them and the digest of the seal before it, and is signed with the
server's Ed25519 key: who owns the database alone cannot write another past.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fleet_server.errors import SetupError
from wire.envelope import canonical_bytes

START: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row in its place; `body` is canonical JSON."""

    no: int
    day: str
    kind: str
    body: str
    chain: str

    @property
    def line(self) -> str:
        """The row as it is exported."""
        return f'{line_of(self.no, self.day, self.kind, self.body)[:-1]},"chain":"{self.chain}"}}'


@dataclass(frozen=True, slots=True)
class Seal:
    """The end of a day; `rows` is the number of its last row."""

    day: str
    first: int
    rows: int
    head: str
    previous: str
    """Digest of the seal before it."""
    sealed_us: int
    key: str
    """The public key, 64 hex digits."""
    signature: str = ""

    def document(self) -> dict[str, Any]:  # Any: a JSON document
        """What is signed."""
        return {
            "day": self.day,
            "first": self.first,
            "head": self.head,
            "key": self.key,
            "previous": self.previous,
            "rows": self.rows,
            "sealed_us": self.sealed_us,
        }

    @property
    def digest(self) -> str:
        """What the next seal names."""
        return hashlib.sha256(canonical_bytes(self.document())).hexdigest()

    @property
    def line(self) -> str:
        """The seal as it is exported."""
        return canonical_bytes({**self.document(), "signature": self.signature}).decode()


class SealKey:
    """The server's key for seals."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Sign with this key."""
        self._key = key
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    @classmethod
    def at(cls, file: Path) -> SealKey:
        """The key in a file, made when there is none; blocks. Raises: SetupError."""
        try:
            found = load_pem_private_key(file.read_bytes(), password=None)
        except FileNotFoundError:
            return cls._made(file)
        except (OSError, ValueError) as error:
            raise SetupError(f"the key of the seals in {file} cannot be read: {error}") from error
        if not isinstance(found, Ed25519PrivateKey):
            raise SetupError(f"the key of the seals in {file} is no Ed25519 key")
        return cls(found)

    @classmethod
    def _made(cls, file: Path) -> SealKey:
        key = Ed25519PrivateKey.generate()
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123 - the mode from the first byte on
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
        except FileExistsError:
            return cls.at(file)
        except OSError as error:
            raise SetupError(f"the key of the seals cannot be written to {file}: {error}") from error
        return cls(key)

    def sign(self, seal: Seal) -> str:
        """The signature of a seal, in hex."""
        return self._key.sign(canonical_bytes(seal.document())).hex()


def is_signed(seal: Seal) -> bool:
    """Whether the signature of a seal is that of the key it names."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal.key))
        key.verify(bytes.fromhex(seal.signature), canonical_bytes(seal.document()))
    except (InvalidSignature, ValueError):
        return False
    return True


def line_of(no: int, day: str, kind: str, body: str) -> str:
    """The canonical line of a row without its chain value."""
    return f'{{"body":{body},"day":"{day}","kind":"{kind}","no":{no}}}'


def chained(previous: str, no: int, day: str, kind: str, body: Mapping[str, Any]) -> SealedRow:  # Any: JSON
    """The row that follows a chain value."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    chain = hashlib.sha256(previous.encode() + line_of(no, day, kind, text).encode()).hexdigest()
    return SealedRow(no, day, kind, text, chain)
