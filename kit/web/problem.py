"""Errors as `application/problem+json` (RFC 9457), never repeating what the client sent.

Members beyond the RFC: `code` (stable, for programs and translation tables) and `request_id`; a validation
problem has `errors`, a list of `{location, code, message}`.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

REQUEST_ID: Final = web.RequestKey("request_id", str)
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
PROBLEM_TYPE: Final = "application/problem+json"

SAFE_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Server", "web"),
)
"""Added to every response that does not set them itself."""

# pydantic messages of these kinds quote the input; the replacement does not.
_QUOTING: Final[Mapping[str, str]] = {
    "union_tag_invalid": "Input tag is not one of the expected tags",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input violates URL syntax",
    "get_attribute_error": "Input could not be read",
    "iteration_error": "Input could not be read",
    "mapping_type": "Input should be a valid mapping",
    "bytes_invalid_encoding": "Input has an invalid encoding",
    "datetime_object_invalid": "Input should be a valid datetime",
}
_ERRORS_MAX: Final = 20


class Problem(Exception):
    """An expected failure with a stable code, shown to the client."""

    def __init__(  # noqa: PLR0913 - the members of the RFC
        self,
        status: int,
        code: str,
        title: str,
        detail: str | None = None,
        extra: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        closes: bool = False,
    ) -> None:
        """Promise an answer of `status` with the given members; none of them may contain client input.

        `closes` ends the connection after the answer.
        """
        super().__init__(f"{status} {code}: {title}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        self.closes = closes


def problem_response(problem: Problem, request_id: str | None) -> web.Response:
    """Build the HTTP answer of a problem."""
    document: dict[str, object] = {
        "type": f"urn:problem-type:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
    }
    if problem.detail is not None:
        document["detail"] = problem.detail
    if request_id is not None:
        document["request_id"] = request_id
    document.update(problem.extra)
    headers = {"Content-Type": PROBLEM_TYPE, "Cache-Control": "no-store", **problem.headers}
    response = web.Response(status=problem.status, headers=headers, body=to_json(document))
    if problem.closes:
        response.force_close()
    return response


def incident(error: BaseException, **fields: object) -> Problem:
    """Log an unexpected error under a fresh id and return the 500 that names only the id."""
    number = secrets.token_hex(6)
    _log.error("http.incident", incident=number, exc_info=error, **fields)
    return Problem(500, "internal_error", "Something went wrong on our side", extra={"incident": number})


def broken_stream(error: Exception, **fields: object) -> ConnectionResetError:
    """Give up a response that has begun; only what is not the client's going away is an incident."""
    if not isinstance(error, ConnectionError):
        incident(error, **fields)
    return ConnectionResetError("the response broke off")


def invalid_input(error: ValidationError, where: str, names: Collection[str]) -> Problem:
    """Say what is wrong with the request in the terms of the schema only.

    `names` are the field names the schema knows: any other text in a location came from the client and is
    replaced by `*`.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [_error(item, where, names) for item in found[:_ERRORS_MAX]]
    return Problem(422, "invalid_request", "The request does not match the schema", extra={"errors": errors})


def _error(item: ErrorDetails, where: str, names: Collection[str]) -> dict[str, str]:
    parts = [str(part) if isinstance(part, int) or part in names else "*" for part in item["loc"]]
    kind = item["type"]
    return {"location": ".".join((where, *parts)), "code": kind, "message": _QUOTING.get(kind, item["msg"])}


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Turn a bare HTTP status (a 404 of the router, say) into a problem."""
    phrase = HTTPStatus(status).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(status, code, phrase, headers=headers)


def of_http_exception(error: web.HTTPException) -> Problem:
    """Turn an aiohttp error into a problem, keeping only the headers that belong to the status."""
    kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    return of_status(error.status, kept)
