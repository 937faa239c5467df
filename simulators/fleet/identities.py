"""Certificates of the light kiosks, read from a folder `fleet-server lab-identities` wrote.

Layout: `ca.pem`, and per kiosk `<kid>/cert.pem` and `<kid>/key.pem`.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wire.identity import is_kiosk_id


class IdentityFolderError(ValueError):
    """The folder does not hold what a crowd needs; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One kiosk's name and files."""

    kid: str
    cert_file: Path
    key_file: Path
    ca_file: Path

    def tls(self) -> ssl.SSLContext:
        """A client context for TLS 1.3 with this identity."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.cert_file, self.key_file)
        return context


def read_identities(folder: Path, count: int | None = None) -> Sequence[Identity]:
    """The first `count` identities in order of their names, all of them when None.

    Raises:
        IdentityFolderError: no CA, fewer identities than asked for, or a file missing.
    """
    ca_file = folder / "ca.pem"
    if not ca_file.is_file():
        raise IdentityFolderError(f"{folder} has no ca.pem: run `fleet-server lab-identities --out {folder}` first")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and is_kiosk_id(entry.name))
    if count is not None and len(names) < count:
        raise IdentityFolderError(f"{folder} holds {len(names)} identities, {count} were asked for")
    found = [Identity(name, folder / name / "cert.pem", folder / name / "key.pem", ca_file) for name in names[:count]]
    for identity in found:
        for file in (identity.cert_file, identity.key_file):
            if not file.is_file():
                raise IdentityFolderError(f"{file} is missing")
    return found
