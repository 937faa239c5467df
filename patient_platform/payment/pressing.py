"""What cannot wait: money nobody knows of, payments the HIS does not know of, what needs a person. For metrics.

Five counts over indexed columns; nothing of an order or a person leaves here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from kit.metrics import Kind, Metrics, MetricSpec

AGES: Final = (("1m", timedelta(minutes=1)), ("5m", timedelta(minutes=5)), ("30m", timedelta(minutes=30)))
"""Buckets of age; what is older is `older`."""
OLDER: Final = "older"
METRICS: Final = (
    MetricSpec("patient_payments_unknown", Kind.GAUGE, "payments without an outcome, by age", ("age",)),
    MetricSpec("patient_paid_not_posted", Kind.GAUGE, "paid, and the HIS does not know of it yet"),
    MetricSpec("patient_paid_not_posted_oldest_seconds", Kind.GAUGE, "how long the oldest of them has waited"),
    MetricSpec("patient_refunds_open", Kind.GAUGE, "money on its way back"),
    MetricSpec("patient_manual", Kind.GAUGE, "what only a person can settle", ("what",)),
    MetricSpec("patient_orders_overdue", Kind.GAUGE, "orders that were due more than a minute ago"),
)


@dataclass(frozen=True, slots=True)
class Pressing:
    """What there is at a moment."""

    unknown_since: tuple[datetime, ...] = ()
    """When each payment without an outcome was sent."""
    unposted_since: tuple[datetime, ...] = ()
    refunds_open: int = 0
    manual: dict[str, int] = field(default_factory=dict)
    """`payment`, `posting`, `refund`."""
    overdue: int = 0


def show(metrics: Metrics, found: Pressing, now: datetime) -> None:
    """Put it into the gauges."""
    ages = dict.fromkeys([name for name, _ in AGES] + [OLDER], 0)
    for since in found.unknown_since:
        ages[next((name for name, limit in AGES if now - since < limit), OLDER)] += 1
    for name, count in ages.items():
        metrics.gauge("patient_payments_unknown", age=name).set(count)
    waited = [(now - since).total_seconds() for since in found.unposted_since]
    metrics.gauge("patient_paid_not_posted").set(len(waited))
    metrics.gauge("patient_paid_not_posted_oldest_seconds").set(max(waited, default=0.0))
    metrics.gauge("patient_refunds_open").set(found.refunds_open)
    for what in ("payment", "posting", "refund"):
        metrics.gauge("patient_manual", what=what).set(found.manual.get(what, 0))
    metrics.gauge("patient_orders_overdue").set(found.overdue)
