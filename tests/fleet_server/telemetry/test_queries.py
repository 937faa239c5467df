"""Charts and event lists: down-sampled in the store, late samples in their place, pages without gaps; both stores."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fleet_server.errors import Refusal
from fleet_server.registry.directory import Directory
from fleet_server.registry.store import RegistryStore
from fleet_server.telemetry.evidence import EvidenceSink
from fleet_server.telemetry.model import EventQuery, EventView, TelemetryQuery, TelemetryView
from fleet_server.telemetry.samples import SampleSink
from fleet_server.telemetry.service import LONGEST_SPAN, TelemetryService
from fleet_server.telemetry.store import TelemetryStore
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.store import UplinkStore
from kit.clock import ManualClock
from kit.store import Database
from support.ingest import AT, Document, batch, event, kiosk, later, sample, sender

KID = "zzj-001"


class OneKiosk(Directory):
    """A registry with one kiosk, number 1."""

    def number_of(self, kid: str) -> int | None:
        return kiosk(KID, 1).no if kid == KID else None


@pytest.fixture
def service(fleet_db: Database, manual_clock: ManualClock) -> TelemetryService:
    directory = OneKiosk(RegistryStore(fleet_db))
    return TelemetryService(TelemetryStore(fleet_db), directory, manual_clock)


async def put(database: Database, *records: Document, kiosk_no: int = 1) -> None:
    found = BatchReader().read(batch(records), sender(f"zzj-{kiosk_no:03}", kiosk_no, later(86_400.0)))
    store = UplinkStore(database, (SampleSink(database), EvidenceSink(database)))
    await store.open([found.header])
    await store.commit([store.prepare(found)])


def cpu(seq: int, at_s: float, value: float, **more: object) -> Document:
    return sample(seq, at=later(at_s), values={"cpu_percent": value}, **more)


async def ask(
    service: TelemetryService, since_s: float, until_s: float, points: int, *metrics: str, component: str = "host"
) -> TelemetryView:
    query = TelemetryQuery(
        metric=list(metrics) or ["cpu_percent"],
        since=later(since_s),
        until=later(until_s),
        points=points,
        component=component,
    )
    return await service.telemetry(KID, query)


def drawn(view: TelemetryView, place: int = 0) -> list[tuple[float, float, float, float]]:
    """Seconds after `AT` of a bucket's middle, average, minimum, maximum."""
    return [((point.at - AT).total_seconds(), point.avg, point.min, point.max) for point in view.series[place].points]


async def test_a_bucket_has_the_average_and_the_extremes_of_its_samples(
    fleet_db: Database, service: TelemetryService
) -> None:
    await put(
        fleet_db, cpu(1, 0.0, 10.0), cpu(2, 30.0, 20.0), cpu(3, 59.999999, 90.0), cpu(4, 60.0, 7.0), cpu(5, 179.0, 1.0)
    )
    view = await ask(service, 0.0, 180.0, 3)
    assert (view.bucket_s, view.series[0].unit) == (60.0, "%")
    assert drawn(view) == [(30.0, 40.0, 10.0, 90.0), (90.0, 7.0, 7.0, 7.0), (150.0, 1.0, 1.0, 1.0)]


async def test_more_points_than_seconds_shows_the_samples_as_they_are(
    fleet_db: Database, service: TelemetryService
) -> None:
    await put(fleet_db, *(cpu(seq, float(seq), float(seq)) for seq in range(1, 20)))
    view = await ask(service, 0.0, 20.0, 2_000)
    assert view.bucket_s == 1.0
    assert [point[1] for point in drawn(view)] == [float(seq) for seq in range(1, 20)]


@pytest.mark.parametrize(("hours", "points", "bucket_s"), [(1, 60, 60), (24, 300, 288), (24 * 400, 2_000, 17_280)])
async def test_buckets_are_of_one_length_and_no_more_than_were_asked_for(
    fleet_db: Database, service: TelemetryService, hours: int, points: int, bucket_s: int
) -> None:
    span_s = hours * 3_600.0
    await put(fleet_db, *(cpu(seq, 86_000.0 - seq, 1.0) for seq in range(1, 101)))
    view = await ask(service, 86_400.0 - span_s, 86_400.0, points)
    assert view.bucket_s == bucket_s
    assert 0 < len(view.series[0].points) <= points


async def test_the_span_is_half_open_and_knows_no_rounding(fleet_db: Database, service: TelemetryService) -> None:
    await put(fleet_db, cpu(1, 9.999999, 1.0), cpu(2, 10.0, 2.0), cpu(3, 19.999999, 3.0), cpu(4, 20.0, 4.0))
    assert [(low, high) for _, _, low, high in drawn(await ask(service, 10.0, 20.0, 1))] == [(2.0, 3.0)]


async def test_a_gap_stays_a_gap(fleet_db: Database, service: TelemetryService) -> None:
    await put(fleet_db, cpu(1, 5.0, 1.0), cpu(2, 3_000.0, 2.0))
    assert [point[0] for point in drawn(await ask(service, 0.0, 3_600.0, 60))] == [30.0, 3_030.0]


async def test_late_samples_appear_where_they_belong(fleet_db: Database, service: TelemetryService) -> None:
    await put(fleet_db, cpu(50, 3_000.0, 1.0))
    before = drawn(await ask(service, 0.0, 3_600.0, 60))
    await put(fleet_db, *(cpu(seq, seq * 60.0, 5.0, hist=True) for seq in range(1, 50)))
    after = drawn(await ask(service, 0.0, 3_600.0, 60))
    assert (len(before), len(after)) == (1, 50)
    assert set(before) <= set(after)


async def test_several_metrics_some_of_them_unknown_or_missing_in_some_samples(
    fleet_db: Database, service: TelemetryService
) -> None:
    await put(fleet_db, cpu(1, 1.0, 4.0), sample(2, at=later(2.0), values={"own_metric": -1.5, "load_1m": 0.0}))
    view = await ask(service, 0.0, 10.0, 1, "cpu_percent", "own_metric", "never_measured", "load_1m", "own_metric")
    assert [series.metric for series in view.series] == ["cpu_percent", "own_metric", "never_measured", "load_1m"]
    assert [drawn(view, place) for place in range(4)] == [
        [(5.0, 4.0, 4.0, 4.0)],
        [(5.0, -1.5, -1.5, -1.5)],
        [],
        [(5.0, 0.0, 0.0, 0.0)],
    ]
    assert (view.series[1].unit, view.series[0].unit) == ("", "%")


async def test_other_kiosks_and_other_components_are_not_mixed_in(
    fleet_db: Database, service: TelemetryService
) -> None:
    await put(fleet_db, cpu(1, 1.0, 1.0), cpu(2, 2.0, 100.0, component="printer"))
    await put(fleet_db, cpu(1, 1.0, 50.0), kiosk_no=2)
    assert drawn(await ask(service, 0.0, 10.0, 1)) == [(5.0, 1.0, 1.0, 1.0)]
    assert drawn(await ask(service, 0.0, 10.0, 1, component="printer")) == [(5.0, 100.0, 100.0, 100.0)]


async def test_without_a_span_it_is_the_last_day(fleet_db: Database, service: TelemetryService) -> None:
    await put(fleet_db, cpu(1, -90_000.0, 1.0), cpu(2, -80_000.0, 2.0))
    view = await service.telemetry(KID, TelemetryQuery(metric=["cpu_percent"]))
    assert (view.since, view.until) == (AT - timedelta(days=1), AT)
    assert [point.avg for point in view.series[0].points] == [2.0]


@pytest.mark.parametrize(("since_s", "until_s"), [(0.0, 0.0), (10.0, 0.0), (0.0, LONGEST_SPAN.total_seconds() + 1.0)])
async def test_an_empty_or_too_long_span_is_refused(service: TelemetryService, since_s: float, until_s: float) -> None:
    with pytest.raises(Refusal) as refused:
        await ask(service, since_s, until_s, 10)
    assert (refused.value.code, refused.value.status) == ("span_invalid", 422)


async def test_an_unknown_kiosk_is_refused(service: TelemetryService) -> None:
    for question in (
        service.telemetry("no-such", TelemetryQuery(metric=["cpu_percent"])),
        service.events("no-such", EventQuery()),
    ):
        with pytest.raises(Refusal) as refused:
            await question
        assert (refused.value.code, refused.value.status) == ("kiosk_unknown", 404)


async def pages(service: TelemetryService, **query: object) -> list[EventView]:
    """All pages, one after the other."""
    found: list[EventView] = []
    cursor: str | None = None
    while True:
        page = await service.events(KID, EventQuery.model_validate({"limit": 3, **query, "cursor": cursor}))
        found += page.items
        cursor = page.next
        if cursor is None:
            assert page.total == len(found)
            return found


def at_once(count: int, at: datetime = AT) -> list[Document]:
    """Events of one moment: their order must not depend on their time alone."""
    return [event(seq, at=at) for seq in range(1, count + 1)]


async def test_pages_of_events_leave_nothing_out_and_repeat_nothing(
    fleet_db: Database, service: TelemetryService
) -> None:
    await put(fleet_db, *at_once(7), *(event(seq, at=later(seq)) for seq in range(8, 12)))
    await put(fleet_db, event(1), kiosk_no=2)
    found = await pages(service)
    assert len({item.id for item in found}) == 11
    assert [item.body["fields"] for item in found] == [{"number": seq} for seq in (11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)]


async def test_events_of_a_kind_and_of_a_span(fleet_db: Database, service: TelemetryService) -> None:
    audit = {
        "kind": "audit",
        "component": {"odd": "\x00"},
        "actor": "agent",
        "action": "door_opened",
        "outcome": "ok",
        "record_class": "p0",
    }
    await put(fleet_db, event(1, at=later(1.0)), sample(2) | audit, event(3, at=later(3.0), hist=True))
    (door,) = await pages(service, kind="audit")
    assert (door.name, door.component) == ("door_opened", "agent"), "an audit entry has no component, whatever it says"
    (late,) = await pages(service, since=later(3.0))
    assert (late.hist, late.kind, late.component, late.name) == (True, "event", "agent", "test.number")
    assert [item.body["fields"] for item in await pages(service, kind="event", until=later(3.0))] == [{"number": 1}]


async def test_what_a_newer_agent_adds_is_shown_too(fleet_db: Database, service: TelemetryService) -> None:
    await put(fleet_db, event(1, newer={"deep": ["\x00", "结束"]}))
    (shown,) = await pages(service)
    assert shown.body == {"name": "test.number", "fields": {"number": 1}, "newer": {"deep": ["\x00", "结束"]}}


async def test_a_name_that_no_store_takes_is_shown_without_what_offends(
    fleet_db: Database, service: TelemetryService
) -> None:
    status = {"kind": "command_status", "command_id": "0" * 26, "state": "a\x00b", "record_class": "p0"}
    await put(fleet_db, sample(1) | status)
    (shown,) = await pages(service)
    assert (shown.name, shown.body["state"]) == ("a\ufffdb", "a\x00b")


async def test_a_cursor_of_another_age_is_refused(service: TelemetryService) -> None:
    with pytest.raises(Refusal) as refused:
        await service.events(KID, EventQuery(cursor=f"{10**18 - 1}.1"))
    assert refused.value.code == "cursor_invalid"


async def test_numbers_too_large_to_be_added_up_do_not_spoil_the_chart(
    fleet_db: Database, service: TelemetryService
) -> None:
    await put(
        fleet_db, cpu(1, 1.0, 1.7e308), cpu(2, 2.0, -1.7e308), cpu(3, 3.0, 2e99), cpu(4, 4.0, 0.0), cpu(5, 15.0, 1e-320)
    )
    assert drawn(await ask(service, 0.0, 20.0, 2)) == [(5.0, 1e99, 0.0, 2e99), (15.0, 1e-320, 1e-320, 1e-320)]
