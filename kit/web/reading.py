"""Reading request bodies within their limit, and the vocabulary of a schema."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from kit.web.limits import Limits
from kit.web.problem import Problem

if TYPE_CHECKING:
    from pydantic import TypeAdapter

LIMITS: Final = web.AppKey("limits", Limits)
_DEFAULT: Final = Limits()


async def read_body(request: web.Request, limit_bytes: int | None) -> bytes:
    """Return the whole body.

    Raises:
        Problem: 413 when it is longer than the limit, 400 when the client went away in the middle.

    """
    limit = request.app.get(LIMITS, _DEFAULT).body_bytes if limit_bytes is None else limit_bytes
    stream = request.content
    try:
        if stream.is_eof():
            data = stream.read_nowait()
            if len(data) > limit:
                raise too_large(limit)
            return data
        parts: list[bytes] = []
        size = 0
        while part := await stream.readany():
            size += len(part)
            if size > limit:
                raise too_large(limit)
            parts.append(part)
        return b"".join(parts)
    except (ConnectionError, web.RequestPayloadError) as error:
        raise Problem(400, "body_incomplete", "The body ended too early or is malformed") from error


def too_large(limit_bytes: int) -> Problem:
    """Say that a body is over the limit, and close the connection after the answer."""
    return Problem(413, "body_too_large", "The body is too large", extra={"limit_bytes": limit_bytes}, closes=True)


@lru_cache(maxsize=512)
def schema_names(adapter: TypeAdapter[Any]) -> frozenset[str]:  # Any: any schema
    """Return every field name the JSON Schema of this type knows, for locations in error messages."""
    names: set[str] = set()
    todo: list[object] = [adapter.json_schema()]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            properties = node.get("properties")
            if isinstance(properties, dict):
                names.update(properties)
            tags = node.get("discriminator")
            if isinstance(tags, dict):
                names.update(tags.get("mapping", ()))
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
    return frozenset(names)
