"""The pages' texts of fault codes and metrics are those of the wire's tables."""

from __future__ import annotations

import json

import pytest
from e2e.serving import ROOT

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
