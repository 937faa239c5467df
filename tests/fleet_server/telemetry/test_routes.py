"""Charts and events over HTTP: what is asked wrongly is answered clearly and never by a failure of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fleet_server.registry.directory import Directory
from fleet_server.registry.store import RegistryStore
from fleet_server.telemetry.evidence import EvidenceSink
from fleet_server.telemetry.routes import routes
from fleet_server.telemetry.samples import SampleSink
from fleet_server.telemetry.service import TelemetryService
from fleet_server.telemetry.store import TelemetryStore
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.store import UplinkStore
from kit.clock import ManualClock
from kit.store import Database
from kit.web import HttpServer
from support.feature_api import ask, feature_server
from support.ingest import batch, event, later, sample, sender
from support.web import Serve

KID = "zzj-001"
TELEMETRY, EVENTS = f"/api/v1/kiosks/{KID}/telemetry", f"/api/v1/kiosks/{KID}/events"


class OneKiosk(Directory):
    """A registry with one kiosk, number 1."""

    def number_of(self, kid: str) -> int | None:
        return 1 if kid == KID else None


@pytest.fixture
async def server(fleet_db: Database, manual_clock: ManualClock, serve: Serve) -> HttpServer:
    directory = OneKiosk(RegistryStore(fleet_db))
    found = BatchReader().read(batch([sample(1, at=later(-60.0)), event(2, at=later(-30.0))]), sender())
    store = UplinkStore(fleet_db, (SampleSink(fleet_db), EvidenceSink(fleet_db)))
    await store.open([found.header])
    await store.commit([store.prepare(found)])
    return await feature_server(serve, routes(TelemetryService(TelemetryStore(fleet_db), directory, manual_clock)))


async def test_a_chart_and_a_list(server: HttpServer) -> None:
    chart = (await ask(server, TELEMETRY, {"metric": ["cpu_percent", "load_1m"], "points": 10})).document
    assert [(series["metric"], len(series["points"])) for series in chart["series"]] == [
        ("cpu_percent", 1),
        ("load_1m", 0),
    ]
    assert (chart["since"], chart["until"]) == ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    events = (await ask(server, EVENTS)).document
    assert (events["total"], events["next"], events["items"][0]["name"]) == (1, None, "test.number")


NAIVE = ("2026-03-01T00:00:00", "2026-03-01 00:00", "2026-03-01")
WRONG: Sequence[Mapping[str, Any]] = (
    *({"from": moment} for moment in NAIVE),
    *({"to": moment} for moment in NAIVE),
    {"from": "yesterday"},
    {"from": ""},
    {"from": "0001-01-01T00:00:00+14:00", "to": "0001-01-02T00:00:00+14:00"},
    {"from": "9999-12-31T00:00:00-14:00", "to": "9999-12-31T23:59:59-14:00"},
    {"to": "0001-01-01T10:00:00Z"},
)


async def test_a_time_without_a_zone_or_out_of_the_calendar_is_refused_with_its_name(server: HttpServer) -> None:
    for wrong in WRONG:
        for path, more in ((TELEMETRY, {"metric": "cpu_percent"}), (EVENTS, {})):
            answer = await ask(server, path, {**wrong, **more})
            assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json"), answer.body
            assert answer.document["errors"][0]["location"] == f"query.{next(iter(wrong))}"


WRONG_CHARTS: Sequence[Mapping[str, Any]] = (
    {},
    {"metric": "CPU"},
    {"metric": '"; DROP TABLE telemetry_sample; --'},
    {"metric": ["cpu_percent"] * 17},
    {"metric": "cpu_percent", "points": 0},
    {"metric": "cpu_percent", "points": 2_001},
    {"metric": "cpu_percent", "until_when": "2026-03-01T00:00:00Z"},
    {"metric": "cpu_percent", "from": "2020-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
    {"metric": "cpu_percent", "from": "2026-03-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
)
WRONG_EVENTS: Sequence[Mapping[str, Any]] = (
    {"limit": 0},
    {"limit": 501},
    {"cursor": "x"},
    {"cursor": f"{'9' * 18}.1"},
    {"kind": "A B"},
)


async def test_a_wrong_question_is_refused(server: HttpServer) -> None:
    for path, questions in ((TELEMETRY, WRONG_CHARTS), (EVENTS, WRONG_EVENTS)):
        for wrong in questions:
            answer = await ask(server, path, wrong)
            assert answer.status == 422, wrong


async def test_an_unknown_kiosk(server: HttpServer) -> None:
    for path, query in (("telemetry", {"metric": "cpu_percent"}), ("events", {})):
        answer = await ask(server, f"/api/v1/kiosks/zzj-404/{path}", query)
        assert (answer.status, answer.document["code"]) == (404, "kiosk_unknown")
