"""Default deny in front of every handler: who may talk to this server, from which page, with what kind of body.

A browser will send a hostile page's requests to any address it can reach: a plain-text POST, a WebSocket, and
after DNS rebinding even a readable GET. So the Host must be one of ours, a WebSocket or an unsafe method needs an
Origin of ours, a body must be JSON, and a request that rides on a cookie must carry a header no other page can add.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from kit.web.limits import Limits
from kit.web.problem import (
    REQUEST_ID,
    SAFE_HEADERS,
    Problem,
    broken_stream,
    incident,
    of_http_exception,
    problem_response,
)
from kit.web.protocol import GuardedHandler
from kit.web.reading import too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    _Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
JSON_TYPES: Final = frozenset({"application/json"})
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_ACCEPTED_MAX: Final = 100
_ERROR_STATUS: Final = 400


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Who may talk to the server."""

    hosts: frozenset[str]
    """Names and addresses this server is reached by, without port; anything else is answered 421."""
    origins: frozenset[str] = frozenset()
    """Pages of other origins that may use the API (`https://name[:port]`); a page we served ourselves always may."""
    origin_required: bool = True
    """Refuse unsafe requests without Origin too. False where programs that are not browsers call the API."""
    body_types: frozenset[str] = JSON_TYPES
    limits: Limits = field(default_factory=Limits)
    refused: Callable[[str], None] | None = None
    """Told the reason of every request or connection that is turned away before any handler, for metrics.

    Reasons are the codes of the problems, and `connections_full`, `head_late`, `head_invalid`, `reader_stalled`.
    """


class Guard:
    """The checks, in front of a server."""

    def __init__(self, settings: GuardSettings) -> None:
        """Prepare the tables; nothing is open yet."""
        self.settings = settings
        self.limits = settings.limits
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._accepted: set[str] = set()
        """Host headers seen and found good, so that the next request need not look closely."""
        self._pages: set[tuple[str, str]] = set()
        """The same for pairs of Host and Origin."""
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)

    def around(self, handler: _Handler) -> _Handler:
        """Return the handler of a whole server with the guard in front: nothing is routed before it is admitted."""
        return partial(self._guarded, handler)

    def admit(self, request: web.BaseRequest) -> None:
        """Let a request pass.

        Raises:
            Problem: it is none of ours; nothing has been read from its body.

        """
        headers = request.headers
        self._check_target(request)
        is_unsafe = request.method not in SAFE_METHODS
        if is_unsafe or headers.get("Upgrade", "").strip().lower() == "websocket":
            self._check_page(request, is_unsafe=is_unsafe)
        elif headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate":
            raise Problem(403, "origin_refused", "Requests from other sites are refused")
        if request.body_exists:
            self._check_body(request, is_unsafe=is_unsafe)

    def _check_target(self, request: web.BaseRequest) -> None:
        hosts = request.headers.getall("Host", ())
        if len(hosts) != 1:
            raise Problem(400, "host_invalid", "Exactly one Host header is required", closes=True)
        if hosts[0] not in self._accepted and not self._accepts(hosts[0]):
            raise Problem(421, "host_unknown", "This server does not answer for that name", closes=True)
        if request.version.major != 1:
            raise Problem(505, "version_refused", "HTTP/1.1 is required", closes=True)
        if not request.raw_path.startswith("/"):
            raise Problem(400, "target_invalid", "The request target must be a path", closes=True)
        protocol = request.protocol
        if (
            isinstance(protocol, GuardedHandler)
            and protocol.has_long_head
            and head_bytes(request) > self.limits.head_bytes
        ):
            raise Problem(431, "head_too_large", "The request head is too large", closes=True)

    def _accepts(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None or match.group(1).lower() not in self._hosts:
            return False
        if len(self._accepted) < _ACCEPTED_MAX:
            self._accepted.add(host)
        return True

    def _check_page(self, request: web.BaseRequest, *, is_unsafe: bool) -> None:
        headers = request.headers
        origins = headers.getall("Origin", ())
        if origins:
            if len(origins) > 1 or ((headers["Host"], origins[0]) not in self._pages and not self._is_page(request)):
                raise Problem(403, "origin_refused", "Requests from that page are refused", closes=True)
        elif not is_unsafe or self.settings.origin_required:
            raise Problem(403, "origin_required", "An Origin header is required", closes=True)
        if is_unsafe and "Cookie" in headers and "Authorization" not in headers and "X-Requested-By" not in headers:
            raise Problem(403, "csrf_header_required", "An X-Requested-By header is required", closes=True)

    def _is_page(self, request: web.BaseRequest) -> bool:
        host, origin = request.headers["Host"], request.headers["Origin"]
        if origin.lower() != f"{request.scheme}://{host}".lower() and origin not in self.settings.origins:
            return False
        if len(self._pages) < _ACCEPTED_MAX:
            self._pages.add((host, origin))
        return True

    def _check_body(self, request: web.BaseRequest, *, is_unsafe: bool) -> None:
        if not is_unsafe:
            raise Problem(400, "body_unexpected", "This method has no body", closes=True)
        headers = request.headers
        if headers.get("Content-Type") not in self.settings.body_types and (
            request.content_type not in self.settings.body_types or (request.charset or "utf-8").lower() != "utf-8"
        ):
            raise Problem(
                415,
                "content_type_refused",
                "The body must be JSON",
                extra={"accepted": sorted(self.settings.body_types)},
                closes=True,
            )
        if "Content-Encoding" in headers:
            raise Problem(415, "content_encoding_refused", "The body must not be compressed", closes=True)
        length = request.content_length
        if length is not None and length > self.limits.body_bytes:
            raise too_large(self.limits.body_bytes)

    async def _guarded(self, handler: _Handler, request: web.BaseRequest) -> web.StreamResponse:
        request_id = self._request_id(request)
        request[REQUEST_ID] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            self._admit(request)
            if request.body_exists and not request.content.is_eof():
                response = await self._before_body_deadline(request, handler)
            else:
                response = await handler(request)
        except Problem as problem:
            response = problem_response(problem, request_id)
        except web.HTTPException as error:
            if error.status < _ERROR_STATUS:
                self._complete(error, request_id)
                raise
            response = problem_response(of_http_exception(error), request_id)
        except Exception as error:
            if request.writer.output_size > 0:
                raise broken_stream(error, path=request.path) from error
            response = problem_response(incident(error, path=request.path), request_id)
        if not response.prepared:
            self._complete(response, request_id)
        return response

    def _admit(self, request: web.BaseRequest) -> None:
        try:
            self.admit(request)
        except Problem as problem:
            self._tell(problem.code)
            raise

    def _tell(self, reason: str) -> None:
        if self.settings.refused is not None:
            self.settings.refused(reason)

    def _request_id(self, request: web.BaseRequest) -> str:
        given = request.headers.get("X-Request-Id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return f"{self._prefix}-{next(self._numbers):08x}"

    async def _before_body_deadline(self, request: web.BaseRequest, handler: _Handler) -> web.StreamResponse:
        """Run the handler, but give up when the body has not arrived in time; the handler itself may take longer."""
        loop = asyncio.get_running_loop()

        def expire() -> None:
            if not request.content.is_eof():
                deadline.reschedule(loop.time())

        try:
            async with asyncio.timeout(None) as deadline:
                timer = loop.call_later(self.limits.body_deadline_s, expire)
                try:
                    return await handler(request)
                finally:
                    timer.cancel()
        except TimeoutError:
            if not deadline.expired():
                raise
            self._tell("body_timeout")
            raise Problem(408, "body_timeout", "The body did not arrive in time", closes=True) from None

    def _complete(self, response: web.StreamResponse, request_id: str) -> None:
        headers = response.headers
        headers["X-Request-Id"] = request_id
        if "Content-Security-Policy" in headers:
            for name, value in SAFE_HEADERS:
                headers.setdefault(name, value)
        else:
            headers.extend(SAFE_HEADERS)


def head_bytes(request: web.BaseRequest) -> int:
    """Return the size of the request head as it came over the wire."""
    fields = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    return len(request.method) + len(request.raw_path) + 14 + fields
