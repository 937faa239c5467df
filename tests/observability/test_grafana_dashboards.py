"""Our Grafana dashboards: well-formed, and every query of every panel answered by a real Prometheus."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from kit.clock import ManualClock
from kit.metrics import CONTENT_TYPE
from support.observability import (
    PROMETHEUS,
    asks_for,
    busy_page,
    dashboards,
    exposed_names,
    prometheus,
    promtool,
    queries,
    shown_names,
)
from support.staff_site import staff_site
from support.waiting import wait_for

DASHBOARDS = dashboards()
NOT_OURS = {"up"}
COLUMNS = 24
BOTH_LANGUAGES = re.compile(r"[一-鿿].*[A-Za-z]", re.DOTALL)


def test_there_are_some_for_each_reader() -> None:
    assert set(DASHBOARDS) == {"fleet-overview", "ingest-and-storage", "alerting-and-sla", "money-path"}
    assert len({document["uid"] for document in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_is_well_formed(name: str) -> None:
    document = DASHBOARDS[name]
    assert document["uid"] == f"kiosk-{name}"
    assert document["schemaVersion"] >= 36
    (variable,) = document["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    for text in (document["title"], document["description"], *(panel["title"] for panel in panels)):
        assert BOTH_LANGUAGES.match(text), f"Chinese first, then English: {text}"


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_panels_do_not_cover_each_other(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_panels_ask_only_for_what_is_exposed() -> None:
    for where, expression in queries():
        assert asks_for(expression) - exposed_names() - NOT_OURS == set(), where


def _series(page: str, job: str) -> list[dict[str, str]]:
    """What promtool is to know of a page: counters rise, everything else stands still."""
    found = [{"series": f'up{{job="{job}"}}', "values": "1+0x40"}]
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in {**sample.labels, "job": job}.items())
            rises = family.type in {"counter", "histogram"}
            found.append({"series": f"{sample.name}{{{labels}}}", "values": "0+60x40" if rises else "1+0x40"})
    return found


async def test_every_query_finds_something(sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> None:
    """With Prometheus' own engine, on the page of a running fleet server and on one of a busy day."""
    async with staff_site(sqlite_fleet_url, manual_clock, tmp_path) as site:
        fleet = (await site.call("GET", "/metrics")).body.decode()
    busy = (await asyncio.to_thread(busy_page)).decode()
    looks = [
        {
            "expr": f"count({expression}) >= bool 1",
            "eval_time": "35m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for _, expression in queries()
    ]
    series = _series(fleet, "fleet-server") + _series(busy, "patient-platform")
    document = {
        "rule_files": sorted(str(path) for path in (PROMETHEUS / "rules").glob("*.yml")),
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": looks}],
    }
    file = tmp_path / "panels.test.yml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    await asyncio.to_thread(promtool, "test", "rules", str(file))


@pytest.mark.slow
@pytest.mark.timeout(30)
async def test_a_real_prometheus_answers_every_panel(
    sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    """The same with the real server, which looks for what to scrape only after five seconds."""
    page = await asyncio.to_thread(busy_page)

    async def busy(request: web.Request) -> web.Response:
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", busy)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with staff_site(sqlite_fleet_url, manual_clock, tmp_path) as site:
            fleet = await site.call("GET", "/metrics")
            shown = shown_names(fleet.body.decode()) | shown_names(page.decode())
            targets = {"fleet-server": [site.url.removeprefix("http://")], "patient-platform": [address]}
            async with prometheus(tmp_path, targets) as server:

                async def is_warm() -> bool:
                    rates = await server.query("fleet:uplink_records:rate5m and on() patient:channel_lost:ratio15m")
                    return bool(rates) and bool(await server.query('ALERTS{alertstate="firing"}'))

                await wait_for(is_warm, timeout_s=15.0, what="two scrapes and the recordings", poll_s=0.1)
                assert (await server.query("min(up)"))[0]["value"][1] == "1"
                empty = [where for where, expression in queries() if not await server.query(expression)]
                assert empty == []
    finally:
        await runner.cleanup()
    asked = set().union(*(asks_for(expression) for _, expression in queries()))
    assert asked - shown - NOT_OURS == set()
