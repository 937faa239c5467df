"""What the leader knows of every kiosk, and how each piece of evidence changes it. No I/O; time is given.

An instant before which nothing can be judged is `blind_until_s`: after a start, and whenever the broker was away,
silence proves nothing for two keepalives.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from fleet_server.presence.machine import TABLE, Evidence
from fleet_server.presence.model import EdgeRecord, Status
from fleet_server.registry.model import PresenceState
from kit.machine import step
from wire.presence import HEARTBEAT_S, KEEPALIVE_S, Birth, Live, Presence, PresenceReason

SILENT_AFTER_S: Final = 3 * HEARTBEAT_S
BLIND_S: Final = 2.0 * KEEPALIVE_S
OFFLINE_ALARM_S: Final = 45.0
"""How long an offline kiosk is given before the alarm: blips are not worth waking anybody."""
FLAP_WINDOW_S: Final = 600.0
FLAP_LOSSES: Final = 3
STEADY_S: Final = 300.0
QUEUE_ROWS_LIMIT: Final = 2**31
"""More than any disk holds; what a kiosk says is not bounded."""
BACK_AFTER_S: Final = 900.0
"""How long a reboot or an update may take."""
_MUST_RETURN: Final = frozenset({PresenceReason.REBOOT.value, PresenceReason.UPDATE.value})
_SILENT: Final = "silent"
_HERE: Final = frozenset({PresenceState.ONLINE, PresenceState.UNSTABLE})


@dataclass(slots=True)
class Watch:
    """One kiosk under observation; times are monotonic seconds."""

    status: Status
    heard_s: float
    changed_s: float
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=FLAP_LOSSES))
    is_material: bool = True
    """Something people look at changed."""
    is_seen: bool = False
    """Only the time of the last sign of life changed."""
    offline_alarm: bool | None = False
    """None: an earlier leader may have raised it."""
    unstable_alarm: bool | None = False


class Judge:
    """All kiosks."""

    def __init__(self, now_s: float) -> None:
        """Know nobody, and judge nobody's silence for a while."""
        self.watches: dict[str, Watch] = {}
        self.edges: list[EdgeRecord] = []
        self.blind_until_s = now_s + BLIND_S

    def load(self, statuses: list[Status], now_s: float) -> None:
        """Take up what was known before; an alarm that may be open is raised again when it is due, or cleared."""
        for status in statuses:
            watch = Watch(status, heard_s=now_s, changed_s=now_s, is_material=False)
            watch.offline_alarm = None if status.offline_alarm or status.state is PresenceState.OFFLINE else False
            watch.unstable_alarm = None if status.unstable_alarm or status.state is PresenceState.UNSTABLE else False
            self.watches[status.kid] = watch

    def presence(self, kid: str, said: Presence, *, retained: bool, now: datetime, now_s: float) -> None:
        """A presence message: the connect, the goodbye or the will. A retained one is what was, not what is."""
        watch = self._watch(kid, now, now_s)
        if said.session < watch.status.session:
            return
        if said.online:
            if not retained:
                self._session(watch, said.session, said.boot)
                self._heard(watch, said.reason.value, now, now_s)
            return
        self._session(watch, said.session, said.boot)
        is_lost = said.reason is PresenceReason.CONNECTION_LOST
        since = _evidence_end(watch, now) if is_lost or retained else now
        self._apply(watch, Evidence.LOST if is_lost else Evidence.GOODBYE, said.reason.value, since, now, now_s)

    def birth(self, kid: str, said: Birth, *, retained: bool, now: datetime, now_s: float) -> None:
        """A self-description; a fresh one is believed even when its session counter started over."""
        watch = self._watch(kid, now, now_s)
        if retained and said.session < watch.status.session:
            return
        document = said.model_dump(mode="json", exclude_none=True)
        watch.status = replace(
            watch.status, session=said.session, boot=said.boot, agent_version=said.agent_version, birth=document
        )
        watch.is_material = True
        if not retained:
            self._heard(watch, PresenceReason.CONNECTED.value, now, now_s)

    def live(self, kid: str, said: Live, now: datetime, now_s: float) -> None:
        """A heartbeat."""
        watch = self._watch(kid, now, now_s)
        status = watch.status
        if said.session < status.session and said.boot != status.boot:
            return
        rows = min(said.queue.p0 + said.queue.p1 + said.queue.p2, QUEUE_ROWS_LIMIT)
        fresh = replace(
            status,
            session=max(status.session, said.session),
            activity=said.activity,
            clock_offset_s=said.clock_offset_s,
            queue_rows=rows,
        )
        watch.is_material |= fresh.activity is not status.activity
        watch.status = fresh
        self._heard(watch, PresenceReason.CONNECTED.value, now, now_s)

    def blind(self, now: datetime, now_s: float) -> None:
        """The broker is away: nobody's silence counts until some time after it is back."""
        self.blind_until_s = float("inf")
        for watch in self.watches.values():
            self._apply(watch, Evidence.BLIND, "server_blind", now, now, now_s)

    @property
    def is_blind(self) -> bool:
        """Whether the broker is away for longer than a blink."""
        return self.blind_until_s == float("inf")

    def sighted(self, now_s: float) -> None:
        """The broker is there again."""
        self.blind_until_s = now_s + BLIND_S

    def tick(self, now: datetime, now_s: float) -> None:
        """Judge silence, steadiness and overdue returns."""
        if now_s < self.blind_until_s:
            return
        for watch in self.watches.values():
            state = watch.status.state
            if (state in _HERE or state is PresenceState.UNKNOWN) and now_s - watch.heard_s > SILENT_AFTER_S:
                self._apply(watch, Evidence.LOST, _SILENT, _evidence_end(watch, now), now, now_s)
            elif state is PresenceState.UNSTABLE and now_s - watch.changed_s > STEADY_S:
                self._apply(watch, Evidence.STEADY, "steady", now, now, now_s)
            elif _is_overdue(watch, now_s):
                self._apply(watch, Evidence.OVERDUE, "overdue", watch.status.since, now, now_s)

    def _watch(self, kid: str, now: datetime, now_s: float) -> Watch:
        watch = self.watches.get(kid)
        if watch is None:
            status = Status(kid, PresenceState.NEVER, now, "never")
            watch = self.watches[kid] = Watch(status, heard_s=now_s, changed_s=now_s)
        return watch

    def _session(self, watch: Watch, session: int, boot: str) -> None:
        if (session, boot) != (watch.status.session, watch.status.boot):
            watch.status = replace(watch.status, session=session, boot=boot)
            watch.is_material = True

    def _heard(self, watch: Watch, reason: str, now: datetime, now_s: float) -> None:
        watch.heard_s = now_s
        watch.status = replace(watch.status, last_seen_at=now)
        watch.is_seen = True
        recent = [at_s for at_s in watch.losses if now_s - at_s <= FLAP_WINDOW_S]
        is_flapping = len(recent) >= FLAP_LOSSES and watch.status.state is not PresenceState.UNSTABLE
        is_flapping = is_flapping and watch.status.state is not PresenceState.ONLINE
        self._apply(watch, Evidence.FLAPPING if is_flapping else Evidence.HEARD, reason, now, now, now_s)

    def _apply(
        self, watch: Watch, evidence: Evidence, reason: str, since: datetime, now: datetime, now_s: float
    ) -> None:
        before = watch.status.state
        after = step(TABLE, before, evidence)
        if after is before:
            return
        if before is PresenceState.UNKNOWN:
            since = max(since, watch.status.since)  # nothing is known to have been so before
        if after is PresenceState.OFFLINE and before in _HERE:
            watch.losses.append(now_s)
        watch.status = replace(watch.status, state=after, since=since, reason=reason)
        watch.changed_s = now_s
        watch.is_material = True
        self.edges.append(EdgeRecord(watch.status.kid, after, since, now, reason))


def _is_overdue(watch: Watch, now_s: float) -> bool:
    status = watch.status
    is_expected = status.state is PresenceState.PLANNED and status.reason in _MUST_RETURN
    return is_expected and now_s - watch.changed_s > BACK_AFTER_S


def _evidence_end(watch: Watch, now: datetime) -> datetime:
    """When a lost kiosk was last proved to be there."""
    seen = watch.status.last_seen_at
    return now if seen is None or now - seen < timedelta(0) else seen
