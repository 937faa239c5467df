"""Links that acknowledge: whoever gets a message says with one press, without signing in, that he or she has it.

The token stands behind the `#` of the address, so that no proxy and no log sees it, and opening the page changes
nothing: previews of messengers may do so as often as they like. Only the press, a POST, acknowledges, and uses the
link up. It opens nothing else.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from fleet_server.errors import Refusal
from fleet_server.incidents.model import Incident, IncidentState, name_of, view
from fleet_server.incidents.service import IncidentService
from fleet_server.paging.model import AckLink, AckView, Delivery
from fleet_server.paging.store import PagingStore
from fleet_server.staff.ports import AuditEntry, Auditor
from kit.clock import Clock

LIFE: Final = timedelta(hours=24)
TOKEN_BYTES: Final = 24
_OVER: Final = frozenset({IncidentState.RECOVERED, IncidentState.CLOSED})
_UNKNOWN: Final = Refusal("unknown_link", "There is no such link, or it is too old", status=404)
Accounts = Callable[[], Awaitable[frozenset[str]]]
"""The names of accounts that are open."""


def digest_of(token: str) -> str:
    """What is kept of a token: it is random and long, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_link(delivery: Delivery, public_url: str, clock: Clock) -> tuple[AckLink, str]:
    """A link for one try of one message, and its address."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    link = AckLink(
        digest_of(token),
        delivery.incident,
        delivery.id,
        delivery.person or delivery.target,
        delivery.person is not None,
        clock.utc() + LIFE,
    )
    return link, f"{public_url.rstrip('/')}/ack#{token}"


class AckDesk:
    """Takes what comes by a link."""

    def __init__(
        self, store: PagingStore, incidents: IncidentService, accounts: Accounts, auditor: Auditor, clock: Clock
    ) -> None:
        """Use this store."""
        self._store, self._incidents, self._accounts = store, incidents, accounts
        self._auditor, self._clock = auditor, clock

    async def look(self, token: str) -> AckView:
        """What a link is about; changes nothing.

        Raises:
            Refusal: there is no such link, or it is too old.
        """
        link = await self._link(token)
        return _view(link, await self._incidents.incident(link.incident))

    async def acknowledge(self, token: str, source: str) -> AckView:
        """Say that the receiver has it.

        Raises:
            Refusal: there is no such link, it was used or is too old, the account was closed, or it is over.
        """
        link = await self._link(token)
        if link.used_at is not None:
            raise Refusal("link_used", "This link was used already")
        if link.is_person and link.by not in await self._accounts():
            raise Refusal("account_closed", "The account of this person is closed", status=403)
        if (await self._incidents.incident(link.incident)).state in _OVER:
            raise Refusal("incident_over", "The incident is over already")
        # Used up first: of two presses at once only one goes on.
        if not await self._store.use_link(link.digest, self._clock.utc()):
            raise Refusal("link_used", "This link was used already")
        by = link.by if link.is_person else f"link:{link.by}"
        incident = await self._incidents.acknowledge(link.incident, by, f"link of message {link.delivery}")
        fields = {"delivery": link.delivery}
        await self._auditor.record(AuditEntry(by, "acks.acknowledge", incident.id, "ok", fields, source))
        return _view(replace(link, used_at=self._clock.utc()), incident)

    async def _link(self, token: str) -> AckLink:
        link = await self._store.link(digest_of(token))
        if link is None or link.expires_at <= self._clock.utc():
            raise _UNKNOWN
        return link


def _view(link: AckLink, incident: Incident) -> AckView:
    shown = view(incident)
    return AckView(
        name=name_of(incident.number),
        title_zh=shown.title_zh,
        title_en=shown.title_en,
        where=incident.scope_name,
        severity=incident.severity,
        since=incident.since,
        is_over=incident.state in _OVER,
        acknowledged_by=incident.acknowledged_by,
        acknowledged_at=incident.acknowledged_at,
        by=link.by,
        is_used=link.used_at is not None,
    )
