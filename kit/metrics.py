"""Metrics of a process, declared in one table, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

M = TypeVar("M")
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
LATENCY_BUCKETS_S: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


class Kind(StrEnum):
    """What a metric does."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One row of a process's table; the unit is the last word of the name."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_BUCKETS_S


class UnknownMetric(LookupError):
    """A metric that is not in the table, or is of another kind."""


class Metrics:
    """The metrics of a process and its own CPU, memory and files."""

    def __init__(self, table: Sequence[MetricSpec]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for spec in table:
            self._declare(spec)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def counter(self, name: str, **labels: str) -> Counter:
        """A counter of the table.

        Raises:
            UnknownMetric: not declared as a counter.
        """
        found = _find(self._counters, name)
        return found.labels(**labels) if labels else found

    def gauge(self, name: str, **labels: str) -> Gauge:
        """A gauge of the table.

        Raises:
            UnknownMetric: not declared as a gauge.
        """
        found = _find(self._gauges, name)
        return found.labels(**labels) if labels else found

    def histogram(self, name: str, **labels: str) -> Histogram:
        """A histogram of the table.

        Raises:
            UnknownMetric: not declared as a histogram.
        """
        found = _find(self._histograms, name)
        return found.labels(**labels) if labels else found

    def render(self) -> bytes:
        """Everything in the text format; its media type is `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _declare(self, spec: MetricSpec) -> None:
        match spec.kind:
            case Kind.COUNTER:
                self._counters[spec.name] = Counter(spec.name, spec.text, spec.labels, registry=self._registry)
            case Kind.GAUGE:
                self._gauges[spec.name] = Gauge(spec.name, spec.text, spec.labels, registry=self._registry)
            case Kind.HISTOGRAM:
                self._histograms[spec.name] = Histogram(
                    spec.name,
                    spec.text,
                    spec.labels,
                    registry=self._registry,
                    buckets=spec.buckets,
                )


def _find(table: dict[str, M], name: str) -> M:
    try:
        return table[name]
    except KeyError:
        raise UnknownMetric(name) from None
