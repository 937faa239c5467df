from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kit.metrics import CONTENT_TYPE, Kind, Metrics, MetricSpec, UnknownMetric

TABLE = (
    MetricSpec("kit_batches_total", Kind.COUNTER, "Batches.", labels=("outcome",)),
    MetricSpec("kit_queue_records", Kind.GAUGE, "Records that wait."),
    MetricSpec("kit_commit_seconds", Kind.HISTOGRAM, "Commits.", buckets=(0.1, 1.0)),
)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_was_counted_is_rendered() -> None:
    metrics = Metrics(TABLE)
    metrics.counter("kit_batches_total", outcome="stored").inc(3)
    metrics.gauge("kit_queue_records").set(7)
    metrics.histogram("kit_commit_seconds").observe(0.5)
    found = samples(metrics)
    assert found["kit_batches_total", (("outcome", "stored"),)] == 3
    assert found["kit_queue_records", ()] == 7
    assert found["kit_commit_seconds_bucket", (("le", "0.1"),)] == 0
    assert found["kit_commit_seconds_bucket", (("le", "1.0"),)] == 1
    assert found["kit_commit_seconds_sum", ()] == 0.5


def test_the_process_itself_is_measured() -> None:
    names = {name for name, _ in samples(Metrics(()))}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= names
    assert "python_info" in names


def test_two_sets_of_metrics_do_not_share_anything() -> None:
    one, other = Metrics(TABLE), Metrics(TABLE)
    one.gauge("kit_queue_records").set(7)
    assert samples(other)["kit_queue_records", ()] == 0


@pytest.mark.parametrize(
    ("kind", "name"), [("counter", "kit_absent"), ("counter", "kit_queue_records"), ("gauge", "kit_commit_seconds")]
)
def test_what_is_not_in_the_table_under_that_kind_is_refused(kind: str, name: str) -> None:
    with pytest.raises(UnknownMetric, match=name):
        getattr(Metrics(TABLE), kind)(name)


def test_labels_must_be_those_of_the_table() -> None:
    with pytest.raises(ValueError, match="label"):
        Metrics(TABLE).counter("kit_batches_total", colour="red")


def test_a_name_given_twice_is_a_mistake_in_the_table() -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics((TABLE[1], TABLE[1]))


def test_the_content_type_is_prometheus_text() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")
