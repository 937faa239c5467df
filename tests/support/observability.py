"""Prometheus' own tools on our rules and dashboards, and what our processes expose."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from fleet_server.app import Parts
from kit.metrics import Kind, MetricSpec
from patient_platform.app import METRICS as PATIENT_METRICS
from support.tree import ROOT

PROMETHEUS = ROOT / "dashboards" / "prometheus"
GRAFANA = ROOT / "dashboards" / "grafana"
_WORDS = {"by", "without", "on", "and", "or", "unless", "ignoring", "group_left", "group_right", "bool", "offset"}


def tool(name: str) -> str:
    """The whole path of a program of Debian's packages prometheus and prometheus-alertmanager."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: apt-get install prometheus prometheus-alertmanager"
    return found


def promtool(*arguments: str) -> str:
    """Have promtool judge something. Raises: subprocess.CalledProcessError: it does not like it."""
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments, done.stdout + done.stderr)
    return done.stdout


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Our alerts by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found |= {rule["alert"]: rule for rule in group["rules"] if "alert" in rule}
    return found


def specs() -> tuple[MetricSpec, ...]:
    """Every metric of the fleet server and of the patient platform."""
    return (*Parts().metrics, *PATIENT_METRICS)


def exposed_names() -> set[str]:
    """The names of all series our processes may show."""
    names = {"process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
    names |= {"process_open_fds", "process_max_fds"}
    for spec in specs():
        if spec.kind is Kind.HISTOGRAM:
            names |= {f"{spec.name}_bucket", f"{spec.name}_sum", f"{spec.name}_count"}
        else:
            names.add(spec.name)
    return names


def metric_names(expression: str) -> set[str]:
    """The metrics and recordings an expression asks for: ours have a prefix."""
    return set(re.findall(r"\b(?:(?:fleet|patient)[:_]\w[\w:]*|process_\w+|up)\b(?!\s*\()", re.sub(r'"[^"]*"', "", expression)))


def shown_names(page: str) -> set[str]:
    """The names of the series on a page of `/metrics`."""
    return {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}
