"""The API of a process: routes made callable, with permission check, validation, problems, audit and document.

Order of a request: permission (401, 403), path and query and body (422), handler, response. Whatever a handler
raises beyond `Problem` (and what `translate` maps to one) is answered 500 with an incident id; the details go to
the log only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic

from aiohttp import web
from pydantic import ValidationError
from typing_extensions import TypeVar

from kit.web.call import SIGNED_IN, Call, Principal, etag_matches
from kit.web.problem import (
    REQUEST_ID,
    Problem,
    broken_stream,
    incident,
    invalid_input,
    of_http_exception,
    problem_response,
)
from kit.web.reading import read_body, schema_names
from kit.web.reply import render
from kit.web.routes import Operation, QueryModel, RouteError, Routes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pydantic import TypeAdapter

P = TypeVar("P", bound=Principal, default=Principal)

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Audited(Generic[P]):
    """One unsafe operation that was attempted, allowed or not; or a safe one that somebody known may not do."""

    operation: str
    method: str
    path: str
    principal: P | None
    status: int
    code: str | None
    """The problem's code, None on success."""
    request_id: str
    remote: str


@dataclass(frozen=True, slots=True)
class Hooks(Generic[P]):
    """What a process adds around every operation."""

    authenticate: Callable[[web.Request], Awaitable[P | None]] | None = None
    """Who calls? None means nobody known; may raise `Problem` to refuse with a reason."""
    audit: Callable[[Audited[P]], Awaitable[None]] | None = None
    """Awaited after every unsafe operation and denied permission, before the answer; when it fails that is a 500."""
    translate: Callable[[Exception], Problem | None] | None = None
    """Domain errors as problems; None leaves the exception unexpected."""
    observe: Callable[[str, int, float], None] | None = None
    """Told operation id, status and seconds of every request, for metrics."""


class Api(Generic[P]):
    """A set of routes with one title, one version and one way to authenticate."""

    def __init__(self, title: str, version: str, routes: Sequence[Routes], hooks: Hooks[P] | None = None) -> None:
        """Collect the operations.

        Raises:
            RouteError: two operations share an id or a method and path, or a permission is asked for without
                anything that authenticates.

        """
        self.title = title
        self.version = version
        self.operations = [operation for group in routes for operation in group.operations]
        self._hooks: Hooks[P] = hooks or Hooks()
        self._check()

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document."""
        from kit.web.openapi import document  # noqa: PLC0415 - costs memory and only tools ask for it

        return document(self.title, self.version, self.operations)

    def mount(self, app: web.Application) -> None:
        """Add every operation to the application's router."""
        for operation in self.operations:
            endpoint = _Endpoint(operation, self._hooks)
            if operation.method == "GET":
                app.router.add_get(operation.path, endpoint.handle)
            else:
                app.router.add_route(operation.method, operation.path, endpoint.handle)

    def _check(self) -> None:
        ids: set[str] = set()
        places: set[tuple[str, str]] = set()
        for operation in self.operations:
            place = (operation.method, operation.path)
            if operation.id in ids or place in places:
                raise RouteError(f"{operation.id}: {operation.method} {operation.path} is declared twice")
            if operation.options.permission is not None and self._hooks.authenticate is None:
                raise RouteError(
                    f"{operation.id}: needs {operation.options.permission}, but the API has no `authenticate`"
                )
            ids.add(operation.id)
            places.add(place)


class _Endpoint(Generic[P]):
    """One operation as an aiohttp handler."""

    def __init__(self, operation: Operation, hooks: Hooks[P]) -> None:
        self._operation = operation
        self._hooks = hooks
        self._is_safe = operation.method in SAFE_METHODS
        self._takes_input = bool(operation.query or operation.body or operation.path_parameters)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Run the operation; whatever happens is an answer."""
        operation = self._operation
        observe = self._hooks.observe
        started = asyncio.get_running_loop().time() if observe is not None else 0.0
        principal: P | None = None
        problem: Problem | None = None
        try:
            if operation.options.permission is not None:
                principal = await self._principal(request, operation.options.permission)
            call = Call(request, principal)
            if self._takes_input:
                arguments = self._arguments(request)
                if operation.body is not None:
                    arguments["body"] = await _read_body(request, operation, operation.body)
                value = await operation.handler(call, **arguments)
            else:
                value = await operation.handler(call)
            response = render(operation, value, call)
            if self._is_safe and "ETag" in call.headers:
                response = _not_modified(request, response, call.headers["ETag"])
        except web.HTTPRedirection:
            raise
        except Exception as error:
            if request.writer.output_size > 0:  # a stream or WebSocket broke in the middle: there is no answer to give
                raise broken_stream(error, operation=operation.id) from error
            problem = self._problem(error)
            response = problem_response(problem, request.get(REQUEST_ID))
        if self._hooks.audit is not None and (not self._is_safe or isinstance(problem, _Forbidden)):
            response = await self._audited(request, principal, response, problem)
        if observe is not None:
            observe(operation.id, response.status, asyncio.get_running_loop().time() - started)
        return response

    async def _principal(self, request: web.Request, permission: str) -> P:
        authenticate = self._hooks.authenticate
        principal = None if authenticate is None else await authenticate(request)
        if principal is None:
            raise Problem(401, "unauthenticated", "Sign in first", headers={"WWW-Authenticate": "Bearer"})
        if permission != SIGNED_IN and permission not in principal.permissions:
            # The principal is known, so the audit row of the refusal must name it.
            raise _Forbidden(principal)
        return principal

    def _arguments(self, request: web.Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for parameter in self._operation.path_parameters:
            text = request.match_info[parameter.name]
            if parameter.adapter is None:
                arguments[parameter.name] = text
                continue
            try:
                arguments[parameter.name] = parameter.adapter.validate_python(text)
            except ValidationError as error:
                raise invalid_input(error, f"path.{parameter.name}", ()) from None
        if self._operation.query is not None:
            arguments["query"] = _read_query(request, self._operation.query)
        return arguments

    def _problem(self, error: Exception) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, web.HTTPException):
            return of_http_exception(error)
        translated = self._hooks.translate(error) if self._hooks.translate is not None else None
        return translated or incident(error, operation=self._operation.id)

    async def _audited(
        self, request: web.Request, principal: P | None, response: web.StreamResponse, problem: Problem | None
    ) -> web.StreamResponse:
        if isinstance(problem, _Forbidden):
            principal = problem.principal
        entry = Audited(
            operation=self._operation.id,
            method=request.method,
            path=request.path,
            principal=principal,
            status=response.status,
            code=None if problem is None else problem.code,
            request_id=request.get(REQUEST_ID, ""),
            remote=request.remote or "",
        )
        audit = self._hooks.audit
        try:
            if audit is not None:
                await audit(entry)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer must not claim success
            return problem_response(incident(error, operation=f"{self._operation.id} audit"), request.get(REQUEST_ID))
        return response


class _Forbidden(Problem):
    def __init__(self, principal: Any) -> None:  # noqa: ANN401 - an exception class cannot be generic
        super().__init__(403, "forbidden", "You have no permission for this")
        self.principal = principal


async def _read_body(request: web.Request, operation: Operation, adapter: TypeAdapter[Any]) -> object:  # Any: any body
    data = await read_body(request, operation.options.body_bytes)
    if not data and operation.body_is_optional:
        return None
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise invalid_input(error, "body", schema_names(adapter)) from None


def _read_query(request: web.Request, query: QueryModel) -> object:
    given = request.rel_url.query
    values: dict[str, object] = {key: given.getall(key) if key in query.lists else given[key] for key in given}
    try:
        return query.adapter.validate_python(values)
    except ValidationError as error:
        raise invalid_input(error, "query", schema_names(query.adapter)) from None


def _not_modified(request: web.Request, response: web.StreamResponse, etag: str) -> web.StreamResponse:
    header = request.headers.get("If-None-Match")
    if header is None or response.prepared or not etag_matches(header, etag):
        return response
    return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-cache"})
