"""What an agent says on its WebSocket against the document that describes it."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema

from agent.local_api import documents

Said = dict[str, Any]  # Any: a JSON document


@functools.cache
def _document() -> Said:
    return documents.asyncapi_document()


@functools.cache
def _validator(key: str) -> jsonschema.Draft202012Validator | None:
    document = _document()
    message = document["components"]["messages"].get(key)
    if message is None:
        return None
    return jsonschema.Draft202012Validator({**message["payload"], "components": document["components"]})


@functools.cache
def _event_keys(name: str) -> list[str]:
    end = f".event.{name.replace('.', '_')}"
    return [key for key in _document()["components"]["messages"] if key.endswith(end)]


def check_said(said: Said) -> None:
    """A message is one of the document.

    Raises:
        AssertionError: it is not; says where.
    """
    header = said["header"]
    name, kind = header["name"], header["type"]
    keys = _event_keys(name) if kind == "event" else [name if kind == "unsolicited" else f"{name}.{kind}"]
    validators = [found for key in keys if (found := _validator(key)) is not None]
    if not validators and header.get("completionCode", "unsupportedCommand") == "unsupportedCommand":
        assert kind != "unsolicited", f"{name} is in no document"
        return
    faults = [[f"{error.json_path}: {error.message}" for error in one.iter_errors(said)] for one in validators]
    assert not all(faults), f"{name} {kind}: {min(faults, key=len)}"
