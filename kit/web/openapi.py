"""The OpenAPI 3.1 document of a set of operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from kit.web.call import SIGNED_IN
from kit.web.routes import Operation, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.json_schema import JsonSchemaMode
    from pydantic_core.core_schema import DataclassField, ModelField, TypedDictField

Schema = dict[str, Any]  # Any: a JSON document
_Key = tuple[str, str]
_Input = tuple[_Key, "JsonSchemaMode", TypeAdapter[Any]]

_TEMPLATE: Final = "#/components/schemas/{model}"
_PROBLEM: Final[Schema] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "incident": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "location": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
                "required": ["location", "code", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "code"],
}
_SECURITY: Final[Schema] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": "session"},
}


class _Generator(GenerateJsonSchema):
    """A field with a default may be left out of a request, but is always in a response."""

    def field_is_required(
        self,
        field: ModelField | DataclassField | TypedDictField,
        total: bool,  # noqa: FBT001 - pydantic's signature
    ) -> bool:
        if self.mode == "serialization" and field["type"] != "typed-dict-field":
            return not field.get("serialization_exclude")
        return super().field_is_required(field, total)


def document(title: str, version: str, operations: Sequence[Operation]) -> Schema:
    """Describe the operations; every schema is a component, every failure a problem."""
    schemas, definitions = _schemas(operations)
    paths: Schema = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas, definitions)
    used = _used(paths, definitions)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **{name: definitions[name] for name in sorted(used)}},
            "responses": {
                "Problem": {
                    "description": "The request failed",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
            "securitySchemes": _SECURITY,
        },
    }


def _schemas(operations: Sequence[Operation]) -> tuple[dict[_Key, Schema], Schema]:
    inputs: list[_Input] = []
    for operation in operations:
        for parameter in operation.path_parameters:
            adapter = parameter.adapter or TypeAdapter(str)
            inputs.append(((operation.id, f"path.{parameter.name}"), "validation", adapter))
        if operation.query is not None:
            inputs.append(((operation.id, "query"), "validation", operation.query.adapter))
        if operation.body is not None:
            inputs.append(((operation.id, "body"), "validation", operation.body))
        if operation.result_adapter is not None:
            inputs.append(((operation.id, "result"), "serialization", operation.result_adapter))
    if not inputs:
        return {}, {}
    mapping, rest = TypeAdapter.json_schemas(inputs, ref_template=_TEMPLATE, schema_generator=_Generator)
    return {key: schema for (key, _), schema in mapping.items()}, rest.get("$defs", {})


def _operation(operation: Operation, schemas: dict[_Key, Schema], definitions: Schema) -> Schema:
    permission = operation.options.permission
    described: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.options.summary,
        "x-permission": permission,
        "security": [] if permission is None else [{"session": []}, {"bearer": []}],
        "responses": _responses(operation, schemas),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.options.deprecated:
        described["deprecated"] = True
    parameters = _parameters(operation, schemas, definitions)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": not operation.body_is_optional,
            "content": {"application/json": {"schema": schemas[operation.id, "body"]}},
        }
    return described


def _parameters(operation: Operation, schemas: dict[_Key, Schema], definitions: Schema) -> list[Schema]:
    found: list[Schema] = [
        {"name": item.name, "in": "path", "required": True, "schema": schemas[operation.id, f"path.{item.name}"]}
        for item in operation.path_parameters
    ]
    if operation.query is None:
        return found
    model = schemas[operation.id, "query"]
    if "$ref" in model:
        model = definitions[model["$ref"].rpartition("/")[2]]
    required = model.get("required", ())
    for name, schema in model.get("properties", {}).items():
        parameter: Schema = {"name": name, "in": "query", "required": name in required, "schema": schema}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return found


def _responses(operation: Operation, schemas: dict[_Key, Schema]) -> Schema:
    responses: Schema = {str(operation.status): _success(operation, schemas)}
    if operation.options.permission is not None:
        responses["401"] = {"$ref": "#/components/responses/Problem"}
    if operation.options.permission not in {None, SIGNED_IN}:
        responses["403"] = {"$ref": "#/components/responses/Problem"}
    if operation.path_parameters or operation.query is not None or operation.body is not None:
        responses["422"] = {"$ref": "#/components/responses/Problem"}
    for status, description in operation.options.responses.items():
        responses[str(status)] = {
            "description": description,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    responses["default"] = {"$ref": "#/components/responses/Problem"}
    return responses


def _success(operation: Operation, schemas: dict[_Key, Schema]) -> Schema:
    match operation.result:
        case Result.JSON:
            content = {"application/json": {"schema": schemas[operation.id, "result"]}}
            return {"description": "Success", "content": content}
        case Result.FILE:
            return {"description": "A file", "content": {"application/octet-stream": {}}}
        case Result.RAW:
            return {"description": "A stream or WebSocket"}
        case Result.EMPTY:
            return {"description": "Success, without content"}


def _used(paths: Schema, definitions: Schema) -> set[str]:
    """Return the names of the definitions reachable from the paths: a query model is spread out and not among them."""
    used: set[str] = set()
    todo: list[object] = [paths]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str) and re.match("#/components/schemas/", reference):
                name = reference.rpartition("/")[2]
                if name in definitions and name not in used:
                    used.add(name)
                    todo.append(definitions[name])
            mapping = node.get("mapping")
            todo.extend(node.values())
            if isinstance(mapping, dict):
                todo.extend({"$ref": target} for target in mapping.values())
        elif isinstance(node, list):
            todo.extend(node)
    return used
