from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from agent.local_api.metrics import GAUGES, MetricsPage, Reading


class Kiosk:
    def __init__(self) -> None:
        self.temperature_c = 41.0

    def gauges(self) -> Iterator[Reading]:
        yield "kiosk_agent_alarms", {}, 2.0
        yield "kiosk_agent_sample", {"metric": "temperature_c"}, self.temperature_c


def _shown(page: MetricsPage) -> dict[tuple[str, str], float]:
    body, content_type = page.render()
    assert content_type.startswith("text/plain")
    families = text_string_to_metric_families(body.decode())
    return {(one.name, one.labels.get("metric", "")): one.value for family in families for one in family.samples}


def test_a_scrape_shows_what_is_so_now() -> None:
    kiosk = Kiosk()
    page = MetricsPage(kiosk)
    assert _shown(page)["kiosk_agent_alarms", ""] == 2.0
    kiosk.temperature_c = 55.5
    shown = _shown(page)
    assert shown["kiosk_agent_sample", "temperature_c"] == 55.5
    assert {name for name, _, labels in GAUGES if not labels} <= {name for name, _ in shown}
