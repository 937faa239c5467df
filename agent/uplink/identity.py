"""The kiosk's identity on disk: two slots and a link that names the one in use.

    identity/current -> a          the link is replaced by rename: the old set or the new one, never neither
    identity/{a,b}/{key.pem,cert.pem,ca.pem,facts.json}
    identity/pending/{key.pem,request.json}      a key whose certificate was asked for

Everything here does file I/O and belongs in a thread.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from agent.errors import IdentityError
from agent.uplink.files import sync_directory, write_whole
from wire.enrolment import BrokerAddress, EnrolmentTicket
from wire.identity import KioskId

SLOTS = ("a", "b")
KEY, CERTIFICATE, AUTHORITY, FACTS, REQUEST = "key.pem", "cert.pem", "ca.pem", "facts.json", "request.json"
CURRENT, PENDING = "current", "pending"


class IdentityFacts(BaseModel):
    """What is known of a certificate without parsing it again."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    kid: KioskId
    not_before: AwareDatetime
    not_after: AwareDatetime
    serial_number: str = ""
    broker: BrokerAddress | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this kiosk is; the paths go through the link, so they name the newest set at each connect."""

    facts: IdentityFacts
    directory: Path

    @property
    def kid(self) -> str:
        """The kiosk id."""
        return self.facts.kid

    @property
    def not_after(self) -> datetime:
        """When the certificate ends."""
        return self.facts.not_after

    @property
    def cert_file(self) -> Path:
        """The certificate."""
        return self.directory / CURRENT / CERTIFICATE

    @property
    def key_file(self) -> Path:
        """Its private key, readable by the agent alone."""
        return self.directory / CURRENT / KEY

    @property
    def ca_file(self) -> Path:
        """The certificates that broker and fleet server are checked against."""
        return self.directory / CURRENT / AUTHORITY


class PendingRequest(BaseModel):
    """A request the server has; survives restarts, so the engineer's code stays valid."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    ticket: EnrolmentTicket
    pairing_code: str


class IdentityStore:
    """Reads and replaces the identity below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pending = directory / PENDING

    def load(self) -> Identity | None:
        """The identity in use; None when there never was one.

        Raises:
            IdentityError: there is one, and it cannot be used.
        """
        link = self.directory / CURRENT
        if not link.is_symlink():
            return None
        for name in (KEY, CERTIFICATE, AUTHORITY, FACTS):
            if not (link / name).is_file():
                raise IdentityError(f"{link / name} is missing")
        try:
            facts = IdentityFacts.model_validate_json((link / FACTS).read_bytes())
        except (OSError, ValidationError) as error:
            raise IdentityError(f"{link / FACTS} cannot be read") from error
        return Identity(facts, self.directory)

    def make_pending(self) -> Path:
        """An empty directory for a new key.

        Raises:
            OSError: the disk does not let us.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.drop_pending()
        self.pending.mkdir(mode=0o700)
        return self.pending

    def save_request(self, request: PendingRequest) -> None:
        """Remember the server's ticket.

        Raises:
            OSError: not saved.
        """
        write_whole(self.pending / REQUEST, request.model_dump_json().encode())
        sync_directory(self.directory)

    def load_request(self) -> PendingRequest | None:
        """The ticket of before, with its key still there."""
        try:
            content = (self.pending / REQUEST).read_bytes()
            if not (self.pending / KEY).is_file():
                return None
            return PendingRequest.model_validate_json(content)
        except (OSError, ValidationError):
            return None

    def drop_pending(self) -> None:
        """Forget a key that was not certified."""
        shutil.rmtree(self.pending, ignore_errors=True)

    def install(self, certificate: str, authority: str, facts: IdentityFacts) -> Identity:
        """Put the pending key and its certificate in use; a crash leaves the old set or the new one.

        Raises:
            OSError: the old set is still in use.
        """
        link = self.directory / CURRENT
        used = link.readlink().name if link.is_symlink() else SLOTS[1]
        slot = self.directory / (SLOTS[1] if used == SLOTS[0] else SLOTS[0])
        shutil.rmtree(slot, ignore_errors=True)
        slot.mkdir(mode=0o700)
        os.link(self.pending / KEY, slot / KEY)
        write_whole(slot / CERTIFICATE, certificate.encode())
        write_whole(slot / AUTHORITY, authority.encode())
        write_whole(slot / FACTS, facts.model_dump_json().encode())
        sync_directory(slot)
        fresh = self.directory / f"{CURRENT}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(slot.name)
        sync_directory(self.directory)
        fresh.replace(link)
        sync_directory(self.directory)
        self.drop_pending()
        return Identity(facts, self.directory)


def facts_from(answer: str, broker: BrokerAddress | None) -> IdentityFacts:
    """What the key program said about a certificate.

    Raises:
        IdentityError: it is not usable with this key and CA, or the program said nothing that makes sense.
    """
    try:
        document = json.loads(answer)
        problem = document.get("problem")
        if problem is None:
            return IdentityFacts.model_validate({**document, "broker": broker})
    except (ValueError, AttributeError, ValidationError) as error:
        raise IdentityError("the certificate could not be understood") from error
    raise IdentityError(str(problem))
