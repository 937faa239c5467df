"""Our alert rules, judged by promtool: each fires on what it is for, not a moment too early, and not just below it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.observability import (
    PROMETHEUS,
    ToolSaysNo,
    alerts,
    asks_for,
    exposed_names,
    metric_names,
    promtool,
    queries,
    recordings,
)
from support.tree import ROOT
from wire.faults import FACTS, Fault, Severity

SPAN_MIN = 130
"""So long every series lasts."""
LAG = "fleet_uplink_lag_seconds_bucket"
CHANNEL = "patient_channel_calls_total"
ORDERS = "patient_orders_total"


@dataclass(frozen=True, slots=True)
class Case:
    """What makes an alert fire, and what does not although it nearly would; a value, or a rise a minute as `+5`."""

    fires: dict[str, str]
    quiet: dict[str, str]
    labels: str = ""
    """Of the alert that fires, besides its name."""


def case(series: str, fires: str, quiet: str, labels: str = "") -> Case:
    return Case({series: fires}, {series: quiet}, labels)


def several(*rows: tuple[str, str, str], labels: str = "") -> Case:
    return Case({name: fires for name, fires, _ in rows}, {name: quiet for name, _, quiet in rows}, labels)


FLEET = '{job="fleet-server",instance="a"}'
CASES: dict[str, Case] = {  # `%s`: another job than the one that is missed, or that one
    "FleetServerDown": case(f"up{FLEET}", "0", "1"),
    "FleetServerMissing": case('up{job="%s"}', "1", "1"),
    "FleetServerRestarts": case(f"process_start_time_seconds{FLEET}", "+60", "1"),
    "FleetServerErrors": several(
        ('fleet_http_requests_total{status="500"}', "+6", "+4"),
        ('fleet_http_requests_total{status="200"}', "+94", "+96"),
    ),
    "FleetRequestsRefused": case('fleet_http_refused_total{server="api",reason="host"}', "+70", "+50"),
    "FleetLeaderGone": several(
        ('fleet_duties_leader{instance="a"}', "0", "0"), ('fleet_duties_leader{instance="b"}', "0", "1")
    ),
    "FleetTwoLeaders": several(
        ('fleet_duties_leader{instance="a"}', "1", "1"), ('fleet_duties_leader{instance="b"}', "1", "0")
    ),
    "FleetStoreFailing": case(f"fleet_store_answers{FLEET}", "0", "1"),
    "FleetCommitsRetried": case("fleet_uplink_commit_retries_total", "+6", "+1"),
    "FleetIngestLag": several(
        (f'{LAG}{{le="5.0"}}', "+90", "+100"),
        (f'{LAG}{{le="10.0"}}', "+100", "+100"),
        (f'{LAG}{{le="+Inf"}}', "+100", "+100"),
    ),
    "FleetQueueLag": case(f"fleet_uplink_backlog_messages{FLEET}", "201", "200"),
    "FleetIngestStalled": several(
        (f"fleet_uplink_backlog_messages{FLEET}", "5", "5"),
        ('fleet_uplink_batches_total{job="fleet-server",outcome="stored"}', "7", "+1"),
    ),
    "FleetRecordsRejected": several(
        ('fleet_uplink_records_total{outcome="rejected"}', "+1", "4"),
        ('fleet_uplink_records_total{outcome="stored"}', "+9", "+9"),
    ),
    "KioskOutboxGrowing": case("fleet_kiosk_outbox_rows_max", "5001", "5000"),
    "FleetBrokerDown": several(
        ('fleet_broker_connected{job="fleet-server",instance="a"}', "0", "1"),
        ('fleet_broker_connected{job="fleet-server",instance="b"}', "NaN", "NaN"),
    ),
    "FleetBackupOld": case(f"fleet_backup_age_seconds{FLEET}", "93601", "NaN"),
    "FleetCertificateExpiring": case(
        'fleet_certificate_left_days{certificate="broker"}', "29", "31", 'certificate="broker",component="broker"'
    ),
    "FleetAuthorityExpiring": case('fleet_certificate_left_days{certificate="ca"}', "364", "366"),
    "FleetRevocationListExpiring": case('fleet_certificate_left_days{certificate="crl"}', "6.9", "7.1"),
    "FleetDiskLow": case(f"fleet_data_disk_free_ratio{FLEET}", "0.14", "0.16"),
    "FleetDiskNearlyFull": case(f"fleet_data_disk_free_ratio{FLEET}", "0.049", "0.051"),
    "KiosksOfflineShare": several(
        ('fleet_presence_kiosks{state="offline"}', "11", "10"), ('fleet_presence_kiosks{state="online"}', "89", "90")
    ),
    "KiosksMostlyOffline": several(
        ('fleet_presence_kiosks{state="offline"}', "51", "2"), ('fleet_presence_kiosks{state="online"}', "49", "1")
    ),
    "IncidentNotAcknowledged": several(
        ('fleet_incidents{state="open",severity="critical"}', "1", "0"),
        ('fleet_incidents{state="acknowledged",severity="critical"}', "1", "1"),
    ),
    "SlaBreachNear": several(
        ('fleet_orders_clock_running{clock="repair",percent="90"}', "1", "0"),
        ('fleet_orders_clock_running{clock="repair",percent="75"}', "1", "1"),
        labels='clock="repair"',
    ),
    "SlaBreached": several(
        ('fleet_orders_clock_running{clock="response",percent="100"}', "1", "0"),
        ('fleet_orders_clock_running{clock="response",percent="90"}', "1", "1"),
    ),
    "PagingGivenUp": case("fleet_pages_given_up", "1", "0"),
    "PagingStuck": case("fleet_page_overdue_seconds", "301", "299"),
    "PatientPlatformDown": case('up{job="patient-platform",instance="a"}', "0", "1"),
    "PatientPlatformMissing": case('up{job="%s"}', "1", "1"),
    "PatientPlatformRestarts": case('process_start_time_seconds{job="patient-platform",instance="a"}', "+60", "1"),
    "PatientPlatformErrors": several(
        ('patient_http_requests_total{status="503"}', "+6", "+4"),
        ('patient_http_requests_total{status="200"}', "+94", "+96"),
    ),
    "PlatformCertificateExpiring": case(
        'patient_certificate_left_days{certificate="kiosk_api"}', "29", "31", 'component="kiosk_api"'
    ),
    "PlatformCertificateEnds": case('patient_certificate_left_days{certificate="kiosk_api"}', "6", "8"),
    "HisDown": case("patient_his_up", "0", "1"),
    "ChannelDown": several(
        ('patient_channel_open{channel="wechat"}', "0", "1"),
        ('patient_channel_open{channel="alipay"}', "1", "1"),
        labels='channel="wechat",component="wechat"',
    ),
    "ChannelFailing": several(
        (f'{CHANNEL}{{channel="wechat",outcome="lost"}}', "+3", "+1"),
        (f'{CHANNEL}{{channel="wechat",outcome="answered"}}', "+7", "+9"),
        labels='channel="wechat"',
    ),
    "ChannelClockDiffers": case('patient_channel_skew_seconds{channel="wechat"}', "-121", "-119"),
    "PaymentsUnknown": several(
        ('patient_payments_unknown{age="30m"}', "1", "0"), ('patient_payments_unknown{age="5m"}', "1", "4")
    ),
    "PaymentsUnknownOld": several(
        ('patient_payments_unknown{age="older"}', "1", "0"), ('patient_payments_unknown{age="30m"}', "1", "4")
    ),
    "PaidNotPosted": case('patient_paid_not_posted_oldest_seconds{job="patient-platform"}', "301", "299"),
    "ManualCases": case('patient_manual{what="refund"}', "1", "0", 'what="refund"'),
    "OrdersOverdue": case("patient_orders_overdue", "1", "0"),
    "RefundsPilingUp": case("patient_refunds_open", "21", "20"),
    "ReconciliationDiffers": case('patient_reconciliation_balanced{channel="wechat"}', "0", "1", 'channel="wechat"'),
    "ReconciliationMissing": case(
        'patient_reconciliation_day_timestamp_seconds{channel="wechat"}', "-216001", "-200000", 'channel="wechat"'
    ),
    "TransactionsFailing": several(
        (f'{ORDERS}{{outcome="rejected"}}', "+3", "+1"), (f'{ORDERS}{{outcome="posted"}}', "+7", "+9")
    ),
}
ALERTS = alerts()
ABSENT = {"FleetServerMissing": "fleet-server", "PatientPlatformMissing": "patient-platform"}


def _minutes(duration: str) -> int:
    found = re.fullmatch(r"(\d+)([mh])", duration)
    assert found is not None, duration
    return int(found[1]) * (60 if found[2] == "h" else 1)


def _values(text: str) -> str:
    if text == "NaN":
        return " ".join([text] * SPAN_MIN)
    return f"0{text}x{SPAN_MIN}" if text.startswith("+") else f"{text}+0x{SPAN_MIN}"


def _looks(name: str, at_min: float, labels: str | None) -> dict[str, Any]:
    extra = "" if not labels else f",{labels}"
    expected = [] if labels is None else [{"labels": "{}", "value": 1}]
    expr = f'count(ALERTS{{alertname="{name}",alertstate="firing"{extra}}})'
    return {"expr": expr, "eval_time": f"{int(at_min * 60)}s", "exp_samples": expected}


def _late(name: str) -> int:
    """By this minute an alert has to fire: its own time and the longest window of its expression."""
    rule = ALERTS[name]
    waits = _minutes(rule["for"]) if "for" in rule else 0
    return waits + (32 if "30m" in rule["expr"] else 17)


def _looked_at(name: str, one: Case) -> list[dict[str, Any]]:
    """Firing late enough and not before its time."""
    looks = [_looks(name, _late(name), one.labels)]
    if "for" in ALERTS[name]:
        looks.append(_looks(name, _minutes(ALERTS[name]["for"]) - 0.5, None))
    return looks


@dataclass(slots=True)
class Bench:
    """Cases that are tried together: none of them has a series that another one's alert asks for."""

    series: dict[str, str] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)
    has: set[str] = field(default_factory=set)
    asks: set[str] = field(default_factory=set)

    def takes(self, asks: set[str], has: set[str]) -> bool:
        """Whether there is room for a case."""
        return not (asks & self.has or has & self.asks)

    def put(self, name: str, series: dict[str, str], looks: list[dict[str, Any]]) -> None:
        """Add a case."""
        self.series |= series
        self.looks += looks
        self.has |= {key.partition("{")[0] for key in series}
        self.asks |= asks_for(ALERTS[name]["expr"])


def _benches(*, fires: bool) -> list[dict[str, Any]]:
    found: list[Bench] = []
    for name in sorted(CASES, key=_late):
        one = CASES[name]
        job = "another" if fires else ABSENT.get(name, "")
        series = {key.replace("%s", job): value for key, value in (one.fires if fires else one.quiet).items()}
        looks = _looked_at(name, one) if fires else [_looks(name, _late(name), None)]
        asks, has = asks_for(ALERTS[name]["expr"]), {key.partition("{")[0] for key in series}
        bench = next((one for one in found if one.takes(asks, has)), None)
        if bench is None:
            found.append(bench := Bench())
        bench.put(name, series, looks)
    return [
        {
            "interval": "1m",
            "input_series": [{"series": key, "values": _values(value)} for key, value in bench.series.items()],
            "promql_expr_test": bench.looks,
        }
        for bench in found
    ]


def test_every_alert_is_tried() -> None:
    assert set(CASES) == set(ALERTS)


def test_every_alert_fires_in_time_and_only_then(tmp_path: Path) -> None:
    document = {
        "rule_files": sorted(str(path) for path in (PROMETHEUS / "rules").glob("*.yml")),
        "evaluation_interval": "1m",
        "tests": _benches(fires=True) + _benches(fires=False),
    }
    file = tmp_path / "rules.test.yml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    promtool("test", "rules", str(file))


def test_what_people_read_is_filled_in(tmp_path: Path) -> None:
    """Templates are rendered by Prometheus: one of each kind, in both languages."""
    series = [
        {"series": 'fleet_presence_kiosks{state="offline"}', "values": "60+0x40"},
        {"series": 'fleet_presence_kiosks{state="online"}', "values": "40+0x40"},
        {"series": 'patient_paid_not_posted_oldest_seconds{job="p"}', "values": "754+0x40"},
    ]
    texts = {
        "KiosksMostlyOffline": {"description": "60% 离线; 多半是网络、供电或消息代理。"},
        "PaidNotPosted": {
            "description": "最早的一笔已等待 12m 34s。",
            "description_en": "The oldest waits for 12m 34s.",
        },
    }
    checks = []
    for name, wanted in texts.items():
        rule = ALERTS[name]
        filled = {**rule["annotations"], **wanted}
        if name == "KiosksMostlyOffline":
            filled["description_en"] = "60% are offline; most likely network, mains or broker."
        labels = {**rule["labels"], **({"job": "p"} if name == "PaidNotPosted" else {})}
        alert = {"exp_labels": labels, "exp_annotations": filled}
        checks.append({"eval_time": "10m", "alertname": name, "exp_alerts": [alert]})
    document = {
        "rule_files": sorted(str(path) for path in (PROMETHEUS / "rules").glob("*.yml")),
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": checks}],
    }
    file = tmp_path / "texts.test.yml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    promtool("test", "rules", str(file))


def test_rules_and_the_example_are_right_for_promtool() -> None:
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_promtool_refuses_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("groups: [{name: a, rules: [{alert: B, expr: 'sum('}]}]")
    with pytest.raises(ToolSaysNo):
        promtool("check", "rules", str(tmp_path / "bad.yml"))


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_what_it_is_in_both_languages_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert Severity(rule["labels"]["severity"]) is not Severity.INFO
    texts = rule["annotations"]
    assert set(texts) == {"summary", "summary_en", "description", "description_en", "runbook"}
    for key in ("summary", "description"):
        assert re.search("[一-鿿]", texts[key]), key
        assert not re.search("[一-鿿]", texts[f"{key}_en"]), key
    file, _, anchor = texts["runbook"].partition("#")
    page = (ROOT / file).read_text(encoding="utf-8")
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    assert not anchor or anchor in headings


def test_alerts_that_become_alarms_name_a_code_and_a_component() -> None:
    for name, rule in ALERTS.items():
        labels = rule["labels"]
        assert ("fault" in labels) == ("component" in labels), name
        if "fault" in labels:
            assert (
                FACTS[Fault(labels["fault"])].severity.value == labels["severity"] or labels["fault"] == "disk_low"
            ), name


def test_rules_ask_only_for_what_is_exposed() -> None:
    recorded = recordings()
    expressions = [*recorded.values(), *(rule["expr"] for rule in ALERTS.values())]
    asked = set().union(*map(metric_names, expressions))
    assert asked - set(recorded) - exposed_names() - {"up"} == set()
    assert set(recorded) - asked - _asked_by_panels() == set(), "nobody uses it"


def _asked_by_panels() -> set[str]:
    return set().union(*(metric_names(expression) for _, expression in queries()))
