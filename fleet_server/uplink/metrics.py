"""The figures of the uplink."""

from __future__ import annotations

from typing import Final

from kit.metrics import LATENCY_BUCKETS_S, Kind, MetricSpec

BATCHES: Final = "fleet_uplink_batches_total"
RECORDS: Final = "fleet_uplink_records_total"
RECEIPTS: Final = "fleet_uplink_receipts_total"
COMMIT_SECONDS: Final = "fleet_uplink_commit_seconds"
LAG_SECONDS: Final = "fleet_uplink_lag_seconds"
RETRIES: Final = "fleet_uplink_commit_retries_total"
WAITING: Final = "fleet_uplink_waiting_records"
BACKLOG: Final = "fleet_uplink_backlog_messages"

METRICS: Final = (
    MetricSpec(BATCHES, Kind.COUNTER, "batches by what became of them", ("outcome",)),
    MetricSpec(RECORDS, Kind.COUNTER, "records by what became of them", ("outcome",)),
    MetricSpec(RECEIPTS, Kind.COUNTER, "receipts by what became of them", ("outcome",)),
    MetricSpec(COMMIT_SECONDS, Kind.HISTOGRAM, "time of one committed group", (), LATENCY_BUCKETS_S),
    MetricSpec(LAG_SECONDS, Kind.HISTOGRAM, "from the arrival of a batch to its COMMIT", (), LATENCY_BUCKETS_S),
    MetricSpec(RETRIES, Kind.COUNTER, "groups that the store did not take at once"),
    MetricSpec(WAITING, Kind.GAUGE, "records read and not yet committed"),
    MetricSpec(BACKLOG, Kind.GAUGE, "messages received and not yet read"),
)
