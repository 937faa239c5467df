"""The wire is append-only: golden schemas, and the judge that compares them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support.tree import ROOT
from tools.export_schemas import CATALOGUE, GOLDEN, breaks, catalogue_breaks, problems

Document = dict[str, Any]  # a JSON Schema


def test_the_stored_schemas_are_those_of_the_code() -> None:
    broken, outdated = problems(GOLDEN)
    assert broken == [], "deployed readers would lose this; a deliberate break is a new wire version"
    assert list(outdated) == [], "run `make schemas` and commit the files"


def test_stored_schemas_are_valid_and_have_a_module() -> None:
    files = sorted(GOLDEN.glob("*.schema.json"))
    assert files
    for file in files:
        jsonschema.Draft202012Validator.check_schema(json.loads(file.read_text(encoding="utf-8")))
        assert (ROOT / "wire" / file.name.replace(".schema.json", ".py")).is_file()


def _batch() -> Document:
    schema: Document = json.loads((GOLDEN / "uplink.schema.json").read_text(encoding="utf-8"))
    return schema


def _remove_field(schema: Document) -> None:
    del schema["$defs"]["AlarmRecord"]["properties"]["component"]


def _retype_field(schema: Document) -> None:
    schema["$defs"]["Batch"]["properties"]["epoch"]["type"] = "integer"


def _require_field(schema: Document) -> None:
    schema["$defs"]["AlarmRecord"]["required"].append("since")


def _free_field(schema: Document) -> None:
    schema["$defs"]["Batch"]["required"].remove("epoch")


def _drop_word(schema: Document) -> None:
    schema["$defs"]["RecordClass"]["enum"].remove("p2")


def _drop_message(schema: Document) -> None:
    del schema["$defs"]["Receipt"]


def _drop_record_kind(schema: Document) -> None:
    schema["$defs"]["Batch"]["properties"]["records"]["items"]["oneOf"].pop()


def _narrow_bound(schema: Document) -> None:
    schema["$defs"]["Batch"]["properties"]["records"]["maxItems"] -= 1


def _change_default(schema: Document) -> None:
    schema["$defs"]["TelemetryRecord"]["properties"]["component"]["default"] = "machine"


@pytest.mark.parametrize(
    "change",
    [
        _remove_field,
        _retype_field,
        _require_field,
        _free_field,
        _drop_word,
        _drop_message,
        _drop_record_kind,
        _narrow_bound,
        _change_default,
    ],
)
def test_a_break_is_found(change: Callable[[Document], None]) -> None:
    old, new = _batch(), _batch()
    change(new)
    assert breaks(old, new) != []
    assert breaks(old, copy.deepcopy(old)) == []


def _add_field(schema: Document) -> None:
    schema["$defs"]["AlarmRecord"]["properties"]["hint"] = {"type": "string"}


def _add_word(schema: Document) -> None:
    schema["$defs"]["RecordClass"]["enum"].append("p3")


def _add_record_kind(schema: Document) -> None:
    schema["$defs"]["Batch"]["properties"]["records"]["items"]["oneOf"].append({"$ref": "#/$defs/NewRecord"})
    schema["$defs"]["NewRecord"] = {"type": "object"}


def _widen_bound(schema: Document) -> None:
    schema["$defs"]["Batch"]["properties"]["records"]["maxItems"] += 1


@pytest.mark.parametrize("change", [_add_field, _add_word, _add_record_kind, _widen_bound])
def test_an_addition_is_no_break(change: Callable[[Document], None]) -> None:
    old, new = _batch(), _batch()
    change(new)
    assert breaks(old, new) == []


def test_the_catalogue_only_grows() -> None:
    stored: Document = json.loads((GOLDEN / CATALOGUE).read_text(encoding="utf-8"))
    grown = copy.deepcopy(stored)
    grown["enums"]["faults.Fault"].append("toner_low")
    assert catalogue_breaks(stored, grown) == []
    del grown["topics"]["up/log"]
    grown["metrics"]["cpu_percent"] = "1"
    grown["enums"]["faults.Fault"].remove("paper_out")
    assert len(catalogue_breaks(stored, grown)) == 3


def test_a_removed_module_is_a_break_and_a_new_one_is_written(tmp_path: Path) -> None:
    (tmp_path / "gone.schema.json").write_text("{}", encoding="utf-8")
    broken, outdated = problems(tmp_path)
    assert broken == ["gone.schema.json: no such module any more"]
    assert "uplink.schema.json" in outdated
