"""How a channel's answer is fetched: bounded in time and size, and never more than "no answer" when it is odd."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

ANSWER_BYTES: Final = 1_000_000
BILL_BYTES: Final = 64_000_000


class NoAnswer(Exception):
    """Nothing came that can be used; `was_sent` is False when the request certainly never left."""

    def __init__(self, reason: str, *, was_sent: bool = True) -> None:
        super().__init__(reason)
        self.was_sent = was_sent


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    method: str
    url: URL
    headers: Mapping[str, str]
    data: bytes | None = None
    timeout_s: float = 10.0
    limit: int = ANSWER_BYTES
    tls: ssl.SSLContext | None = None
    """With a client certificate, where the channel wants one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body as they came."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


async def fetch(http: aiohttp.ClientSession, ask: Ask) -> Answer:
    """One request and its whole answer.

    Raises:
        NoAnswer: no connection, too late, broken off, too large.
    """
    sending = http.request(
        ask.method, ask.url, headers=ask.headers, data=ask.data, allow_redirects=False, ssl=ask.tls or True
    )
    try:
        async with asyncio.timeout(ask.timeout_s), sending as response:
            return Answer(response.status, response.headers, await _body(response, ask.limit))
    except aiohttp.ClientConnectorError as error:
        raise NoAnswer("no connection", was_sent=False) from error
    except (TimeoutError, aiohttp.ClientError) as error:
        raise NoAnswer(type(error).__name__) from error


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(65_536):
        size += len(part)
        if size > limit:
            raise NoAnswer("the answer is too large")
        parts.append(part)
    return b"".join(parts)
