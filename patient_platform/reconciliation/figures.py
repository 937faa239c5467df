"""The newest day that was compared, as metrics: when, what came out, and whether anybody has to look at it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time
from typing import Final

from kit.metrics import Kind, Metrics, MetricSpec
from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.reconciliation.model import FINE, Batch, BatchState, Code

METRICS: Final = (
    MetricSpec(
        "patient_reconciliation_day_timestamp_seconds", Kind.GAUGE, "when the newest compared day began", ("channel",)
    ),
    MetricSpec(
        "patient_reconciliation_end_timestamp_seconds", Kind.GAUGE, "when that comparison was over", ("channel",)
    ),
    MetricSpec(
        "patient_reconciliation_balanced", Kind.GAUGE, "1 when it was made and nobody has to look", ("channel",)
    ),
    MetricSpec(
        "patient_reconciliation_outcomes", Kind.GAUGE, "what it found, by code; all codes always", ("channel", "code")
    ),
)


def show(metrics: Metrics, batches: Iterable[Batch]) -> None:
    """Put the newest batch of each channel into the gauges; its findings need not be there, only their counts."""
    for batch in batches:
        channel = batch.channel.value
        began = datetime.combine(batch.day, time.min, HOSPITAL_TIME)
        metrics.gauge("patient_reconciliation_day_timestamp_seconds", channel=channel).set(began.timestamp())
        metrics.gauge("patient_reconciliation_end_timestamp_seconds", channel=channel).set(batch.made_at.timestamp())
        is_fine = batch.state is BatchState.DONE and all(Code(code) in FINE for code, n in batch.counts.items() if n)
        metrics.gauge("patient_reconciliation_balanced", channel=channel).set(is_fine)
        for code in Code:
            gauge = metrics.gauge("patient_reconciliation_outcomes", channel=channel, code=code.value)
            gauge.set(batch.counts.get(code.value, 0))
