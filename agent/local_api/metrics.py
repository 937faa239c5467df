"""The agent's metrics in Prometheus' format, gathered when somebody asks.

The library for them is loaded by the first scrape: a kiosk that nobody scrapes does without its 2 MiB.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kit.metrics import Metrics

GAUGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("kiosk_agent_sample", "the latest host sample, by metric", ("metric",)),
    ("kiosk_agent_outbox_rows", "records that wait for the server, by class", ("record_class",)),
    ("kiosk_agent_outbox_oldest_age_s", "age of the oldest waiting record", ()),
    ("kiosk_agent_connected", "1 while the broker has us", ()),
    ("kiosk_agent_alarms", "alarms that are up", ()),
)
"""Name, text, labels."""

Reading = tuple[str, dict[str, str], float]
"""Name of a gauge, its labels, its value."""


class Gauges(Protocol):
    """Where the values come from."""

    def gauges(self) -> Iterable[Reading]:
        """Every gauge as it is now."""


class MetricsPage:
    """What `/metrics` shows."""

    def __init__(self, source: Gauges) -> None:
        self._source = source
        self._metrics: Metrics | None = None

    def render(self) -> tuple[bytes, str]:
        """The page and its media type."""
        from kit.metrics import CONTENT_TYPE, Kind, Metrics, MetricSpec  # noqa: PLC0415 - see the module

        if self._metrics is None:
            self._metrics = Metrics([MetricSpec(name, Kind.GAUGE, text, labels) for name, text, labels in GAUGES])
        for name, labels, value in self._source.gauges():
            self._metrics.gauge(name, **labels).set(value)
        return self._metrics.render(), CONTENT_TYPE
