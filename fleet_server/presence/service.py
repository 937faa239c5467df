"""Answers questions about presence from what the leader wrote."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from fleet_server.errors import Refusal
from fleet_server.presence.model import (
    ComponentsView,
    ComponentView,
    PresenceQuery,
    PresenceSpan,
    PresenceTimeline,
    Status,
)
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.directory import Directory
from fleet_server.registry.model import PresenceState
from kit.clock import Clock
from wire.presence import Birth

DEFAULT_SPAN: Final = timedelta(hours=24)
LONGEST_SPAN: Final = timedelta(days=400)


class PresenceService:
    """Timelines and self-descriptions."""

    def __init__(self, store: PresenceStore, directory: Directory, clock: Clock) -> None:
        """Read from this store."""
        self._store = store
        self._directory = directory
        self._clock = clock

    async def timeline(self, kid: str, query: PresenceQuery) -> PresenceTimeline:
        """The states of a kiosk over a span, oldest first.

        Raises:
            Refusal: no such kiosk, or the span is empty or too long.
        """
        number = self._number(kid)
        until = query.until or self._clock.utc()
        since = query.since or until - DEFAULT_SPAN
        if not timedelta(0) < until - since <= LONGEST_SPAN:
            raise Refusal("span_invalid", f"the span must be positive and at most {LONGEST_SPAN.days} days", status=422)
        rows = await self._store.timeline(number, since, until)
        ends: list[datetime | None] = [*(row.since for row in rows[1:]), None][: len(rows)]
        spans = [
            PresenceSpan(
                presence=PresenceState(row.state),
                since=max(row.since, since),
                until=None if end is None else max(end, since),
                reason=row.reason,
                detected_at=row.detected_at,
            )
            for row, end in zip(rows, ends, strict=True)
        ]
        if not rows or rows[0].since > since:
            end = rows[0].since if rows else None
            first = PresenceSpan(presence=PresenceState.NEVER, since=since, until=end, reason="never", detected_at=None)
            spans.insert(0, first)
        return PresenceTimeline(edges=[span for span in spans if span.until is None or span.until > span.since])

    async def components(self, kid: str) -> ComponentsView:
        """What a kiosk is made of, from its latest birth.

        Raises:
            Refusal: no such kiosk.
        """
        status = await self._store.status(self._number(kid))
        birth = None if status is None or status.birth is None else Birth.model_validate(status.birth)
        if status is None or birth is None:
            return ComponentsView(
                components=[],
                agent_version=None,
                boot=None,
                started_at=None,
                profile=None,
                os=None,
                kernel=None,
                hostname=None,
                addresses=[],
                certificate_expires_at=None,
            )
        return _components(status, birth)

    def _number(self, kid: str) -> int:
        number = self._directory.number_of(kid)
        if number is None:
            raise Refusal("kiosk_unknown", "there is no such kiosk in the registry", status=404)
        return number


def _components(status: Status, birth: Birth) -> ComponentsView:
    is_here = status.state in {PresenceState.ONLINE, PresenceState.UNSTABLE}
    return ComponentsView(
        components=[
            ComponentView(
                name=part.name,
                kind=part.kind,
                model=part.model,
                firmware=part.firmware,
                serial=part.serial,
                state="ok" if is_here else "unknown",
                fault=None,
                since=None,
            )
            for part in birth.components
        ],
        agent_version=birth.agent_version,
        boot=birth.boot,
        started_at=birth.started_at,
        profile=birth.profile,
        os=birth.host.os,
        kernel=birth.host.kernel,
        hostname=birth.host.hostname,
        addresses=birth.host.addresses,
        certificate_expires_at=birth.certificate_expires_at,
    )
