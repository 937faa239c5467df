"""What the pages take from Python is what Python has now: API document, fault codes, metrics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from e2e.serving import ROOT

from fleet_server.app import openapi_document
from fleet_server.settings import Settings
from kit.clock import ManualClock
from wire.faults import FACTS
from wire.telemetry import METRICS


@pytest.mark.parametrize(("language", "name"), [("zh", "zh-CN"), ("en", "en")])
def test_texts_are_those_of_the_tables(language: str, name: str) -> None:
    file = ROOT / "web_kit" / "src" / "text" / f"wire.{name}.json"
    texts = json.loads(file.read_text(encoding="utf-8"))
    assert texts["metrics"] == {key: getattr(metric, language) for key, metric in METRICS.items()}
    assert texts["faults"] == {
        code.value: {"title": getattr(facts, language), "remedy": getattr(facts, f"remedy_{language}")}
        for code, facts in FACTS.items()
    }, "run: python web_kit/generate_texts.py"


def test_the_api_document_is_the_servers(tmp_path: Path) -> None:
    file = ROOT / "web_kit" / "openapi" / "fleet_server.json"
    now = openapi_document(Settings(data_dir=tmp_path), ManualClock(datetime(2026, 3, 2, tzinfo=UTC)))
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(json.dumps(now)), (
        "run: fleet-server openapi > web_kit/openapi/fleet_server.json && npm run generate"
    )
