"""The programs that are killed at every durable call: what they acknowledge they print, one line each.

python crash_work.py outbox|look|install|which STATE
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from agent.uplink import rows
from agent.uplink.identity import AUTHORITY, CERTIFICATE, CURRENT, KEY, IdentityFacts, IdentityStore
from agent.uplink.salvage import Fresh, open_spool
from agent.uplink.session_numbers import SessionNumbers
from agent.uplink.spool import AlarmEdge, Spool
from kit.clock import SystemClock, ulid
from wire.uplink import RecordClass

CLOCK = SystemClock()
STAMP = rows.Stamp(datetime(2026, 3, 1, tzinfo=UTC), "host.run", 1, None)
NOT_BEFORE, NOT_AFTER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def say(*words: object) -> None:
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


def opened(state: Path) -> Spool:
    fresh = Fresh(ulid(CLOCK), "host", 0, ulid(CLOCK))
    spool, rebuilt = open_spool(state / "outbox", fresh)
    if rebuilt is not None:
        say("rebuilt", rebuilt.reason)
    return spool


def draft(record_class: RecordClass, number: int) -> rows.Draft:
    fields = {"component": "host", "name": "thing.happened", "fields": {"n": number}}
    return rows.draft(record_class, "event", fields, STAMP, kept_ms=number)


def outbox(state: Path) -> None:
    """Append, settle, thin, close; and take session numbers."""
    numbers = SessionNumbers(state / "session", CLOCK)
    numbers.load()
    numbers.reserve()
    say("session", numbers.take())
    spool = opened(state)
    for number in range(6):
        seq = spool.append([draft(RecordClass.P1, 100 + number)], durable=False)
        seq = spool.append(
            [draft(RecordClass.P0, number)], durable=True, alarm=AlarmEdge("host", "disk_low", number % 2 == 0, "{}")
        )
        say("p0", number, spool.state.epoch, seq)
    spool.settle([(1, 4)])
    spool.replace_rows([5], [(draft(RecordClass.P1, 200), 1)])
    spool.checkpoint()
    spool.tick(1_000, 2_000)
    seq = spool.append([draft(RecordClass.P0, 6)], durable=True)
    say("p0", 6, spool.state.epoch, seq)
    spool.close(is_clean=True)
    say("session", numbers.take())


def look(state: Path) -> None:
    """Open what is left, print it, and use one more number of each kind."""
    numbers = SessionNumbers(state / "session", CLOCK)
    numbers.load()
    numbers.reserve()
    say("next_session", numbers.take())
    spool = opened(state)
    spool.alarms()
    for row in spool.read(0, spool.state.last_seq, limit=-1, max_bytes=2**31).rows:
        say("row", json.loads(row.body)["fields"]["n"], spool.state.epoch, row.seq)
    say("next", spool.state.epoch, spool.append([draft(RecordClass.P0, 99)], durable=True))
    spool.close(is_clean=True)


def facts(name: str) -> IdentityFacts:
    return IdentityFacts(kid=name, not_before=NOT_BEFORE, not_after=NOT_AFTER)


def install(state: Path) -> None:
    """Change over to the next identity four times, as renewals do."""
    store = IdentityStore(state / "identity")
    for number in range(1, 5):
        (store.make_pending() / KEY).write_text(f"new{number}")
        store.install(f"new{number}", f"new{number}", facts(f"kiosk-new{number}"))
        say("installed", number)


def which(state: Path) -> None:
    """Load the identity and print what its files say; then renew again, over whatever the crash left behind."""
    store = IdentityStore(state / "identity")
    for _ in range(2):
        identity = store.load()
        assert identity is not None
        place = identity.directory / CURRENT
        say("identity", identity.kid, *((place / name).read_text() for name in (KEY, CERTIFICATE, AUTHORITY)))
        (store.make_pending() / KEY).write_text("new9")
        store.install("new9", "new9", facts("kiosk-new9"))


if __name__ == "__main__":
    {"outbox": outbox, "look": look, "install": install, "which": which}[sys.argv[1]](Path(sys.argv[2]))
