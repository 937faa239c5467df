"""`/platform/v1/…` of the local API: what pages may ask of the patient platform, and how long it may take.

A page has no certificate; the agent asks in its place. Only what is in the table passes, with the headers named here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from aiohttp import web

from agent.patient.link import Answer, NotEnrolled, PlatformLink, Unreachable
from kit.web import REQUEST_ID, Problem
from kit.web.reading import read_body

PREFIX: Final = "/platform/v1"
BODY_LIMIT_BYTES: Final = 65_536
AT_ONCE: Final = 16
LONG_POLL_S: Final = 25
LEASE_HEADER: Final = "X-Session-Lease"
KEY_HEADER: Final = "Idempotency-Key"
CONTRACT_HEADER: Final = "X-Platform-Contract"
_CONTRACT: Final = re.compile(r"[0-9]{1,4}")
_ASK_S, _PAY_S, _MARGIN_S = 12.0, 35.0, 5.0
_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")
_NUMBER = re.compile(r"\d{1,9}")
_PART = r"(?!\.+/|\.+$)(?:[A-Za-z0-9_.:~-]|%3A){1,128}"
Admit = Callable[[web.Request], Awaitable[object | None]]


class Observer(Protocol):
    """Looks at what passes; neither may fail, and nothing waits for anything else."""

    async def asking(self, operation: str, order: str | None) -> None:
        """A page asks; `order` where the path names one. Returns before the platform is asked."""

    async def answered(self, operation: str, order: str | None, answer: Answer) -> None:
        """The platform has answered."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One operation that may pass."""

    name: str
    method: str
    path: str
    limit_s: float = _ASK_S
    polls: bool = False
    """Whether `after` and `wait_s` may be asked for."""


_SESSION: Final = "/sessions/{session}"
PASSAGES: Final = (
    Passage("status", "GET", "/status"),
    Passage("begin_session", "POST", "/sessions"),
    Passage("end_session", "DELETE", _SESSION),
    Passage("bills", "GET", f"{_SESSION}/bills"),
    Passage("departments", "GET", f"{_SESSION}/departments"),
    Passage("doctors", "GET", f"{_SESSION}/departments/{{department}}/doctors"),
    Passage("slots", "GET", f"{_SESSION}/departments/{{department}}/doctors/{{doctor}}/slots"),
    Passage("lock_slot", "POST", f"{_SESSION}/slot-locks"),
    Passage("unlock_slot", "DELETE", f"{_SESSION}/slot-locks/{{lock}}"),
    Passage("make_order", "POST", f"{_SESSION}/orders"),
    Passage("papers", "GET", f"{_SESSION}/papers"),
    Passage("take_paper", "POST", f"{_SESSION}/papers/{{order}}"),
    Passage("pay", "POST", "/orders/{order}/pay", _PAY_S),
    Passage("cancel", "POST", "/orders/{order}/cancel"),
    Passage("order", "GET", "/orders/{order}", polls=True),
    Passage("fulfilment", "POST", "/orders/{order}/fulfilment"),
    Passage("receipt", "GET", "/orders/{order}/receipt"),
    Passage("open_orders", "GET", "/open-orders"),
)


class PlatformProxy:
    """The routes; without a platform every one of them says so."""

    def __init__(
        self,
        link: PlatformLink | None,
        observer: Observer | None = None,
        lease: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`lease` is the number of the session that is open on this kiosk, if one is."""
        self._link = link
        self._observer = observer
        self._lease = lease
        self._running = 0

    def mount(self, app: web.Application, admit: Admit) -> None:
        """Add the routes; `admit` says who asks, None lets nobody in."""
        for passage in PASSAGES:
            path = PREFIX + re.sub(r"\{(\w+)\}", rf"{{\1:{_PART}}}", passage.path)
            handler = partial(self._handle, passage, admit)
            if passage.method == "GET":
                app.router.add_get(path, handler, allow_head=False)
            else:
                app.router.add_route(passage.method, path, handler)

    async def _handle(self, passage: Passage, admit: Admit, request: web.Request) -> web.StreamResponse:
        if await admit(request) is None:
            raise Problem(401, "unauthenticated", "Sign in first", headers={"WWW-Authenticate": "Bearer"})
        if self._running >= AT_ONCE:
            raise Problem(429, "too_many_requests", "Too many requests at once")
        self._running += 1
        try:
            answer = await self._passed(passage, request)
        finally:
            self._running -= 1
        headers = {"Cache-Control": "no-store", **answer.headers}
        if answer.content_type is None:
            return web.Response(status=answer.status, headers=headers)
        return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type, headers=headers)

    async def _passed(self, passage: Passage, request: web.Request) -> Answer:
        if self._link is None:
            raise _unreachable("No patient platform is set")
        wait_s = _wait_s(passage, request)
        headers = self._headers(request)
        body = await read_body(request, BODY_LIMIT_BYTES) if passage.method == "POST" else None
        order = request.match_info.get("order")
        if self._observer is not None:
            await self._observer.asking(passage.name, order)
        limit_s = passage.limit_s if wait_s == 0 else wait_s + _MARGIN_S
        target = request.rel_url.raw_path + (f"?{request.rel_url.raw_query_string}" if request.query_string else "")
        try:
            answer = await self._link.ask(passage.method, target, limit_s=limit_s, body=body, headers=headers)
        except NotEnrolled:
            raise Problem(503, "not_enrolled", "This kiosk has no certificate yet") from None
        except Unreachable:
            raise _unreachable("The patient platform cannot be reached") from None
        if self._observer is not None:
            await self._observer.answered(passage.name, order, answer)
        return answer

    def _headers(self, request: web.Request) -> dict[str, str]:
        headers = {}
        key = request.headers.get(KEY_HEADER)
        if key is not None:
            if _KEY.fullmatch(key) is None:
                raise Problem(400, "idempotency_key_invalid", "8 to 64 letters, digits, - and _")
            headers[KEY_HEADER] = key
        contract = request.headers.get(CONTRACT_HEADER)
        if contract is not None and _CONTRACT.fullmatch(contract) is not None:
            headers[CONTRACT_HEADER] = contract
        lease = self._lease()
        if lease is not None:
            headers[LEASE_HEADER] = lease
        number = request.get(REQUEST_ID)
        if number is not None:
            headers["X-Request-Id"] = number
        return headers


def _wait_s(passage: Passage, request: web.Request) -> int:
    """How long the platform may wait for news. Raises: Problem."""
    query = request.query
    if not query:
        return 0
    is_known = passage.polls and set(query) <= {"after", "wait_s"} and len(query) == len(set(query))
    if not is_known or not all(_NUMBER.fullmatch(value) for value in query.values()):
        raise Problem(422, "invalid_request", "The request does not match the schema")
    wait_s = int(query.get("wait_s", "0"))
    if wait_s > LONG_POLL_S:
        raise Problem(422, "invalid_request", "The request does not match the schema")
    return wait_s


def _unreachable(title: str) -> Problem:
    return Problem(503, "platform_unreachable", title)
