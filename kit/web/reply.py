"""Turning what a handler returned into a response."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from aiohttp import web

from kit.web.call import FileBody
from kit.web.limits import Limits
from kit.web.reading import LIMITS
from kit.web.routes import Operation, Result

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from kit.web.call import Call, Cookie

_JSON_HEADERS: Final = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def render(operation: Operation, value: object, call: Call[Any]) -> web.StreamResponse:  # Any: any principal
    """Build the response of a finished operation."""
    if operation.result is Result.JSON and operation.result_adapter is not None:
        headers = {**_JSON_HEADERS, **call.headers} if call.headers else _JSON_HEADERS
        body = operation.result_adapter.serializer.to_json(value, by_alias=True)
        response: web.StreamResponse = web.Response(body=body, status=operation.options.status, headers=headers)
    elif operation.result is Result.EMPTY:
        response = web.Response(status=204, headers=call.headers)
    elif isinstance(value, FileBody):
        response = file_response(value, call.headers)
    elif isinstance(value, web.StreamResponse):
        return value
    else:
        raise TypeError(f"{operation.id} returned {type(value).__name__}, declared is {operation.result}")
    for cookie in call.cookies:
        _set_cookie(response, cookie)
    return response


def file_response(body: FileBody, extra: dict[str, str]) -> web.StreamResponse:
    """Answer with bytes or a file; ranges and conditional requests work for files on disk."""
    headers = {"Content-Type": body.content_type, "Cache-Control": "no-store", **extra}
    if body.filename is not None:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(body.filename, safe='')}"
    if isinstance(body.content, Path):
        return PacedFile(body.content, headers=headers)
    return web.Response(body=body.content, headers=headers)


class PacedFile(web.FileResponse):
    """A file whose reader must keep a minimum pace: the kernel sends it, so no other stall timer sees it."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the file. Raises: ConnectionResetError when the client took too long."""
        limits = request.app.get(LIMITS, Limits()) if isinstance(request, web.Request) else Limits()
        transport = request.transport
        try:
            size = (await asyncio.to_thread(self._path.stat)).st_size
        except OSError:
            size = 0
        try:
            async with asyncio.timeout(limits.write_stall_s + size / limits.file_bytes_per_s):
                return await super().prepare(request)
        except TimeoutError:
            if transport is not None:
                transport.abort()
            raise ConnectionResetError("the client reads too slowly") from None


def _set_cookie(response: web.StreamResponse, cookie: Cookie) -> None:
    response.set_cookie(
        cookie.name,
        cookie.value,
        max_age=cookie.max_age_s,
        path=cookie.path,
        secure=cookie.secure,
        httponly=cookie.http_only,
        samesite=cookie.same_site,
    )
