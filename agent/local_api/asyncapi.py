"""The AsyncAPI 3.0 document of the device WebSocket, made from the table of commands.

The view is the agent's: it receives commands and replies to each with an acknowledge, perhaps events, and exactly one
completion; what belongs to no command it sends. Schemas of requests say what is accepted, all others what is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from agent.local_api.channel import PATH, PROTOCOL, TOKEN_PREFIX
from agent.local_api.dialogue import CANCEL, Cancelled, Verb
from wire import __version__
from wire.device_api import AcknowledgeStatus, CompletionCode, MessageType
from wire.faults import Fault

if TYPE_CHECKING:
    from pydantic_core.core_schema import DataclassField, ModelField, TypedDictField

Document = dict[str, Any]  # Any: a JSON document or a part of one

TEMPLATE: Final = "#/components/schemas/{model}"
CHANNEL: Final = "devices"
_NOTHING: Final[Document] = {"type": "object", "properties": {}, "additionalProperties": False}
_SUCCESS: Final = CompletionCode.SUCCESS.value
_NUMBER: Final[Document] = {
    "type": "integer",
    "minimum": 1,
    "description": "rises with every command of a connection",
}
_ABOUT: Final = (
    "Commands, events and status of a kiosk's devices in the envelope of XFS4IoT (CWA 17852). Served on 127.0.0.1 "
    f"to pages that offer the subprotocols `{PROTOCOL}` and `{TOKEN_PREFIX}<token of this boot>`."
)


def document(commands: Mapping[str, Verb], unsolicited: Mapping[str, type[BaseModel]]) -> Document:
    """Describe every command and every message that belongs to none."""
    verbs = {CANCEL: Verb(Cancelled, _unused, summary="取消命令 · End commands as cancelled"), **commands}
    names, schemas = _schemas(verbs, unsolicited)
    messages: Document = {}
    for name, verb in sorted(verbs.items()):
        messages |= _messages_of(name, verb, names)
    for name in sorted(unsolicited):
        messages[name] = _message(name, MessageType.UNSOLICITED, {"$ref": names[name]})
    schemas["FaultCode"] = {"type": "string", "enum": sorted(fault.value for fault in Fault)}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "kiosk-agent devices", "version": __version__, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {"kiosk": _server()},
        "channels": {CHANNEL: _channel(messages)},
        "operations": _operations(verbs, messages, sorted(unsolicited)),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "messages": messages,
            "securitySchemes": {
                "boot": {
                    "type": "httpApiKey",
                    "name": "Sec-WebSocket-Protocol",
                    "in": "header",
                    "description": f"`{TOKEN_PREFIX}` and the token that every start of the agent makes anew",
                }
            },
        },
    }


async def _unused(_request: object, _progress: object) -> Document:
    raise AssertionError("the dialogue itself does this")


def _server() -> Document:
    return {
        "host": "127.0.0.1:8600",
        "protocol": "ws",
        "description": "on the kiosk itself, nowhere else",
        "security": [{"$ref": "#/components/securitySchemes/boot"}],
    }


def _channel(messages: Document) -> Document:
    return {
        "address": PATH,
        "description": "one socket for all devices; at most 8 pages at a time",
        "servers": [{"$ref": "#/servers/kiosk"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


def _operations(verbs: Mapping[str, Verb], messages: Document, unsolicited: Sequence[str]) -> Document:
    found: Document = {}
    for name, verb in sorted(verbs.items()):
        replies = [key for key in messages if key.startswith(f"{name}.") and key != f"{name}.command"]
        found[name] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{CHANNEL}"},
            "summary": verb.summary,
            "messages": [_of_channel(f"{name}.command")],
            "reply": {
                "channel": {"$ref": f"#/channels/{CHANNEL}"},
                "messages": [_of_channel(reply) for reply in replies],
            },
            "x-limit-s": verb.limit_s,
            "x-refusals": sorted(verb.refusals),
        }
    found["unsolicited"] = {
        "action": "send",
        "channel": {"$ref": f"#/channels/{CHANNEL}"},
        "summary": "状态与事件 · How components are, and what happens without being asked for",
        "messages": [_of_channel(name) for name in unsolicited],
    }
    return found


def _of_channel(message: str) -> Document:
    return {"$ref": f"#/channels/{CHANNEL}/messages/{message}"}


def _messages_of(name: str, verb: Verb, names: Mapping[str, str]) -> Iterator[tuple[str, Document]]:
    result = _NOTHING if verb.result is None else {"$ref": names[f"{name} Result"]}
    yield f"{name}.command", _message(name, MessageType.COMMAND, {"$ref": names[f"{name} Request"]})
    yield f"{name}.acknowledge", _message(name, MessageType.ACKNOWLEDGE, _NOTHING)
    for event in sorted(verb.events):
        key = f"{name}.event.{event.replace('.', '_')}"
        yield key, _message(event, MessageType.EVENT, {"$ref": names[f"{name} {event}"]})
    failure = {"anyOf": [result, _failure(verb)]}
    yield f"{name}.completion", _message(name, MessageType.COMPLETION, failure)


def _failure(verb: Verb) -> Document:
    """The payload of a completion without success: the code of a refusal or fault, the fields that are wrong."""
    codes: list[Document] = [{"$ref": TEMPLATE.format(model="FaultCode")}]
    if verb.refusals:
        codes.insert(0, {"type": "string", "enum": sorted(verb.refusals)})
    return {
        "type": "object",
        "title": "Failure",
        "properties": {
            "errorCode": codes[0] if len(codes) == 1 else {"anyOf": codes},
            "fields": {"type": "array", "items": {"type": "string"}},
        },
    }


_HEADERS: Final[Mapping[MessageType, tuple[Document, Sequence[str]]]] = {
    MessageType.COMMAND: (
        {
            "requestId": _NUMBER,
            "timeout": {
                "type": "integer",
                "minimum": 0,
                "description": "milliseconds; may shorten the command's own limit, never stretch it",
            },
        },
        ("requestId",),
    ),
    MessageType.ACKNOWLEDGE: (
        {
            "requestId": _NUMBER,
            "status": {"type": "string", "enum": [status.value for status in AcknowledgeStatus]},
        },
        (),
    ),
    MessageType.EVENT: ({"requestId": _NUMBER}, ("requestId",)),
    MessageType.COMPLETION: (
        {
            "requestId": _NUMBER,
            "completionCode": {"type": "string", "enum": [code.value for code in CompletionCode]},
            "errorDescription": {"type": "string", "description": "for engineers, never shown to a patient"},
        },
        ("requestId", "completionCode"),
    ),
    MessageType.UNSOLICITED: ({}, ()),
}


def _message(name: str, kind: MessageType, payload: Document) -> Document:
    fields, required = _HEADERS[kind]
    header = {
        "type": "object",
        "properties": {"name": {"const": name}, "type": {"const": kind.value}, **fields},
        "required": ["name", "type", *required],
    }
    message: Document = {
        "name": name,
        "title": f"{name} {kind.value}",
        "payload": {
            "type": "object",
            "properties": {"header": header, "payload": payload},
            "required": ["header"] if kind is MessageType.COMMAND else ["header", "payload"],
        },
    }
    if kind is MessageType.COMPLETION:
        result, failure = payload["anyOf"]
        message["payload"] |= {
            "if": {"properties": {"header": {"properties": {"completionCode": {"const": _SUCCESS}}}}},
            "then": {"properties": {"payload": result}},
            "else": {"properties": {"payload": failure}},
        }
    if "requestId" in fields:
        message["correlationId"] = {"location": "$message.payload#/header/requestId"}
    return message


class _Generator(GenerateJsonSchema):
    """What is sent leaves out what is None, and nothing else."""

    def field_is_required(
        self,
        field: ModelField | DataclassField | TypedDictField,
        total: bool,  # noqa: FBT001 - pydantic's signature
    ) -> bool:
        """See `GenerateJsonSchema`."""
        if self.mode != "serialization" or field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        schema = field["schema"]
        while schema["type"] == "default":
            schema = schema["schema"]
        return schema["type"] != "nullable" and not field.get("serialization_exclude")


def _schemas(
    verbs: Mapping[str, Verb], unsolicited: Mapping[str, type[BaseModel]]
) -> tuple[dict[str, str], dict[str, Document]]:
    """The reference of every use of a model, and the schemas; private and ambiguous names become those of a use."""
    uses: dict[str, tuple[type[BaseModel], JsonSchemaMode]] = {}
    for name, verb in sorted(verbs.items()):
        uses[f"{name} Request"] = (verb.request, "validation")
        if verb.result is not None:
            uses[f"{name} Result"] = (verb.result, "serialization")
        uses |= {f"{name} {event}": (model, "serialization") for event, model in verb.events.items()}
    uses |= {name: (model, "serialization") for name, model in unsolicited.items()}
    inputs = sorted(set(uses.values()), key=str)
    found, rest = models_json_schema(inputs, ref_template=TEMPLATE, schema_generator=_Generator)
    better: dict[str, str] = {}
    for use, key in uses.items():
        name = found[key]["$ref"].rpartition("/")[2]
        if name not in better and (name.startswith("_") or "__" in name or "-" in name):
            better[name] = re.sub(r"[ .]", "", use)
    definitions: dict[str, Document] = rest["$defs"]
    schemas = {better.get(name, name): _renamed(schema, better) for name, schema in definitions.items()}
    return {use: _renamed(found[key], better)["$ref"] for use, key in uses.items()}, schemas


def _renamed(node: Any, better: Mapping[str, str]) -> Any:  # noqa: ANN401 - any part of a JSON document
    if isinstance(node, dict):
        renamed = {key: _renamed(value, better) for key, value in node.items()}
        if isinstance(node.get("$ref"), str):
            name = node["$ref"].rpartition("/")[2]
            renamed["$ref"] = TEMPLATE.format(model=better.get(name, name))
        if isinstance(node.get("discriminator"), dict):  # AsyncAPI names the property and has no mapping
            renamed["discriminator"] = node["discriminator"]["propertyName"]
        return renamed
    if isinstance(node, list):
        return [_renamed(value, better) for value in node]
    return node
