"""Who calls: kiosks are known by their client certificate, as long as the fleet has not revoked it.

TLS has checked signature, purpose and dates. The revocation list is asked at every request, not only at the
handshake: a kiosk that is revoked in the middle of a session is turned away at its next request.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import NameOID

from kit.clock import Clock
from kit.logs import get_logger
from kit.web import Problem, peer_certificate

LOOK_AGAIN_S: Final = 1.0
_KIOSK: Final = re.compile(r"[a-z0-9-]{3,40}")
_NO_KIOSKS: Final = re.compile(r"server|fleet-.*")
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KioskPrincipal:
    """A kiosk that proved who it is."""

    id: str
    permissions: frozenset[str] = frozenset({"kiosk"})


class RevocationList:
    """The fleet's list, read again when its file changes; a list that cannot be read keeps the last one."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._serials: frozenset[int] = frozenset()
        self._stamp: tuple[int, int] | None = None
        self._looked_s = float("-inf")

    async def holds(self, serial: int) -> bool:
        """Whether a certificate is revoked."""
        now_s = self._clock.monotonic()
        if self._path is not None and now_s - self._looked_s >= LOOK_AGAIN_S:
            self._looked_s = now_s
            await asyncio.to_thread(self._look, self._path)
        return serial in self._serials

    def _look(self, path: Path) -> None:
        try:
            facts = path.stat()
            stamp = (facts.st_mtime_ns, facts.st_size)
            if stamp != self._stamp:
                found = x509.load_pem_x509_crl(path.read_bytes())
                self._serials = frozenset(item.serial_number for item in found)
                self._stamp = stamp
        except (OSError, ValueError) as error:
            log.error("revocations.unreadable", error=type(error).__name__)  # noqa: TRY400 - the kind says it all


class KioskAuthentication:
    """Reads the client certificate of a request."""

    def __init__(self, revoked: RevocationList) -> None:
        self._revoked = revoked

    async def authenticate(self, request: web.Request) -> KioskPrincipal | None:
        """The kiosk, None without a certificate.

        Raises:
            Problem: the certificate is revoked, or not a kiosk's.
        """
        der = peer_certificate(request)
        if der is None:
            return None
        name, serial = _owner(der)
        is_kiosk = _KIOSK.fullmatch(name) is not None and _NO_KIOSKS.fullmatch(name) is None
        if not is_kiosk or await self._revoked.holds(serial):
            raise Problem(403, "certificate_refused", "This certificate opens no doors")
        return KioskPrincipal(name)


@lru_cache(maxsize=1_000)
def _owner(der: bytes) -> tuple[str, int]:
    """Common name and serial number; a kiosk shows the same certificate with every request."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (str(names[0].value) if len(names) == 1 else ""), certificate.serial_number
