"""One HTTP connection under deadlines: aiohttp itself waits for ever on a request head (measured with 3.14.5).

Cut are: a connection that says nothing or drips its head, a client that takes nothing of what we send, and
connections beyond the cap. The deadline of the body is in `kit.web.guard`, where the handler can be stopped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from kit.web.problem import SAFE_HEADERS, incident, of_status, problem_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.web.limits import Limits

_SERVER_ERROR: Final = 500
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def _ignore(reason: str) -> None:
    """Nobody counts."""
    del reason


class Connections:
    """How many connections a server has, against its cap."""

    __slots__ = ("is_full", "limit", "open", "refused", "tell")

    def __init__(self, limit: int, tell: Callable[[str], None] | None = None) -> None:
        """Start with none; `tell` is told why a connection was turned away or cut."""
        self.limit = limit
        self.tell = tell or _ignore
        self.open = 0
        self.refused = 0
        self.is_full = False

    def enter(self) -> bool:
        """Count one more; False when there is no room."""
        if self.open >= self.limit:
            self.refused += 1
            self.tell("connections_full")
            if not self.is_full:
                self.is_full = True
                _log.warning("http.full", connections=self.open)
            return False
        self.open += 1
        return True

    def leave(self) -> None:
        """Count one less."""
        self.open -= 1
        if self.is_full and self.open <= self.limit * 0.9:
            self.is_full = False
            _log.info("http.room_again", connections=self.open, refused=self.refused)


class GuardedHandler(web.RequestHandler):
    """aiohttp's connection handler with deadlines and caps."""

    __slots__ = (
        "_admitted",
        "_connections",
        "_head_bytes",
        "_head_timer",
        "_limits",
        "_stall_timer",
        "_unsent_bytes",
        "has_long_head",
    )

    def __init__(
        self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, limits: Limits, connections: Connections
    ) -> None:
        """Prepare for one connection; `limits` sets everything."""
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=limits.keepalive_s,
            access_log=None,  # type: ignore[arg-type] # None is how aiohttp itself turns it off
            max_line_size=limits.line_bytes,
            max_headers=limits.headers,
            max_field_size=limits.field_bytes,
            lingering_time=limits.linger_s,
            auto_decompress=False,
        )
        self._limits = limits
        self._connections = connections
        self._admitted = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._unsent_bytes = 0
        self.has_long_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the head deadline, or turn the connection away when there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - HTTP runs on nothing else
        if not self._connections.enter():
            self._force_close = True
            transport.write(_BUSY)
            transport.close()
            return
        self._admitted = True
        # With no slack, pause_writing means "some bytes could not be sent", which is what the stall timer watches.
        transport.set_write_buffer_limits(high=0)
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timers and make room."""
        self._stop_head_timer()
        self._stop_stall_timer()
        if self._admitted:
            self._admitted = False
            self._connections.leave()
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser and watch how long, in time and bytes, the head takes."""
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            self._stop_head_timer()
            self.has_long_head = self._head_bytes + len(data) > self._limits.head_bytes
            self._head_bytes = 0
            return
        waiter = self._waiter
        if self._head_timer is None and (waiter is None or waiter.done() or self._upgraded):
            return  # the body of a running request, or WebSocket frames
        self._start_head_timer()
        self._head_bytes += len(data)
        if self._head_bytes > self._limits.head_bytes and self.transport is not None:
            self._connections.tell("head_too_large")
            self.transport.write(_HEAD_TOO_LARGE)
            self.force_close()

    def pause_writing(self) -> None:
        """Start to watch a client that does not read."""
        super().pause_writing()
        if self._stall_timer is None and self.transport is not None:
            self._watch_stall(self.transport)

    def resume_writing(self) -> None:
        """Everything was sent."""
        self._stop_stall_timer()
        super().resume_writing()

    def skip_linger(self) -> None:
        """Close right after the answer: the rest of the body is too slow to wait for."""
        self._lingering_time = 0.0

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what the parser refused, or what escaped every handler, without repeating any of it."""
        del message  # quotes the input
        if request.writer.output_size > 0:
            raise ConnectionError("the response has started, no other can follow")
        if status >= _SERVER_ERROR and exc is not None:
            problem = incident(exc)
        else:
            problem = of_status(431 if isinstance(exc, LineTooLong) else status)
            self._connections.tell("head_too_large" if isinstance(exc, LineTooLong) else "head_invalid")
            _log.info("http.refused", status=problem.status, reason=type(exc).__name__, remote=request.remote)
        response = problem_response(problem, None)
        response.headers.extend(SAFE_HEADERS)
        response.force_close()
        return response

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._limits.head_deadline_s, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        _log.debug("http.head_late", bytes=self._head_bytes)
        self._connections.tell("head_late")
        self.force_close()

    def _watch_stall(self, transport: asyncio.Transport) -> None:
        self._unsent_bytes = transport.get_write_buffer_size()
        self._stall_timer = self._loop.call_later(self._limits.write_stall_s, self._check_stall, transport)

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _check_stall(self, transport: asyncio.Transport) -> None:
        taken_bytes = self._unsent_bytes - transport.get_write_buffer_size()
        if taken_bytes < self._limits.write_stall_s * self._limits.file_bytes_per_s:
            self._stall_timer = None
            _log.info("http.reader_stalled", unsent_bytes=self._unsent_bytes)
            self._connections.tell("reader_stalled")
            transport.abort()
        else:
            self._watch_stall(transport)
