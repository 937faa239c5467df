"""HTTPS to the patient platform with the kiosk's certificate; nothing of it is loaded before the first request.

Bodies have people in them: none is logged, and none is kept.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from agent.errors import AgentError
from kit.logs import get_logger

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECT_S: Final = 5.0
KEEPALIVE_S: Final = 15.0
"""Below what servers keep, so that no request goes into a connection they are about to close."""
CONNECTIONS: Final = 16
ANSWER_LIMIT_BYTES: Final = 1_048_576
JSON_TYPES: Final = ("application/json", "application/problem+json")
_PASSED_BACK: Final = ("Retry-After", "ETag")
log = get_logger(__name__)


class Unreachable(AgentError):
    """No answer of the platform, or none that makes sense; what was asked for may have happened all the same."""


class NotEnrolled(AgentError):
    """This kiosk has no certificate yet."""


class Credentials(Protocol):
    """The files of the kiosk's identity; equal as long as the certificate is the same."""

    @property
    def cert_file(self) -> Path:
        """Our certificate."""

    @property
    def key_file(self) -> Path:
        """Its key."""

    @property
    def ca_file(self) -> Path:
        """Whom we trust."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform said."""

    status: int
    content_type: str | None
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


class PlatformLink:
    """One platform; connections are kept a while, the certificate is the one in use at each request."""

    def __init__(self, url: str, credentials: Callable[[], Credentials | None], ca_file: Path | None = None) -> None:
        """A plain `http` address is used without a certificate; the settings allow it for this machine only."""
        self._url = url.rstrip("/")
        self._credentials = credentials
        self._ca_file = ca_file
        self._session: ClientSession | None = None
        self._context: tuple[Credentials, ssl.SSLContext] | None = None
        self._is_reached: bool | None = None

    async def ask(
        self,
        method: str,
        target: str,
        *,
        limit_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask the platform for `target`, a path with its query, as it is to be sent.

        Raises:
            NotEnrolled: there is no certificate to ask with; nothing was sent.
            Unreachable: no answer in time, or not one of JSON.
        """
        import aiohttp  # noqa: PLC0415 - kiosks without a platform do without its client
        from yarl import URL  # noqa: PLC0415 - the same

        context = await self._tls()
        sent = {"Accept": "application/json", **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            async with self._open().request(
                method,
                URL(f"{self._url}{target}", encoded=True),
                data=body,
                headers=sent,
                ssl=context,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_S),
            ) as response:
                answer = Answer(
                    response.status,
                    response.content_type if response.status != HTTPStatus.NO_CONTENT else None,
                    await _content(response.content),
                    {name: response.headers[name] for name in _PASSED_BACK if name in response.headers},
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._note(is_reached=False, reason=type(error).__name__)
            raise Unreachable(type(error).__name__) from error
        if _makes_no_sense(answer):
            self._note(is_reached=False, reason=f"answer {answer.status} of another kind")
            raise Unreachable("the answer is none of the platform's")
        self._note(is_reached=True)
        return answer

    async def close(self) -> None:
        """Let go of all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> ClientSession:
        import aiohttp  # noqa: PLC0415 - see `ask`

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=["User-Agent", "Accept-Encoding"],
            )
        return self._session

    async def _tls(self) -> ssl.SSLContext | bool:
        """The context for the identity in use. Raises: NotEnrolled, Unreachable."""
        if self._url.startswith("http://"):
            return True
        credentials = self._credentials()
        if credentials is None:
            raise NotEnrolled("no certificate yet")
        known = self._context
        if known is not None and known[0] == credentials:
            return known[1]
        try:
            context = await asyncio.to_thread(_context_of, credentials, self._ca_file)
        except OSError as error:  # an ssl.SSLError is one
            self._note(is_reached=False, reason="certificate not usable")
            raise Unreachable("certificate or key cannot be loaded") from error
        self._context = (credentials, context)
        return context

    def _note(self, *, is_reached: bool, reason: str = "") -> None:
        if is_reached == self._is_reached:
            return
        self._is_reached = is_reached
        if is_reached:
            log.info("platform.reached")
        else:
            log.warning("platform.unreachable", reason=reason)


def _context_of(credentials: Credentials, ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_file or credentials.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(credentials.cert_file, credentials.key_file)
    return context


class _Stream(Protocol):
    async def read(self, n: int = -1) -> bytes:
        """Some bytes; none at the end."""


async def _content(stream: _Stream) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(65_536):
        size += len(part)
        if size > ANSWER_LIMIT_BYTES:
            raise ValueError("the answer is too long")
        parts.append(part)
    return b"".join(parts)


def _makes_no_sense(answer: Answer) -> bool:
    if answer.status == HTTPStatus.NO_CONTENT:
        return bool(answer.body)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return True
    return answer.content_type not in JSON_TYPES
