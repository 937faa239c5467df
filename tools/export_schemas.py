"""Write the wire contract as JSON Schemas and refuse what would break a deployed reader.

One file per module of `wire` in tests/golden/wire, and `catalogue.json` with topics, metrics and the closed
sets of words (fault codes among them). Wire messages are append-only within version 1: a file is rewritten
only when the new schema accepts and carries all that the old one did. A deliberate break is a new wire version.

Exit codes: 0 written or up to date, 1 a break or (with --check) an outdated file.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import wire
from wire.telemetry import METRICS
from wire.topics import DELIVERY

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "wire"
CATALOGUE = "catalogue.json"

Document = dict[str, Any]  # a JSON Schema or a part of one

_MUST_NOT_GROW = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MUST_NOT_SHRINK = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_MUST_STAY = ("$ref", "type", "const", "pattern", "format", "default", "uniqueItems")
_NESTED = ("items", "additionalProperties", "propertyNames", "not")


def _modules() -> Iterator[str]:
    return (module.name for module in pkgutil.iter_modules(wire.__path__, "wire."))


def _classes(module: str) -> list[type]:
    members = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    return [member for _, member in members if member.__module__ == module]


def schemas() -> Mapping[str, Document]:
    """The schema file of every wire module that defines messages, by file name."""
    found = {}
    for module in _modules():
        models = [cls for cls in _classes(module) if issubclass(cls, BaseModel) and cls.model_fields]
        if models:
            _, document = models_json_schema([(model, "validation") for model in models])
            found[f"{module.removeprefix('wire.')}.schema.json"] = document
    return found


def catalogue() -> Document:
    """What the contract lists besides messages: topics, metrics and closed sets of words."""
    return {
        "topics": {channel.value: asdict(delivery) for channel, delivery in DELIVERY.items()},
        "metrics": {name: metric.unit for name, metric in METRICS.items()},
        "enums": {
            f"{module.removeprefix('wire.')}.{cls.__name__}": sorted(str(member.value) for member in cls)
            for module in _modules()
            for cls in _classes(module)
            if issubclass(cls, Enum)
        },
    }


def breaks(old: object, new: object, where: str = "") -> list[str]:
    """What a reader or writer of `old` would lose with `new`, one sentence each; empty when nothing.

    New definitions, new optional fields, new alternatives and wider bounds are no loss.
    """
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new or new is True else [f"{where} was retyped"]
    found = [f"{where} has another {key}" for key in _MUST_STAY if old.get(key) != new.get(key)]
    found += _bounds(old, new, where)
    for key in _NESTED:
        if key in new:
            found += breaks(old.get(key, True), new[key], f"{where}[]") if new[key] is not True else []
        elif key in old and key != "additionalProperties":
            found.append(f"{where} has another {key}")
    found += _values(old, new, where)
    found += _fields(old, new, where)
    for name, definition in old.get("$defs", {}).items():
        if name not in new.get("$defs", {}):
            found.append(f"{name} was removed")
        else:
            found += breaks(definition, new["$defs"][name], name)
    return found


def _bounds(old: Document, new: Document, where: str) -> Iterator[str]:
    for key in _MUST_NOT_GROW:
        if key in new and (key not in old or new[key] > old[key]):
            yield f"{where} has a higher {key}"
    for key in _MUST_NOT_SHRINK:
        if key in new and (key not in old or new[key] < old[key]):
            yield f"{where} has a lower {key}"


def _values(old: Document, new: Document, where: str) -> Iterator[str]:
    for value in old.get("enum", ()):
        if value not in new.get("enum", ()):
            yield f"{where} lost the value {value!r}"
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for option in old.get(key, ()):
            if all(breaks(option, candidate) for candidate in new.get(key, ())):
                yield f"{where} lost an alternative"


def _fields(old: Document, new: Document, where: str) -> Iterator[str]:
    fields = new.get("properties", {})
    for name, schema in old.get("properties", {}).items():
        if name not in fields:
            yield f"{where}.{name} was removed"
        else:
            yield from breaks(schema, fields[name], f"{where}.{name}")
    for name in sorted(set(old.get("required", ())) ^ set(new.get("required", ()))):
        yield f"{where}.{name} {'became' if name in new.get('required', ()) else 'is no longer'} required"


def catalogue_breaks(old: object, new: object, where: str = "catalogue") -> list[str]:
    """What `new` lost or changed against `old`; additions are no loss."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{where}.{key} was removed" for key in old.keys() - new.keys()]
        return gone + [
            hit for key in old.keys() & new.keys() for hit in catalogue_breaks(old[key], new[key], f"{where}.{key}")
        ]
    if isinstance(old, list) and isinstance(new, list):
        return [f"{where} lost {value!r}" for value in old if value not in new]
    return [] if old == new else [f"{where} changed from {old!r} to {new!r}"]


def text_of(document: Document) -> str:
    """The bytes of a golden file."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def problems(golden: Path) -> tuple[list[str], Mapping[str, str]]:
    """Compare the code with the golden files: what breaks, and which files are to be written."""
    broken: list[str] = []
    outdated: dict[str, str] = {}
    current = {**schemas(), CATALOGUE: catalogue()}
    for name, document in current.items():
        file = golden / name
        stored = file.read_text(encoding="utf-8") if file.exists() else None
        if stored is not None:
            judge = catalogue_breaks if name == CATALOGUE else breaks
            broken += [f"{name}: {hit}" for hit in judge(json.loads(stored), document)]
        if stored != text_of(document):
            outdated[name] = text_of(document)
    broken += [f"{file.name}: no such module any more" for file in golden.glob("*.json") if file.name not in current]
    return broken, outdated


def main() -> None:
    """Write the golden files, or with --check only compare.

    Raises:
        SystemExit: with the exit code of the module docstring.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file is outdated")
    parser.add_argument("--out", type=Path, default=GOLDEN, help="where the golden files are")
    options = parser.parse_args()
    broken, outdated = problems(options.out)
    for sentence in broken:
        print(sentence, file=sys.stderr)
    if broken or (options.check and outdated):
        print(*(f"outdated: {name}" for name in outdated), sep="\n", file=sys.stderr)
        raise SystemExit(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in outdated.items():
        (options.out / name).write_text(text, encoding="utf-8")
        print(f"written: {name}")


if __name__ == "__main__":
    main()
