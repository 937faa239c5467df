"""Notes the end of the audit trail every hour, signed, and outside the database.

Who owns only the database cannot rewrite what was noted without it showing.

`audit-heads.jsonl` of the data directory gets one line an hour; each is signed (ECDSA P-256, SHA-256, DER, base64)
over `AUDIT1.<no>.<chain>.<at>` with `pki/audit.key`, whose public half is beside it: `openssl dgst -verify` checks a
line without us. Before a new head is noted the trail has to hold the one before; if it does not, that is an alarm.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_server.staff.audit import AuditBreak, AuditHead, AuditTrail
from kit.clock import Clock
from kit.logs import get_logger

FILE: Final = "audit-heads.jsonl"
KEY: Final = "audit.key"
PUBLIC_KEY: Final = "audit.pub.pem"
EVERY_S: Final = 3_600.0
RETRY_S: Final = 60.0
_PRIVATE, _PUBLIC = 0o600, 0o644
_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
log = get_logger(__name__)


class NotaryError(Exception):
    """A key or a noted line cannot be used; the text says which."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One line of the file."""

    head: AuditHead
    at: datetime
    signature: bytes

    @property
    def said(self) -> bytes:
        """What is signed."""
        return f"AUDIT1.{self.head.no}.{self.head.chain}.{self.at.isoformat()}".encode()

    def line(self) -> bytes:
        """As it stands in the file."""
        signature = base64.b64encode(self.signature).decode()
        document = {"no": self.head.no, "chain": self.head.chain, "at": self.at.isoformat(), "signature": signature}
        return json.dumps(document).encode() + b"\n"


class Alarms(Protocol):
    """Hears whether the trail still is the one that was noted."""

    async def trail_is(self, *, whole: bool) -> None:
        """Tell whoever has to know, as often as wanted."""


class HeadBook:
    """The file and the key."""

    def __init__(self, data_dir: Path, pki_dir: Path) -> None:
        """Nothing is read or written yet."""
        self.file = data_dir / FILE
        self._key_file = pki_dir / KEY
        self._public_file = pki_dir / PUBLIC_KEY

    def note(self, head: AuditHead, at: datetime) -> Noted:
        """Sign a head and put it at the end of the file, on disk when this returns.

        Raises:
            NotaryError: the key is no key of this kind.
            OSError: it could not be written.
        """
        draft = Noted(head, at, b"")
        noted = Noted(head, at, self._key().sign(draft.said, _ALGORITHM))
        handle = os.open(self.file, os.O_RDWR | os.O_CREAT, _PRIVATE)
        with os.fdopen(handle, "r+b") as file:
            file.seek(file.read().rfind(b"\n") + 1)  # what a crash cut short goes
            file.truncate()
            file.write(noted.line())
            file.flush()
            os.fsync(file.fileno())
        return noted

    def noted(self) -> Sequence[Noted]:
        """All lines, in order; a last line that a crash cut short does not count.

        Raises:
            NotaryError: a line is broken, or its signature is not ours.
        """
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return []
        lines = content.split(b"\n")[:-1]
        key = self._public()
        return [_read(number, line, key) for number, line in enumerate(lines, 1)]

    def _key(self) -> ec.EllipticCurvePrivateKey:
        if not self._key_file.exists():
            self._make()
        key = _loaded(self._key_file.read_bytes(), is_private=True)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NotaryError(f"{self._key_file} holds no key on a curve")
        return key

    def _public(self) -> ec.EllipticCurvePublicKey:
        try:
            key = _loaded(self._public_file.read_bytes(), is_private=False)
        except FileNotFoundError:
            raise NotaryError(f"{self._public_file} is missing") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise NotaryError(f"{self._public_file} holds no key on a curve")
        return key

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for path, content, mode in ((self._public_file, public, _PUBLIC), (self._key_file, private, _PRIVATE)):
            beside = path.with_name(f".{path.name}.{os.getpid()}")
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)


class Notary:
    """A duty: one process at a time notes."""

    name = "audit-notary"

    def __init__(self, trail: AuditTrail, book: HeadBook, alarms: Alarms, clock: Clock) -> None:
        """Nothing is noted yet."""
        self._trail = trail
        self._book = book
        self._alarms = alarms
        self._clock = clock

    async def run(self) -> None:
        """Note now and every hour, until cancelled."""
        while True:
            try:
                await self.note()
                pause_s = EVERY_S
            except (OSError, NotaryError) as error:
                log.warning("audit.not_noted", error=str(error))
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def note(self) -> Noted | None:
        """Note the head as it is now; None when the trail is not the one that was noted, or nothing happened.

        Raises:
            NotaryError: key or file cannot be used.
            OSError: the same.
        """
        lines = await asyncio.to_thread(self._book.noted)
        head = await self._trail.head()
        is_whole = await self.holds(lines[-1:])
        await self._alarms.trail_is(whole=is_whole)
        if not is_whole:
            log.error("audit.trail_rewritten", noted_no=lines[-1].head.no, head_no=head.no)
            return None
        if head.no == 0 or (lines and lines[-1].head == head):
            return None
        noted = await asyncio.to_thread(self._book.note, head, self._clock.utc())
        log.info("audit.noted", no=head.no, chain=head.chain)
        return noted

    async def holds(self, lines: Sequence[Noted]) -> bool:
        """Whether the trail holds every one of these heads."""
        for noted in lines:
            if noted.head.no and await self._trail.chain_at(noted.head.no) != noted.head.chain:
                return False
        return True

    async def broken(self) -> AuditBreak | None:
        """What of all that was noted does not hold, None when everything does."""
        try:
            lines = await asyncio.to_thread(self._book.noted)
        except NotaryError as error:
            return AuditBreak(0, str(error))
        for noted in lines:
            if not await self.holds([noted]):
                return AuditBreak(noted.head.no, f"the trail is not the one that was noted at {noted.at.isoformat()}")
        return None


def _loaded(pem: bytes, *, is_private: bool) -> object:
    try:
        if is_private:
            return serialization.load_pem_private_key(pem, password=None)
        return serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise NotaryError("the key of the audit trail is no key") from error


def _read(number: int, line: bytes, key: ec.EllipticCurvePublicKey) -> Noted:
    try:
        said = json.loads(line)
        head = AuditHead(int(said["no"]), str(said["chain"]))
        signature = base64.b64decode(said["signature"], validate=True)
        noted = Noted(head, datetime.fromisoformat(said["at"]), signature)
        key.verify(noted.signature, noted.said, _ALGORITHM)
    except (ValueError, TypeError, KeyError, binascii.Error):
        raise NotaryError(f"line {number} of {FILE} is broken") from None
    except InvalidSignature:
        raise NotaryError(f"line {number} of {FILE} is not signed by us") from None
    return noted
