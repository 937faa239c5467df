"""The client of the fleet server's kiosk API: HTTPS with the pinned CA, and with our certificate for renewal."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from agent.errors import EnrolmentFailed
from wire.enrolment import EnrolmentRequest, EnrolmentStatus, EnrolmentTicket, RenewalAnswer, RenewalRequest
from wire.envelope import WireError, decode, encode

if TYPE_CHECKING:
    from agent.uplink.identity import Identity

M = TypeVar("M", bound=BaseModel)
ANSWER_LIMIT_BYTES = 262_144
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_TRY_AGAIN = frozenset({408, 425, 429})


class FleetApi:
    """One server; every call opens its own connection, there is one call in minutes."""

    def __init__(self, base_url: str, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s

    async def request(self, request: EnrolmentRequest, ca_file: Path) -> EnrolmentTicket:
        """Ask for an identity.

        Raises:
            EnrolmentFailed: no ticket.
        """
        return await self._call("POST", "/enrol/v1/requests", EnrolmentTicket, _context(ca_file), body=request)

    async def status(self, ticket: EnrolmentTicket, ca_file: Path) -> EnrolmentStatus:
        """Ask how a request stands.

        Raises:
            EnrolmentFailed: no answer.
        """
        path = f"/enrol/v1/requests/{ticket.request_id}"
        return await self._call("GET", path, EnrolmentStatus, _context(ca_file), token=ticket.poll_token)

    async def renew(self, request: RenewalRequest, identity: Identity) -> RenewalAnswer:
        """Ask for the next certificate, with the one in use.

        Raises:
            EnrolmentFailed: no certificate.
        """
        return await self._call("POST", "/kiosk/v1/renew", RenewalAnswer, _own_context(identity), body=request)

    async def _call(
        self,
        method: str,
        path: str,
        model: type[M],
        context: ssl.SSLContext,
        *,
        body: BaseModel | None = None,
        token: str | None = None,
    ) -> M:
        import aiohttp  # noqa: PLC0415 - needed for minutes in a year

        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.request(
                    method,
                    f"{self._base_url}{path}",
                    data=None if body is None else encode(body),
                    headers=headers,
                    ssl=context,
                    allow_redirects=False,
                ) as response,
            ):
                status = response.status
                content = b""
                async for part in response.content.iter_chunked(65_536):
                    content += part
                    if len(content) > ANSWER_LIMIT_BYTES:
                        break
        except aiohttp.ClientConnectorCertificateError as error:
            raise EnrolmentFailed("the server's certificate is not trusted") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EnrolmentFailed(f"the server cannot be reached: {type(error).__name__}") from error
        if status >= _CLIENT_ERROR:
            is_final = status < _SERVER_ERROR and status not in _TRY_AGAIN
            raise EnrolmentFailed(f"the server answered {status}", is_final=is_final)
        try:
            return decode(model, content, limit_bytes=ANSWER_LIMIT_BYTES)
        except WireError as error:
            raise EnrolmentFailed(f"the server's answer makes no sense: {error}") from error


def _context(ca_file: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_file))
    except OSError as error:
        raise EnrolmentFailed(f"{ca_file} is not usable as CA file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _own_context(identity: Identity) -> ssl.SSLContext:
    context = _context(identity.ca_file)
    try:
        context.load_cert_chain(identity.cert_file, identity.key_file)
    except OSError as error:
        raise EnrolmentFailed("our own certificate or key cannot be loaded") from error
    return context
