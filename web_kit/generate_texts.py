"""Write the texts of fault codes, metrics, functions and consumables for the pages, from `wire`: run after changes."""

from __future__ import annotations

import json
from pathlib import Path

from wire.consumables import CONSUMABLE_TITLES
from wire.faults import FACTS
from wire.functions import FUNCTION_TITLES, LACK_TITLES
from wire.telemetry import METRICS

TEXTS = Path(__file__).parent / "src" / "text"


def texts(language: str) -> dict[str, dict[str, object]]:
    """What the tables say in one language (`zh` or `en`)."""
    return {
        "faults": {
            code.value: {"title": getattr(facts, language), "remedy": getattr(facts, f"remedy_{language}")}
            for code, facts in FACTS.items()
        },
        "metrics": {name: getattr(metric, language) for name, metric in METRICS.items()},
        "functions": {name.value: getattr(title, language) for name, title in FUNCTION_TITLES.items()},
        "lacks": {name.value: getattr(title, language) for name, title in LACK_TITLES.items()},
        "consumables": {name: getattr(title, language) for name, title in CONSUMABLE_TITLES.items()},
    }


def main() -> None:
    """Write one file per language."""
    for language, name in (("zh", "zh-CN"), ("en", "en")):
        document = json.dumps(texts(language), ensure_ascii=False, indent=2)
        (TEXTS / f"wire.{name}.json").write_text(f"{document}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
