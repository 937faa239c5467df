"""What the leader keeps and what the timeline makes of it, on both stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from fleet_server.errors import Refusal
from fleet_server.presence.model import EdgeRecord, PresenceQuery, PresenceSpan, Status
from fleet_server.presence.routes import routes
from fleet_server.presence.service import LONGEST_SPAN, PresenceService
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.directory import Directory
from fleet_server.registry.model import PresenceState
from fleet_server.registry.store import RegistryStore
from kit.clock import ManualClock
from kit.store import Database
from kit.web import HttpServer
from support.feature_api import ask, feature_server
from support.ingest import AT, later
from support.web import Serve
from wire.presence import Activity, Birth, Component, HostFacts

KID = "zzj-001"
ONLINE, OFFLINE, UNSTABLE, NEVER = (
    PresenceState.ONLINE,
    PresenceState.OFFLINE,
    PresenceState.UNSTABLE,
    PresenceState.NEVER,
)
BIRTH = Birth(
    session=7,
    boot="b",
    at=AT,
    agent_version="1.2.3",
    epoch="e",
    profile="k20",
    host=HostFacts(hostname="zzj", fingerprint="f", os="Debian 12", addresses=["10.0.0.7"]),
    components=[Component(name="receipt_printer", kind="printer", model="打印机 80", firmware="2.0")],
    certificate_expires_at=later(1e6),
)
WHOLE = Status(
    KID,
    ONLINE,
    AT,
    "connected",
    session=2**63 - 1,
    boot="b",
    last_seen_at=later(0.123456),
    agent_version="1.2.3",
    activity=Activity.PAYING,
    clock_offset_s=-34_560_000.5,
    queue_rows=12,
    birth=BIRTH.model_dump(mode="json", exclude_none=True),
    offline_alarm=True,
    unstable_alarm=True,
)


class OneKiosk(Directory):
    """A registry with one kiosk, number 1."""

    def number_of(self, kid: str) -> int | None:
        return 1 if kid == KID else None


@pytest.fixture
def store(fleet_db: Database) -> PresenceStore:
    return PresenceStore(fleet_db)


@pytest.fixture
def service(fleet_db: Database, store: PresenceStore, manual_clock: ManualClock) -> PresenceService:
    return PresenceService(store, OneKiosk(RegistryStore(fleet_db)), manual_clock)


def edge(state: PresenceState, at_s: float, reason: str = "test") -> tuple[int, EdgeRecord]:
    return 1, EdgeRecord(KID, state, later(at_s), later(at_s + 1.0), reason)


async def test_all_that_is_known_of_a_kiosk_comes_back_as_it_was(store: PresenceStore) -> None:
    await store.keep({1: WHOLE}, [])
    (found,) = await store.statuses()
    assert replace(found, change_seq=0) == WHOLE
    assert await store.status(1) == found
    bare = Status(KID, NEVER, AT, "never")
    await store.keep({1: bare}, [])
    assert replace(await the(store), change_seq=0) == bare
    assert await store.status(2) is None


async def the(store: PresenceStore) -> Status:
    found = await store.status(1)
    assert found is not None
    return found


async def test_whoever_asks_since_a_change_gets_every_later_one(store: PresenceStore) -> None:
    seen: list[int] = [-1]
    for number in (1, 2, 1):
        await store.keep({number: Status(f"zzj-{number:03}", ONLINE, AT, "x")}, [])
        (found,) = await store.statuses(seen[-1])
        assert found.kid == f"zzj-{number:03}"
        seen.append(found.change_seq)
    assert all(earlier < following for earlier, following in pairwise(seen))
    assert await store.statuses(seen[-1]) == []
    assert [status.kid for status in await store.statuses()] == ["zzj-002", "zzj-001"]


async def test_a_status_and_its_edge_are_written_together_or_not_at_all(store: PresenceStore) -> None:
    broken = EdgeRecord(KID, ONLINE, datetime(2026, 1, 1), AT, "no zone")  # noqa: DTZ001 - cannot be stored
    with pytest.raises(Exception, match="zone"):
        await store.keep({1: WHOLE}, [edge(ONLINE, 0.0), (1, broken)])
    assert await store.statuses() == []
    assert await store.timeline(1, later(-10.0), later(10.0)) == []


async def test_old_edges_are_forgotten(store: PresenceStore) -> None:
    await store.keep({}, [edge(ONLINE, -100.0), edge(OFFLINE, 0.0)])
    await store.forget_edges(AT)
    assert [row.state for row in await store.timeline(1, later(-1_000.0), later(1.0))] == ["offline"]


def drawn(spans: Sequence[PresenceSpan]) -> list[tuple[PresenceState, float, float | None]]:
    """State, begin and end in seconds after `AT`."""
    return [
        (
            span.presence,
            (span.since - AT).total_seconds(),
            None if span.until is None else (span.until - AT).total_seconds(),
        )
        for span in spans
    ]


async def spans(
    service: PresenceService, since_s: float, until_s: float
) -> list[tuple[PresenceState, float, float | None]]:
    return drawn((await service.timeline(KID, PresenceQuery(since=later(since_s), until=later(until_s)))).edges)


async def test_the_timeline_of_a_span_begins_with_what_was_before_it(
    store: PresenceStore, service: PresenceService
) -> None:
    await store.keep({}, [edge(ONLINE, -500.0), edge(OFFLINE, 10.0), edge(ONLINE, 20.0), edge(OFFLINE, 100.0)])
    assert await spans(service, 0.0, 100.0) == [(ONLINE, 0.0, 10.0), (OFFLINE, 10.0, 20.0), (ONLINE, 20.0, None)]
    assert await spans(service, 12.0, 15.0) == [(OFFLINE, 12.0, None)]


async def test_before_the_first_edge_a_kiosk_never_was_there(store: PresenceStore, service: PresenceService) -> None:
    assert await spans(service, 0.0, 60.0) == [(NEVER, 0.0, None)]
    await store.keep({}, [edge(ONLINE, 10.0)])
    assert await spans(service, 0.0, 60.0) == [(NEVER, 0.0, 10.0), (ONLINE, 10.0, None)]


async def test_a_loss_that_is_back_dated_before_the_span_or_before_another_edge_draws_no_negative_time(
    store: PresenceStore, service: PresenceService
) -> None:
    """Silence is noticed late and dated to the last sign of life; two changes may fall on one instant."""
    await store.keep({}, [edge(ONLINE, 5.0), edge(UNSTABLE, 5.0), edge(OFFLINE, 30.0)])
    found = await spans(service, 0.0, 60.0)
    assert found == [(NEVER, 0.0, 5.0), (UNSTABLE, 5.0, 30.0), (OFFLINE, 30.0, None)]


async def test_without_a_span_it_is_the_last_day(store: PresenceStore, service: PresenceService) -> None:
    await store.keep({}, [edge(ONLINE, -100_000.0), edge(OFFLINE, -50_000.0)])
    found = (await service.timeline(KID, PresenceQuery())).edges
    assert drawn(found) == [(ONLINE, -86_400.0, -50_000.0), (OFFLINE, -50_000.0, None)]
    assert found[1].detected_at == later(-49_999.0)


async def test_a_kiosk_describes_itself(store: PresenceStore, service: PresenceService) -> None:
    nothing = await service.components(KID)
    assert (nothing.components, nothing.agent_version) == ([], None)
    await store.keep({1: WHOLE}, [])
    found = await service.components(KID)
    assert [(part.name, part.model, part.state) for part in found.components] == [
        ("receipt_printer", "打印机 80", "ok")
    ]
    assert (found.agent_version, found.os, found.addresses) == ("1.2.3", "Debian 12", ["10.0.0.7"])
    await store.keep({1: replace(WHOLE, state=OFFLINE)}, [])
    assert [part.state for part in (await service.components(KID)).components] == ["unknown"]


@pytest.fixture
async def server(service: PresenceService, serve: Serve) -> HttpServer:
    return await feature_server(serve, routes(service))


WRONG: Sequence[Mapping[str, Any]] = (
    {"from": "2026-03-01T00:00:00"},
    {"to": "2026-03-01 00:00"},
    {"from": "2026-03-01"},
    {"from": "0001-01-01T00:00:00+14:00", "to": "0001-01-02T00:00:00+14:00"},
    {"to": "9999-12-31T23:59:59-14:00", "from": "9999-12-31T00:00:00-14:00"},
    {"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
    {"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
    {"from": "2020-03-02T00:00:00Z"},
    {"point": "1"},
)


async def test_a_wrong_question_is_answered_clearly(server: HttpServer) -> None:
    path = f"/api/v1/kiosks/{KID}/presence"
    assert (await ask(server, path, {"from": "2026-03-01T00:00:00Z"})).status == 200
    for wrong in WRONG:
        answer = await ask(server, path, wrong)
        assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json"), wrong


async def test_an_unknown_kiosk(server: HttpServer, service: PresenceService) -> None:
    for path in ("presence", "components"):
        answer = await ask(server, f"/api/v1/kiosks/zzj-404/{path}")
        assert (answer.status, answer.document["code"]) == (404, "kiosk_unknown")


async def test_the_longest_span_is_answered(service: PresenceService) -> None:
    until = AT + timedelta(days=1)
    assert (await service.timeline(KID, PresenceQuery(since=until - LONGEST_SPAN, until=until))).edges
    with pytest.raises(Refusal):
        await service.timeline(KID, PresenceQuery(since=until - LONGEST_SPAN - timedelta(seconds=1), until=until))
