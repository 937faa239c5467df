"""Typed routes: a decorator reads the handler's annotations once, at registration.

A handler is `async def name(call: Call, <path parameters>, query: Model, body: Model) -> Result`. Path parameters
are `str`, `int`, `bool` or an enumeration (also `Annotated[...]`); `query` is a model; `body` is anything
pydantic can validate from JSON; the result is `None` (204), a `FileBody`, an aiohttp response (a WebSocket), or
anything pydantic can serialise. A mistake in the signature is a `RouteError` when the module that builds the
routes runs, not at the first request.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import NoneType
from typing import Annotated, Any, Final, TypedDict, TypeVar, Unpack, get_args, get_origin, get_type_hints

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from kit.web.call import Call, FileBody

Handler = Callable[..., Awaitable[object]]
H = TypeVar("H", bound=Handler)

_PATH_NAME: Final = re.compile(r"\{(\w+)\}")
_PATH: Final = re.compile(r"(/([\w.~-]+|\{\w+\}))+|/")
_PATH_TYPES: Final = (str, int, bool)
_RESERVED: Final = ("query", "body")


class RouteError(Exception):
    """A route is declared wrongly."""


class Result(StrEnum):
    """How the return value of a handler becomes a response."""

    EMPTY = "empty"
    JSON = "json"
    FILE = "file"
    RAW = "raw"


class Extras(TypedDict, total=False):
    """The optional arguments of the decorators."""

    status: int
    """The status of success, 200 unless told."""
    responses: Mapping[int, str]
    """Problems a client must expect, by status: for the document only."""
    deprecated: bool
    body_bytes: int
    """A smaller limit than the server's for this body."""


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """What the decorator says beyond the path."""

    permission: str | None
    summary: str
    status: int = 200
    responses: Mapping[int, str] = field(default_factory=dict)
    deprecated: bool = False
    body_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PathParameter:
    """One `{name}` of the path; plain text has no adapter."""

    name: str
    annotation: object
    adapter: TypeAdapter[Any] | None  # Any: the handler's own annotation decides


@dataclass(frozen=True, slots=True)
class QueryModel:
    """The model of the query string; `lists` are the keys that may be repeated."""

    model: type[BaseModel]
    adapter: TypeAdapter[Any]  # Any: the handler's own annotation decides
    lists: frozenset[str]


@dataclass(frozen=True, slots=True)
class Operation:
    """A route with everything read from its handler."""

    id: str
    tag: str
    method: str
    path: str
    options: RouteOptions
    handler: Handler
    description: str
    path_parameters: tuple[PathParameter, ...]
    query: QueryModel | None
    body: TypeAdapter[Any] | None  # Any: the handler's own annotation decides
    body_is_optional: bool
    result: Result
    result_adapter: TypeAdapter[Any] | None  # Any: the handler's own annotation decides

    @property
    def status(self) -> int:
        """The status of success."""
        return 204 if self.result is Result.EMPTY else self.options.status


class Routes:
    """A group of routes under one tag, built by a function that closes over its service."""

    def __init__(self, tag: str) -> None:
        """Start an empty group; the tag is the first half of every operation id."""
        self.tag = tag
        self.operations: list[Operation] = []

    def get(self, path: str, *, permission: str | None, summary: str, **options: Unpack[Extras]) -> Callable[[H], H]:
        """Register a safe read. Raises: RouteError."""
        return self._register("GET", path, RouteOptions(permission, summary, **options))

    def post(self, path: str, *, permission: str | None, summary: str, **options: Unpack[Extras]) -> Callable[[H], H]:
        """Register a creation or an action. Raises: RouteError."""
        return self._register("POST", path, RouteOptions(permission, summary, **options))

    def put(self, path: str, *, permission: str | None, summary: str, **options: Unpack[Extras]) -> Callable[[H], H]:
        """Register a replacement. Raises: RouteError."""
        return self._register("PUT", path, RouteOptions(permission, summary, **options))

    def patch(self, path: str, *, permission: str | None, summary: str, **options: Unpack[Extras]) -> Callable[[H], H]:
        """Register a partial change. Raises: RouteError."""
        return self._register("PATCH", path, RouteOptions(permission, summary, **options))

    def delete(self, path: str, *, permission: str | None, summary: str, **options: Unpack[Extras]) -> Callable[[H], H]:
        """Register a removal. Raises: RouteError."""
        return self._register("DELETE", path, RouteOptions(permission, summary, **options))

    def _register(self, method: str, path: str, options: RouteOptions) -> Callable[[H], H]:
        def decorate(handler: H) -> H:
            self.operations.append(_read(self.tag, method, path, options, handler))
            return handler

        return decorate


def _read(tag: str, method: str, path: str, options: RouteOptions, handler: Handler) -> Operation:
    where = f"{method} {path} ({getattr(handler, '__qualname__', handler)})"
    if not _PATH.fullmatch(path):
        raise RouteError(f"{where}: a path is /segments of letters, digits, ._~- or {{name}}")
    if options.permission == "":
        raise RouteError(f"{where}: permission is a name, or None for a public route")
    hints = _hints(where, handler)
    parameters = _parameters(where, handler, hints)
    names = tuple(_PATH_NAME.findall(path))
    if set(names) != set(parameters) - set(_RESERVED) or len(set(names)) != len(names):
        raise RouteError(
            f"{where}: the path has {sorted(names)}, the handler {sorted(set(parameters) - set(_RESERVED))}"
        )
    if "body" in parameters and method == "GET":
        raise RouteError(f"{where}: a GET has no body")
    body = hints.get("body") if "body" in parameters else None
    kind, adapter = _result(where, hints.get("return", inspect.Parameter.empty))
    return Operation(
        id=f"{tag}.{handler.__name__}",
        tag=tag,
        method=method,
        path=path,
        options=options,
        handler=handler,
        description=inspect.getdoc(handler) or "",
        path_parameters=tuple(_path_parameter(where, name, hints[name]) for name in names),
        query=_query(where, hints["query"]) if "query" in parameters else None,
        body=None if body is None else TypeAdapter(body),
        body_is_optional=body is not None and NoneType in get_args(body),
        result=kind,
        result_adapter=adapter,
    )


def _hints(where: str, handler: Handler) -> dict[str, Any]:
    if not inspect.iscoroutinefunction(handler):
        raise RouteError(f"{where}: a handler is an async function")
    try:
        return get_type_hints(handler, include_extras=True)
    except NameError as unknown:
        raise RouteError(
            f"{where}: {unknown}; annotations are read at run time, so import the type outside TYPE_CHECKING"
        ) from unknown


def _parameters(where: str, handler: Handler, hints: Mapping[str, Any]) -> list[str]:
    names = list(inspect.signature(handler).parameters)
    first = hints.get(names[0]) if names else None
    if not (first is Call or get_origin(first) is Call):
        raise RouteError(f"{where}: the first parameter is `call: Call`")
    for name in names[1:]:
        if name not in hints:
            raise RouteError(f"{where}: parameter {name} has no annotation")
    return names[1:]


def _path_parameter(where: str, name: str, annotation: Any) -> PathParameter:  # noqa: ANN401 - an annotation
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if bare not in _PATH_TYPES and not (isinstance(bare, type) and issubclass(bare, Enum)):
        raise RouteError(f"{where}: path parameter {name} is {bare}, but must be str, int, bool or an enumeration")
    return PathParameter(name, annotation, None if annotation is str else TypeAdapter(annotation))


def _query(where: str, annotation: Any) -> QueryModel:  # noqa: ANN401 - an annotation
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise RouteError(f"{where}: query is {annotation}, but must be a pydantic model")
    lists = frozenset(
        item.alias or name
        for name, item in annotation.model_fields.items()
        if any(
            get_origin(part) in {list, tuple, set, frozenset} for part in (item.annotation, *get_args(item.annotation))
        )
    )
    return QueryModel(annotation, TypeAdapter(annotation), lists)


def _result(where: str, annotation: Any) -> tuple[Result, TypeAdapter[Any] | None]:  # noqa: ANN401 - an annotation
    if annotation is inspect.Parameter.empty:
        raise RouteError(f"{where}: the return type is missing")
    if annotation is NoneType:
        return Result.EMPTY, None
    if annotation is FileBody:
        return Result.FILE, None
    if isinstance(annotation, type) and issubclass(annotation, web.StreamResponse):
        return Result.RAW, None
    return Result.JSON, TypeAdapter(annotation)
