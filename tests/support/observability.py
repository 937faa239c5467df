"""Prometheus' own tools on our rules and dashboards, and what our processes expose."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fleet_server.app import Parts
from kit.metrics import Kind, Metrics, MetricSpec
from patient_platform.app import METRICS as PATIENT_METRICS
from support.ports import free_port
from support.processes import Child, http_get
from support.tree import ROOT

PROMETHEUS = ROOT / "dashboards" / "prometheus"
GRAFANA = ROOT / "dashboards" / "grafana"


class ToolSaysNo(AssertionError):
    """What a tool does not like; the text is its own."""


def tool(name: str) -> str:
    """The whole path of a program of Debian's packages prometheus and prometheus-alertmanager."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: apt-get install prometheus prometheus-alertmanager"
    return found


def promtool(*arguments: str) -> str:
    """Have promtool judge something. Raises: ToolSaysNo: it does not like it."""
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ToolSaysNo(f"promtool {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Our alerts by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found |= {rule["alert"]: rule for rule in group["rules"] if "alert" in rule}
    return found


@cache
def recordings() -> dict[str, str]:
    """The expressions of our recordings by name."""
    rules = yaml.safe_load((PROMETHEUS / "rules" / "recording.yml").read_text(encoding="utf-8"))
    return {rule["record"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}


def asks_for(expression: str) -> set[str]:
    """The metrics an expression needs in the end, through recordings."""
    names = metric_names(expression)
    while through := names & set(recordings()):
        names = (names - through).union(*(metric_names(recordings()[name]) for name in through))
    return names


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
    plain = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:(?:fleet|patient)[:_]\w[\w:]*|process_\w+|up)\b(?!\s*\()", plain))


def shown_names(page: str) -> set[str]:
    """The names of the series on a page of `/metrics`."""
    return {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}


# --- dashboards ---------------------------------------------------------------------------------------------------


def dashboards() -> dict[str, dict[str, Any]]:
    """Our Grafana dashboards by the name of their file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GRAFANA.glob("*.json"))}


def queries() -> Iterator[tuple[str, str]]:
    """Where each query of a panel is, and the query."""
    for name, document in dashboards().items():
        for panel in document["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']} {target['refId']}", target["expr"]


COUNTED: Mapping[str, Sequence[str]] = {
    "status": ("200", "503"),
    "outcome": ("stored", "answered", "lost", "posted", "rejected"),
    "channel": ("wechat",),
}
"""What a busy day puts into labels; gauges of states come from the running server."""


def busy_page() -> bytes:
    """A page with series of every metric, as after a day of work."""
    metrics = Metrics(specs())
    for spec in specs():
        for values in product(*(COUNTED.get(label, ("any",)) for label in spec.labels)):
            labels = dict(zip(spec.labels, values, strict=True))
            match spec.kind:
                case Kind.COUNTER:
                    metrics.counter(spec.name, **labels).inc()
                case Kind.GAUGE:
                    metrics.gauge(spec.name, **labels).set(1)
                case Kind.HISTOGRAM:
                    metrics.histogram(spec.name, **labels).observe(0.1)
    return metrics.render()


# --- the real programs --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    """A Prometheus or an Alertmanager."""

    url: str
    child: Child

    async def ask(self, path: str, **query: str) -> Any:  # noqa: ANN401 - JSON is what it is
        """What it answers. Raises: aiohttp.ClientResponseError."""
        async with aiohttp.ClientSession() as http, http.get(self.url + path, params=query) as reply:
            document = await reply.json(content_type=None)
            assert reply.status == 200, document
            return document

    async def query(self, expression: str) -> list[Any]:
        """The series of an expression, now."""
        return list((await self.ask("/api/v1/query", query=expression))["data"]["result"])


@asynccontextmanager
async def _running(name: str, log: Path, port: int, *arguments: str) -> AsyncIterator[Running]:
    url = f"http://127.0.0.1:{port}"

    async def is_ready() -> bool:
        try:
            return (await http_get(f"{url}/-/ready")).status == 200
        except (aiohttp.ClientError, OSError):
            return False

    listen = f"--web.listen-address=127.0.0.1:{port}"
    async with Child(name, [tool(name), *arguments, listen, "--log.level=warn"], log) as child:
        await child.ready(is_ready)
        yield Running(url, child)


@asynccontextmanager
async def prometheus(
    folder: Path, targets: Mapping[str, Sequence[str]], *, alertmanager: str | None = None, rules: str | None = None
) -> AsyncIterator[Running]:
    """Run Prometheus with our rules, or with these, five times a second on `host:port` by the name of their job."""
    config: dict[str, Any] = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
        "rule_files": [rules or str(PROMETHEUS / "rules" / "*.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(hosts)}]} for job, hosts in targets.items()
        ],
    }
    if alertmanager is not None:
        host = alertmanager.removeprefix("http://")
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [host]}]}]}
    file = folder / "prometheus.yml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(config))
    data = f"--storage.tsdb.path={folder / 'tsdb'}"
    async with _running("prometheus", folder / "prometheus.log", free_port(), f"--config.file={file}", data) as found:
        yield found


@asynccontextmanager
async def alertmanager(folder: Path, config: Path) -> AsyncIterator[Running]:
    """Run Alertmanager alone, with a configuration."""
    arguments = [f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address="]
    port = free_port()
    async with _running("prometheus-alertmanager", folder / "alertmanager.log", port, *arguments) as found:
        yield found
